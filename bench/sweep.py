"""A sweep over a hundred thousand enrollments of which ten need work."""

from __future__ import annotations

import time

from sqlalchemy import text

from bench import crowd, measure
from bench.measure import MeasurementError
from devstack.stack import LocalStack
from starter.assembly import Parts

SESSIONS = 100
BROKEN = 10
"""Enrollments whose reminders nobody planned."""

CROWD = """
INSERT INTO sessions (id, title, start_time)
SELECT gen_random_uuid(), 'Cardiology update', now() + interval '3 days' + n * interval '1 hour'
  FROM generate_series(1, {sessions}) n;
INSERT INTO users (id, email)
SELECT gen_random_uuid(), n || '@example.com' FROM generate_series(1, {people}) n;
INSERT INTO enrollments (session_id, user_id) SELECT s.id, u.id FROM sessions s, users u;
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, email_status, workflow_id)
SELECT gen_random_uuid(), e.session_id, e.user_id, c.reminder_type,
       s.start_time - c.minutes_before * interval '1 minute', s.start_time, 'scheduled',
       'session-reminder:' || e.session_id || ':' || e.user_id
  FROM (SELECT * FROM enrollments OFFSET {broken}) e
  JOIN sessions s ON s.id = e.session_id
  JOIN reminder_configurations c ON c.is_enabled AND c.minutes_before > 0;
ANALYZE
"""


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and just those that need it were repaired.
    """
    given = crowd.parser("sweep", __doc__, n=100_000, of="enrollments").parse_args(arguments)
    runs = crowd.on_fresh_stacks("sweep", given.runs, lambda stack: _one_run(stack, given.n))
    title = f"A sweep over {given.n} enrollments, {BROKEN} of which need work"
    measure.report(title, runs, {"bench": "sweep", "n": given.n, "broken": BROKEN})
    return int(any(run["repaired"] != BROKEN for run in runs))


async def _one_run(stack: LocalStack, n: int) -> measure.Numbers:
    """Put the crowd in, sweep twice: the second time there is nothing to do."""
    async with crowd.platform(stack) as parts:
        async with parts.database.transaction() as connection:
            crowd_of_n = CROWD.format(sessions=SESSIONS, people=n // SESSIONS, broken=BROKEN)
            for statement in crowd_of_n.split(";"):
                await connection.execute(text(statement))
        first_seconds, repaired = await _sweep(parts)
        second_seconds, again = await _sweep(parts)
    return {
        "sweep_s": first_seconds,
        "repaired": repaired,
        "second_sweep_s": second_seconds,
        "repaired_again": again,
        "load": measure.load(),
    }


async def _sweep(parts: Parts) -> tuple[float, int]:
    """Seconds that a sweep takes, and what it repaired.

    Raises:
        MeasurementError: If it failed.
    """
    began = time.perf_counter()
    run = await parts.sweeps.finished(await parts.sweeps.start())
    seconds = time.perf_counter() - began
    if run.result is None:
        message = f"the sweep ended {run.status}"
        raise MeasurementError(message)
    return seconds, sum(tally["repaired"] for tally in run.result["results"].values())
