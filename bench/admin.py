"""The admin pages with a full ledger: how long each takes, asked one after the other."""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from collections.abc import Mapping

import httpx
from rich.console import Console
from sqlalchemy import text

from bench import measure
from devstack.stack import DATABASE, LocalStack
from reminders.db.engine import Database

ALLOWED_MS = 200
"""What no page may take, in the median."""
SESSIONS = 10_000
REMINDERS = 100_000
LARGEST = 10_000
"""People in the largest session."""

_FILL = """
INSERT INTO sessions (id, title, start_time, time_zone)
SELECT ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid,
       'Course ' || s || ': ' || (ARRAY['cardiology', 'sepsis', 'asthma', 'ethics'])[s % 4 + 1],
       now() + (s - 7000) * interval '7 min', 'Europe/Madrid'
  FROM generate_series(0, {sessions} - 1) s;
INSERT INTO users (id, email, full_name)
SELECT ('00000000-0000-4000-9000-' || lpad(u::text, 12, '0'))::uuid,
       'person' || u || '@hospital.example', 'Person ' || u
  FROM generate_series(0, {people} - 1) u;
INSERT INTO enrollments (session_id, user_id)
SELECT ('00000000-0000-4000-8000-' || lpad(
          (CASE WHEN u < {largest} THEN 7100 ELSE u % {sessions} END)::text, 12, '0'))::uuid, users.id
  FROM users, LATERAL (SELECT right(users.id::text, 12)::int AS u) n;
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, workflow_id,
        email_status, status_reason, sent_at, resend_email_id)
SELECT r.id, e.session_id, e.user_id, c.reminder_type, r.due_at, s.start_time,
       'session-reminder:' || e.session_id || ':' || e.user_id,
       CASE WHEN r.due_at > now() THEN 'scheduled' WHEN r.dice < .01 THEN 'failed'
            WHEN r.dice < .03 THEN 'bounced' ELSE 'delivered' END,
       CASE WHEN r.due_at <= now() AND r.dice < .01
            THEN (ARRAY['rejected', 'expired', 'quota'])[1 + (r.dice * 299)::int] END,
       CASE WHEN r.due_at <= now() AND r.dice >= .01 THEN r.due_at + interval '1 s' END,
       CASE WHEN r.due_at <= now() AND r.dice >= .01 THEN r.id::text END
  FROM enrollments e JOIN sessions s ON s.id = e.session_id
  JOIN reminder_configurations c ON c.is_enabled AND c.minutes_before > 0,
  LATERAL (SELECT md5(e.id || c.reminder_type) AS hash) h,
  LATERAL (SELECT h.hash::uuid AS id,
                  ('x' || left(h.hash, 7))::bit(28)::int / 268435456.0 AS dice,
                  s.start_time - c.minutes_before * interval '1 min' AS due_at) r;
INSERT INTO webhook_events (svix_id, type, email_id, reminder_id, occurred_at)
SELECT id::text, 'email.delivered', resend_email_id, id, sent_at
  FROM session_reminder_emails WHERE sent_at IS NOT NULL;
INSERT INTO reminder_events (action, actor, reason, session_id)
SELECT 'session_replanned', 'admin:maria', 'because', id FROM sessions;
ANALYZE;
"""

_LARGEST = "00000000-0000-4000-8000-000000007100"
_PERSON = "00000000-0000-4000-9000-000000000042"

PAGES: Mapping[str, str] = {
    "overview": "/admin",
    "sessions": "/admin/sessions",
    "sessions, past": "/admin/sessions?period=past",
    "session of ten thousand": f"/admin/sessions/{_LARGEST}",
    "its waiting ones": f"/admin/sessions/{_LARGEST}?status=scheduled",
    "its cancel": f"/admin/sessions/{_LARGEST}/cancel",
    "enrollment": f"/admin/enrollments/{_LARGEST}/{_PERSON}",
    "person": f"/admin/people/{_PERSON}",
    "reminders": "/admin/reminders?status=delivered",
    "failed": "/admin/failed",
    "runs": "/admin/runs",
    "audit log": "/admin/audit",
    "audit log of a session": f"/admin/audit?session={_LARGEST}",
}
"""What is asked for, by what it is called in the table."""


def main(arguments: list[str]) -> int:
    """Fill a database, ask for every page, print the times.

    Returns:
        Exit code: 0 if every page's median is allowed, 1 if not.
    """
    parser = argparse.ArgumentParser(prog="dev.py bench admin", description=__doc__)
    parser.add_argument("--times", type=int, default=20, metavar="N", help="requests of each page")
    options = parser.parse_args(arguments)
    return asyncio.run(_run(options.times))


async def _run(times: int) -> int:
    console = Console(highlight=False)
    with LocalStack(workers=1) as stack:
        await _fill(stack)
        console.print(f"{SESSIONS} sessions, {REMINDERS} reminders; each page {times} times")
        async with httpx.AsyncClient(base_url=stack.api_url, timeout=30) as client:
            paths = {
                **PAGES,
                "sessions, search": await _searched(client, "/admin/sessions"),
                "search": await _searched(client, "/admin/search"),
            }
            taken = {name: await _ask(client, path, times) for name, path in paths.items()}
    numbers: dict[str, float | int | None] = {}
    for name, milliseconds in taken.items():
        numbers[f"{name}, p50 ms"] = measure.percentile(milliseconds, 50)
        numbers[f"{name}, max ms"] = max(milliseconds)
    measure.report(
        f"Admin pages, at most {ALLOWED_MS} ms in the median",
        [numbers],
        {"sessions": SESSIONS, "reminders": REMINDERS, "load": round(measure.load(), 2)},
    )
    slow = [name for name, ms in taken.items() if measure.percentile(ms, 50) > ALLOWED_MS]
    if slow:
        console.print(f"[bold red]✗[/] too slow: {', '.join(slow)}")
    return int(bool(slow))


async def _searched(client: httpx.AsyncClient, path: str) -> str:
    """Where a search leads to, whose text is in no URL."""
    found = re.search(r'name="csrf" value="(\w+)"', (await client.get("/admin/people")).text)
    assert found is not None
    answer = await client.post(path, data={"csrf": found[1], "q": "sepsis"})
    return answer.headers["location"]


async def _ask(client: httpx.AsyncClient, path: str, times: int) -> list[float]:
    """Milliseconds of each request; the first, which fills caches, is left out."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        answer = await client.get(path)
        taken.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
    return taken[1:]


async def _fill(stack: LocalStack) -> None:
    database = Database(stack.postgres.url(DATABASE))
    statements = _FILL.format(sessions=SESSIONS, people=-(-REMINDERS // 3), largest=LARGEST)
    try:
        for statement in filter(str.strip, statements.split(";")):
            async with database.transaction() as connection:
                await connection.execute(text(statement))
    finally:
        await database.aclose()
