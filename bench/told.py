"""From a commit in a platform's tables to a plan that Temporal holds: told by `NOTIFY`, at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from sqlalchemy import text

from bench import crowd, measure
from bench.measure import MeasurementError
from devstack.stack import LocalStack
from reminders.db.channel import Channel
from starter.assembly import Parts

CHANNEL = "session_reminders"
APART = 0.2
"""Seconds between two commits: a platform's people come one by one."""
LOOKED_EVERY = 0.01
PATIENCE = 30.0

TRIGGERS = f"""
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'sessions' THEN PERFORM pg_notify('{CHANNEL}', NEW.id::text);
  ELSE PERFORM pg_notify('{CHANNEL}', NEW.session_id || ' ' || NEW.user_id); END IF;
  RETURN NULL;
END $$;;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION tell();;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON enrollments FOR EACH ROW EXECUTE FUNCTION tell()
"""
ENROLLS = (
    "INSERT INTO sessions (id, title, start_time) VALUES (:session, 'Cardiology', now() + '3 days')",
    "INSERT INTO users (id, email) VALUES (:user, 'ana@example.com')",
    "INSERT INTO enrollments (session_id, user_id) VALUES (:session, :user)",
)
MOVES = ("UPDATE sessions SET start_time = start_time + interval '1 day' WHERE id = :session",)
# What a workflow has confirmed is not in `unconfirmed_plans` any more.
IS_PLANNED = """
SELECT count(*) > 0 AND bool_and(r.starts_at = s.start_time) AND NOT EXISTS (
       SELECT FROM unconfirmed_plans u WHERE u.session_id = s.id)
  FROM sessions s JOIN session_reminder_emails r ON r.session_id = s.id
 WHERE s.id = :session AND r.email_status = 'scheduled' GROUP BY s.id
"""


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and nothing was left to the sweep.
    """
    given = crowd.parser("told", __doc__, n=100, of="people, each of whom is moved").parse_args(
        arguments
    )
    settings = {"DATABASE_CHANNEL": CHANNEL}
    runs = crowd.on_fresh_stacks(
        "told", given.runs, lambda stack: _one_run(stack, given.n), settings=settings
    )
    title = f"{given.n} people enroll, and their sessions move: from the commit to the plan"
    measure.report(title, runs, {"bench": "told", "n": given.n})
    return int(any(run["lost"] for run in runs))


async def _one_run(stack: LocalStack, n: int) -> measure.Numbers:
    """Everybody enrolls, in a session of their own; then every session moves.

    Raises:
        MeasurementError: If no worker listens, or none was told.
    """
    async with crowd.platform(stack) as parts:
        async with parts.database.transaction() as connection:
            for statement in TRIGGERS.split(";;"):
                await connection.execute(text(statement))
        await _until(Channel(parts.database, CHANNEL).is_heard)
        people = [(uuid4(), uuid4()) for _ in range(n)]
        enrolled = await _each(parts, people, ENROLLS)
        moved = await _each(parts, people, MOVES)
    found = [*enrolled, *moved]
    lags = [lag for lag in found if lag is not None]
    if not lags:
        message = "nobody followed what was told"
        raise MeasurementError(message)
    return {
        "p50_ms": measure.percentile(lags, 50),
        "p99_ms": measure.percentile(lags, 99),
        "max_ms": max(lags),
        "lost": len(found) - len(lags),
        "load": measure.load(),
    }


async def _each(
    parts: Parts, people: list[tuple[UUID, UUID]], statements: tuple[str, ...]
) -> list[float | None]:
    """How long each was not planned after its commit, in ms; `None` if for good."""
    tasks = []
    for person in people:
        tasks.append(asyncio.create_task(_one(parts, *person, statements)))
        await asyncio.sleep(APART)
    return await asyncio.gather(*tasks)


async def _one(
    parts: Parts, session: UUID, user: UUID, statements: tuple[str, ...]
) -> float | None:
    asked = {"session": session, "user": user}
    async with parts.database.transaction() as connection:
        for statement in statements:
            used = {name: value for name, value in asked.items() if f":{name}" in statement}
            await connection.execute(text(statement), used)
    began = time.perf_counter()

    async def is_planned() -> bool:
        return bool(await parts.database.scalar(text(IS_PLANNED), {"session": session}))

    try:
        await _until(is_planned)
    except MeasurementError:
        return None
    return (time.perf_counter() - began) * 1000


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so.

    Raises:
        MeasurementError: If it does not come.
    """
    until = time.perf_counter() + PATIENCE
    while not await true():
        if time.perf_counter() > until:
            message = "it did not come"
            raise MeasurementError(message)
        await asyncio.sleep(LOOKED_EVERY)
