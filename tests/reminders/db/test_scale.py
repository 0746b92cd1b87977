"""A hundred thousand ledger rows do not slow a delivery or a list: plans, not stop-watches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text

from devstack.postgres import EmbeddedPostgres
from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.planning import EnrollmentPlanner
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.pace import Pace
from reminders.domain.ports import FrozenBatch, Settlement

LEDGER = 102_000
"""Rows: three for each of 34,000 enrollments in 340 sessions."""

CROWD = """
INSERT INTO sessions (id, title, start_time)
SELECT ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid, 'T', now() + s * interval '1 h'
  FROM generate_series(1, 340) s;
INSERT INTO users (id, email)
SELECT ('00000000-0000-4000-9000-' || lpad(u::text, 12, '0'))::uuid, u || '@hospital.example'
  FROM generate_series(1, 34000) u;
INSERT INTO enrollments (session_id, user_id)
SELECT ('00000000-0000-4000-8000-' || lpad((u % 340 + 1)::text, 12, '0'))::uuid, users.id
  FROM users, LATERAL (SELECT right(users.id::text, 12)::int AS u) n;
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, email_status, workflow_id)
SELECT gen_random_uuid(), e.session_id, e.user_id, c.reminder_type,
       s.start_time - c.minutes_before * interval '1 min', s.start_time,
       CASE WHEN s.start_time < now() + interval '12 h' THEN 'sent' ELSE 'scheduled' END,
       'session-reminder:' || e.session_id || ':' || e.user_id
  FROM enrollments e JOIN sessions s ON s.id = e.session_id
  JOIN reminder_configurations c ON c.is_enabled;
ANALYZE;
"""


@pytest.fixture(scope="module")
async def crowded(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with a hundred thousand ledger rows."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name, template="template")
    database = Database(postgres.url(name))
    async with database.transaction() as connection:
        for statement in filter(str.strip, CROWD.split(";")):
            await connection.execute(text(statement))
    yield database
    await database.aclose()
    postgres.drop_database(name)


class Watched:
    """Runs what a test does and explains every statement of it."""

    def __init__(self, database: Database) -> None:
        """Watch this database."""
        self.database = database
        self.seen: list[tuple[str, Any]] = []

    def __enter__(self) -> Self:
        """Start watching."""
        event.listen(self.database.engine.sync_engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        event.remove(self.database.engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _cu: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.seen.append((statement, parameters))

    async def large_scans(self) -> list[str]:
        """Statements that read a whole large table, or sort a large part of one."""
        found = []
        async with self.database.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            for statement, parameters in self.seen:
                if not any(word in statement for word in ("SELECT", "UPDATE", "INSERT")):
                    continue
                plan = await raw.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
                for node in nodes(plan[0]["Plan"]):
                    scans = node["Node Type"] == "Seq Scan" and node["Plan Rows"] > 1000
                    sorts = node["Node Type"] == "Sort" and node["Plan Rows"] > 5000
                    if scans or sorts:
                        found.append(f"{node['Node Type']} of {node['Plan Rows']}: {statement}")
        return found


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's nodes, flat."""
    return [plan, *(n for child in plan.get("Plans", ()) for n in nodes(child))]


async def some_scheduled(database: Database, count: int) -> list[UUID]:
    """Ids of reminders that wait."""
    page = await ReminderQueries(database).list(email_status=ReminderStatus.SCHEDULED, limit=count)
    return [r.id for r in page.reminders]


async def test_a_delivery_reads_no_table_whole(crowded: Database) -> None:
    """Read, freeze, settle, release, resume, close and recovery all go by an index."""
    ledger = PostgresDeliveryLedger(crowded, SystemClock(), owner="test", pace=Pace.of(1000))
    ids = await some_scheduled(crowded, 100)
    with Watched(crowded) as watched:
        reading = await ledger.read(ids)
        batch = FrozenBatch(
            id=uuid4(),
            reminder_ids=tuple(f.reminder.id for f in reading.facts),
            body=b"[]",
            useful_until=SystemClock().now(),
            frozen_at=SystemClock().now(),
        )
        runs = dict.fromkeys(ids, "run")
        assert await ledger.freeze(batch, [], facts=reading.facts, run_ids=runs) is not None
        await ledger.in_doubt(limit=10)
        await ledger.resume(batch.id)
        await ledger.release(batch)
        await ledger.settle(
            batch.id, [Settlement(reminder_id=i, status=ReminderStatus.SENT) for i in ids]
        )
        await ledger.close(ids, ReminderStatus.CANCELLED, StatusReason.WORKFLOW_CANCELLED)
    assert [] == await watched.large_scans()


async def test_what_somebody_was_told_is_not_looked_for_among_all_that_was_sent(
    crowded: Database,
) -> None:
    """Nor while PostgreSQL believes that nothing was sent yet: an index of that looks small then."""
    ids = await some_scheduled(crowded, 100)
    ledger = PostgresDeliveryLedger(crowded, SystemClock(), owner="test", pace=Pace.of(1000))
    async with crowded.transaction() as connection:
        sent = "UPDATE session_reminder_emails SET sent_at = now() WHERE email_status = 'sent'"
        assert 3_000 < (await connection.execute(text(sent))).rowcount
    with Watched(crowded) as watched:
        await ledger.read(ids)
    [(statement, parameters)] = [seen for seen in watched.seen if "WITH held" in seen[0]]
    async with crowded.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        [found] = await raw.fetchval(explained, *parameters)
    passed_over = [
        node["Rows Removed by Filter"] * node["Actual Loops"]
        for node in nodes(found["Plan"])
        if "Rows Removed by Filter" in node
    ]
    assert 5_000 > sum(passed_over)


async def test_lists_and_plans_read_no_table_whole(crowded: Database) -> None:
    """Every filter of the list, an enrollment's story, its planning and the overdue count."""
    queries, planner = ReminderQueries(crowded), EnrollmentPlanner(crowded, SystemClock())
    first = (await queries.list(limit=1)).reminders[0]
    with Watched(crowded) as watched:
        page = await queries.list(limit=50)
        await queries.list(cursor=page.next_cursor, limit=50)
        await queries.list(email_status=ReminderStatus.FAILED, limit=50)
        await queries.list(session_id=first.session_id, limit=50)
        await queries.list(user_id=first.user_id, limit=50)
        await queries.of_enrollment(first.session_id, first.user_id)
        await queries.overdue(before=SystemClock().now())
        await planner.enroll(first.session_id, first.user_id)
    assert [] == await watched.large_scans()


async def test_an_enrollment_takes_two_kilobytes(crowded: Database) -> None:
    """The ledger with its indexes, for three reminders."""
    async with crowded.transaction() as connection:
        size = await connection.scalar(
            text("SELECT pg_total_relation_size('session_reminder_emails')")
        )
    assert size is not None
    assert size / LEDGER * 3 <= 2048
