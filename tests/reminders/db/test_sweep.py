"""What the sweep finds: exactly what the planner would change, and at a hundred thousand too."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text

from devstack.postgres import EmbeddedPostgres
from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.sessions import Catalogue
from reminders.db.sweep import SweepQueries
from reminders.domain.model import Attendee, Session, StatusReason
from reminders.domain.ports import Enrollment
from reminders.domain.upkeep import Suspect

CROWD = """
INSERT INTO sessions (id, title, start_time)
SELECT ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid, 'T',
       date_trunc('second', now()) + interval '2 days' + s * interval '1 h'
  FROM generate_series(1, 500) s;
INSERT INTO users (id, email)
SELECT ('00000000-0000-4000-9000-' || lpad(u::text, 12, '0'))::uuid, u || '@hospital.example'
  FROM generate_series(1, 100000) u;
INSERT INTO enrollments (session_id, user_id)
SELECT ('00000000-0000-4000-8000-' || lpad((u % 500 + 1)::text, 12, '0'))::uuid, users.id
  FROM users, LATERAL (SELECT right(users.id::text, 12)::int AS u) n;
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, email_status, workflow_id)
SELECT gen_random_uuid(), e.session_id, e.user_id, c.reminder_type,
       s.start_time - c.minutes_before * interval '1 min', s.start_time, 'scheduled',
       'session-reminder:' || e.session_id || ':' || e.user_id
  FROM enrollments e JOIN sessions s ON s.id = e.session_id
  JOIN reminder_configurations c ON c.is_enabled;
ANALYZE;
"""
NEED_WORK = """
DELETE FROM session_reminder_emails WHERE user_id IN (SELECT id FROM users ORDER BY id LIMIT 4);
UPDATE enrollments SET status = 'cancelled'
 WHERE user_id IN (SELECT id FROM users ORDER BY id OFFSET 100 LIMIT 3);
UPDATE session_reminder_emails SET due_at = now() - interval '10 min', starts_at = starts_at
 WHERE reminder_type = '24h'
   AND user_id IN (SELECT id FROM users ORDER BY id OFFSET 200 LIMIT 3);
"""
OWN_RULE = """
INSERT INTO reminder_configurations (session_id, reminder_type, minutes_before, is_enabled,
                                     email_subject_template, display_name)
SELECT id, '{type}', {minutes}, {on}, 'S', 'N' FROM sessions
"""


@pytest.fixture
def queries(database: Database) -> SweepQueries:
    """The sweep's questions on real time."""
    return SweepQueries(database, SystemClock())


async def enrolled(database: Database, starts_in: timedelta = timedelta(days=2)) -> Enrollment:
    """A planned enrollment."""
    session = Session(id=uuid4(), title="T", starts_at=datetime.now(UTC) + starts_in)
    person = Attendee(user_id=uuid4(), email="ana@hospital.example")
    await Catalogue(database).put_session(session)
    await Catalogue(database).put_user(person)
    await EnrollmentPlanner(database, SystemClock()).enroll(session.id, person.user_id)
    return Enrollment(session.id, person.user_id)


async def sql(database: Database, statements: str) -> None:
    """The host, or an accident, changes tables."""
    async with database.transaction() as connection:
        for statement in filter(str.strip, statements.split(";")):
            await connection.execute(text(statement))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("DELETE FROM session_reminder_emails", "lost"),
        ("DELETE FROM session_reminder_emails WHERE reminder_type = '2h'", "lost"),
        ("UPDATE reminder_configurations SET is_enabled = true", "lost"),
        (
            (
                "UPDATE session_reminder_emails SET email_status = 'skipped',"
                " status_reason = 'rule_disabled' WHERE reminder_type = '2h'"
            ),
            "lost",
        ),
        (
            (
                "UPDATE session_reminder_emails SET email_status = 'cancelled',"
                " status_reason = 'session_cancelled'"
            ),
            "lost",
        ),
        (
            (
                "UPDATE session_reminder_emails SET email_status = 'sent',"
                " starts_at = starts_at - interval '2 h' WHERE reminder_type = '24h'"
            ),
            "lost",
        ),
        (
            (
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'misconfigured' WHERE reminder_type = '30min'"
            ),
            "lost",
        ),
        ("UPDATE sessions SET start_time = start_time + interval '1 min'", "drifted"),
        ("UPDATE sessions SET start_time = now() - interval '7 days'", "drifted"),
        ("UPDATE sessions SET status = 'cancelled'", "drifted"),
        ("UPDATE enrollments SET status = 'cancelled'", "drifted"),
        ("DELETE FROM enrollments", "drifted"),
        (
            "UPDATE reminder_configurations SET minutes_before = minutes_before + 1 WHERE minutes_before > 0",
            "drifted",
        ),
        ("UPDATE reminder_configurations SET is_enabled = false", "drifted"),
        ("DELETE FROM reminder_configurations WHERE reminder_type = '2h'", "drifted"),
        (OWN_RULE.format(type="2h", minutes=180, on="true"), "drifted"),
        (OWN_RULE.format(type="2h", minutes=120, on="false"), "drifted"),
        (OWN_RULE.format(type="3h", minutes=180, on="true"), "lost"),
        (
            (
                "UPDATE session_reminder_emails SET starts_at = starts_at - interval '1 h',"
                " requested_at = due_at, due_at = due_at - interval '1 h'"
                " WHERE reminder_type = '24h'"
            ),
            "drifted",
        ),
    ],
)
async def test_what_is_found_is_gone_once_it_is_planned(
    database: Database, queries: SweepQueries, change: str, kind: str
) -> None:
    """Each change is found as its kind, one plan changes the ledger, and then nothing is found."""
    enrollment = await enrolled(database)
    await sql(database, change)
    found = {
        "lost": await queries.lost(after=None, limit=10),
        "drifted": await queries.drifted(after=None, limit=10),
    }
    assert [enrollment] == [suspect.enrollment for suspect in found[kind]]
    planner = EnrollmentPlanner(database, SystemClock())
    planned = await planner.reconcile(enrollment.session_id, enrollment.user_id)
    assert planned.is_changed
    assert () == await queries.lost(after=None, limit=10)
    assert () == await queries.drifted(after=None, limit=10)


async def test_a_cancelled_session_whose_past_date_was_mended_is_found(
    database: Database, queries: SweepQueries
) -> None:
    """Nobody was told of it, for it seemed to have begun; they reckon with the date of before."""
    enrollment = await enrolled(database)
    planner = EnrollmentPlanner(database, SystemClock())
    key = enrollment.session_id, enrollment.user_id
    await sql(
        database,
        "UPDATE reminder_configurations SET is_enabled = true WHERE reminder_type = 'cancelled';"
        " UPDATE sessions SET status = 'cancelled', start_time = now() - interval '1 day'",
    )
    reasons = [r.reason for r in (await planner.reconcile(*key)).reminders if r.notice]
    assert [StatusReason.SESSION_STARTED] == reasons
    assert () == await queries.lost(after=None, limit=10)
    await sql(database, "UPDATE sessions SET start_time = now() + interval '9 days'")
    found = await queries.lost(after=None, limit=10)
    assert [enrollment] == [suspect.enrollment for suspect in found]
    assert (await planner.reconcile(*key)).is_told
    assert () == await queries.lost(after=None, limit=10)


_HEARD = """
UPDATE session_reminder_emails SET email_status = 'sent', sent_at = now() WHERE {which}
"""
_ON = (
    "UPDATE reminder_configurations SET is_enabled = reminder_type IN ('24h', 'cancelled', 'moved')"
)


@pytest.mark.parametrize(
    ("before", "then"),
    [
        (
            ["UPDATE sessions SET status = 'cancelled'"],
            "UPDATE sessions SET status = 'scheduled'",
        ),
        (
            ["UPDATE sessions SET start_time = start_time + interval '4 hours'"],
            "UPDATE sessions SET start_time = start_time - interval '4 hours'",
        ),
    ],
    ids=["it takes place after all", "it moved back"],
)
async def test_what_people_were_told_last_is_taken_back(
    database: Database, queries: SweepQueries, before: list[str], then: str
) -> None:
    """By tables alone, when no reminder is left that would be found: they have been told of it all."""
    await sql(database, _ON)
    enrollment = await enrolled(database)
    key = enrollment.session_id, enrollment.user_id
    planner = EnrollmentPlanner(database, SystemClock())
    await sql(database, _HEARD.format(which="true"))
    for change in before:
        await sql(database, change)
        assert (await planner.reconcile(*key)).is_told
    await sql(database, _HEARD.format(which="email_status = 'scheduled'"))
    assert () == await queries.lost(after=None, limit=10)
    await sql(database, then)
    await sql(
        database,
        "UPDATE reminder_configurations SET is_enabled = false WHERE reminder_type = '24h'",
    )
    found = await queries.lost(after=None, limit=10)
    assert [enrollment] == [suspect.enrollment for suspect in found]
    assert (await planner.reconcile(*key)).is_told
    assert () == await queries.lost(after=None, limit=10)


@pytest.mark.parametrize(
    "change",
    [
        "SELECT 1",
        "UPDATE enrollments SET status = 'pending'; UPDATE sessions SET title = 'U'",
        "UPDATE session_reminder_emails SET email_status = 'sent'",
        "UPDATE session_reminder_emails SET email_status = 'sending'",
        (
            "UPDATE session_reminder_emails SET email_status = 'sent',"
            " starts_at = starts_at - interval '10 min'"
        ),
        "UPDATE session_reminder_emails SET email_status = 'failed', status_reason = 'rejected'",
        (
            "UPDATE session_reminder_emails SET email_status = 'cancelled',"
            " status_reason = 'unenrolled'; UPDATE enrollments SET status = 'cancelled'"
        ),
        (
            "UPDATE session_reminder_emails SET email_status = 'cancelled',"
            " status_reason = 'workflow_cancelled' WHERE reminder_type <> '24h';"
            " DELETE FROM session_reminder_emails WHERE reminder_type = '24h';"
            " UPDATE reminder_configurations SET is_enabled = true"
        ),
        OWN_RULE.format(type="2h", minutes=120, on="true"),
        OWN_RULE.format(type="1h", minutes=60, on="false"),
        (
            "INSERT INTO reminder_configurations (session_id, reminder_type, minutes_before,"
            " email_subject_template, display_name) VALUES (gen_random_uuid(), '2h', 180, 'S', 'N')"
        ),
        (
            "UPDATE session_reminder_emails SET due_at = due_at + interval '1 h',"
            " requested_at = due_at + interval '1 h'"
        ),
        (
            "UPDATE session_reminder_emails SET due_at = due_at - interval '1 h',"
            " requested_at = due_at - interval '1 h'"
        ),
        (
            "INSERT INTO reminder_preferences (user_id, reason) SELECT id, 'bounced' FROM users;"
            " UPDATE session_reminder_emails SET email_status = 'skipped',"
            " status_reason = 'address_bounced'"
        ),
        (
            "INSERT INTO reminder_preferences (user_id, reason) SELECT id, 'opted_out' FROM users;"
            " UPDATE session_reminder_emails SET email_status = 'cancelled',"
            " status_reason = 'session_cancelled'"
        ),
        (
            "INSERT INTO reminder_preferences (user_id, reason) SELECT id, 'opted_out' FROM users;"
            " UPDATE session_reminder_emails SET email_status = 'sent',"
            " starts_at = starts_at - interval '7 days'"
        ),
    ],
)
async def test_what_needs_no_work_is_not_found(
    database: Database, queries: SweepQueries, change: str
) -> None:
    """What was sent, called off or stopped is never work, through as many sweeps as there are."""
    await enrolled(database)
    await sql(database, change)
    for look in (queries.lost, queries.drifted, queries.overdue, queries.due_soon):
        assert () == await look(after=None, limit=10)


async def test_what_waits_past_its_instant_is_late_and_not_past_due(database: Database) -> None:
    """Planning an overdue reminder anew leaves it waiting: its delivery decides."""
    enrollment = await enrolled(database, timedelta(hours=3))
    await sql(
        database,
        "UPDATE sessions SET start_time = start_time - interval '75 min';"
        "UPDATE session_reminder_emails SET starts_at = starts_at - interval '75 min',"
        " due_at = due_at - interval '75 min'",
    )
    planner = EnrollmentPlanner(database, SystemClock())
    planned = await planner.reconcile(enrollment.session_id, enrollment.user_id)
    assert not planned.is_changed
    assert {"24h": "skipped", "2h": "scheduled", "30min": "scheduled"} == {
        r.reminder_type: r.status for r in planned.reminders
    }


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("DELETE FROM session_reminder_emails", "lost"),
        (
            "UPDATE reminder_configurations SET minutes_before = minutes_before + 1 WHERE minutes_before > 0",
            "drifted",
        ),
        (
            (
                "UPDATE session_reminder_emails SET due_at = due_at - interval '30 days'"
                " WHERE email_status = 'scheduled'"
            ),
            "overdue",
        ),
        (
            (
                "INSERT INTO unconfirmed_plans (session_id, user_id, version, planned_at)"
                " SELECT DISTINCT session_id, user_id, 1, now() - interval '1 h'"
                " FROM session_reminder_emails"
            ),
            "unconfirmed",
        ),
        ("SELECT", "due_soon"),
    ],
)
async def test_pages_follow_each_other_the_most_urgent_first(
    database: Database, queries: SweepQueries, change: str, kind: str
) -> None:
    """Every enrollment is on exactly one page, by the instant when its first reminder is due."""
    hours = (30, 200, 5, 100, 26)
    by_hours = {h: await enrolled(database, timedelta(hours=h)) for h in hours}
    await sql(database, change)
    look: Any = getattr(queries, kind)
    if kind == "due_soon":
        look = partial(look, within=timedelta(days=10))
    seen: list[Suspect] = []
    while page := await look(after=seen[-1] if seen else None, limit=2):
        seen += page
    # In 26 hours the first is due in two, and in 5 hours in three.
    assert [by_hours[h] for h in (26, 5, 30, 100, 200)] == [one.enrollment for one in seen]


async def test_a_session_that_is_gone_closes_what_waited(database: Database) -> None:
    """Only what was planned before the instant given is closed, once."""
    enrollment = await enrolled(database)
    planner = EnrollmentPlanner(database, SystemClock())
    names = (enrollment.session_id, enrollment.user_id, StatusReason.SESSION_DELETED)
    assert 0 == await planner.close_waiting(
        *names, planned_before=datetime.now(UTC) - timedelta(hours=1)
    )
    assert 3 == await planner.close_waiting(*names)
    assert 0 == await planner.close_waiting(*names)


async def test_requests_in_doubt_are_counted(database: Database, queries: SweepQueries) -> None:
    """Reminders frozen for minutes without an outcome, and no others."""
    await enrolled(database)
    for minutes, expected in ((1, 0), (6, 3)):
        await sql(
            database,
            "INSERT INTO email_batches (id, reminder_ids, body, useful_until, frozen_at, owner,"
            " lease_until) SELECT gen_random_uuid(), array_agg(id), '', now(),"
            f" now() - interval '{minutes} min', 'x', now() FROM session_reminder_emails;"
            " UPDATE session_reminder_emails SET email_status = 'sending',"
            " batch_id = (SELECT id FROM email_batches ORDER BY frozen_at LIMIT 1)",
        )
        assert expected == await queries.in_doubt()


@pytest.fixture(scope="module")
async def crowded(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database with a hundred thousand enrollments, of which ten need work."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name, template="template")
    database = Database(postgres.url(name))
    await sql(database, CROWD)
    await sql(database, NEED_WORK)
    yield database
    await database.aclose()
    postgres.drop_database(name)


@pytest.mark.slow
async def test_a_hundred_thousand_enrollments_of_which_ten_need_work(crowded: Database) -> None:
    """Everything is asked within seconds, and exactly the ten are found."""
    queries = SweepQueries(crowded, SystemClock())
    started = time.monotonic()
    lost = await queries.lost(after=None, limit=200)
    drifted = await queries.drifted(after=None, limit=200)
    overdue = await queries.overdue(after=None, limit=200)
    soon = await queries.due_soon(after=None, limit=200)
    assert 0 == await queries.in_doubt()
    took = time.monotonic() - started
    print(f"all questions over 100,000 enrollments: {took:.2f} s")
    assert took < 10
    assert 4 == len(lost)
    assert 6 == len(drifted)  # the overdue ones have drifted too: their instant was changed
    assert 3 == len(overdue)
    assert 0 == len(soon)
    found: set[UUID] = {e.user_id for e in (*lost, *drifted, *overdue)}
    assert 10 == len(found)


BYGONE = """
INSERT INTO sessions (id, title, start_time)
SELECT ('00000000-0000-4000-8000-' || lpad(s::text, 12, '0'))::uuid, 'T',
       date_trunc('second', now()) + (s % 500 - 475) * interval '1 day'
  FROM generate_series(1, 500) s;
INSERT INTO users (id, email)
SELECT ('00000000-0000-4000-9000-' || lpad(u::text, 12, '0'))::uuid, u || '@hospital.example'
  FROM generate_series(1, 33000) u;
INSERT INTO enrollments (session_id, user_id)
SELECT ('00000000-0000-4000-8000-' || lpad((u % 500 + 1)::text, 12, '0'))::uuid, users.id
  FROM users, LATERAL (SELECT right(users.id::text, 12)::int AS u) n;
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, email_status, workflow_id)
SELECT gen_random_uuid(), e.session_id, e.user_id, c.reminder_type, due.at, s.start_time,
       CASE WHEN due.at < now() THEN 'delivered' ELSE 'scheduled' END,
       'session-reminder:' || e.session_id || ':' || e.user_id
  FROM enrollments e JOIN sessions s ON s.id = e.session_id
  JOIN reminder_configurations c ON c.is_enabled,
       LATERAL (SELECT s.start_time - c.minutes_before * interval '1 min' AS at) due;
ANALYZE;
"""
"""A ledger of a hundred thousand rows, of which one in twenty still waits."""


@pytest.fixture(scope="module")
async def bygone(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database in which nearly every session is over."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name, template="template")
    database = Database(postgres.url(name))
    await sql(database, BYGONE)
    await sql(
        database, "UPDATE reminder_configurations SET is_enabled = true WHERE minutes_before = 0"
    )
    yield database
    await database.aclose()
    postgres.drop_database(name)


@pytest.mark.parametrize("kind", ["lost", "drifted", "overdue", "due_soon"])
async def test_years_of_ledger_are_not_read(bygone: Database, kind: str) -> None:
    """What a sweep asks touches the rows of sessions that lie ahead, and few of those behind."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cu: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(bygone.engine.sync_engine, "before_cursor_execute", note)
    await getattr(SweepQueries(bygone, SystemClock()), kind)(after=None, limit=200)
    event.remove(bygone.engine.sync_engine, "before_cursor_execute", note)
    async with bygone.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        plans = [
            await driver.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *parameters)
            for statement, parameters in asked
        ]
        waiting = await driver.fetchval(
            "SELECT count(*) FROM session_reminder_emails WHERE email_status = 'scheduled'"
        )
    assert 4000 < waiting < 6000
    assert max(rows_read(plan[0]["Plan"]) for plan in plans) <= 3 * waiting


def rows_read(plan: dict[str, Any]) -> float:
    """Rows of the ledger that a plan has looked at, all loops together."""
    read = 0.0
    if plan.get("Relation Name") == "session_reminder_emails":
        read = plan["Actual Loops"] * (
            plan["Actual Rows"]
            + plan.get("Rows Removed by Filter", 0)
            + plan.get("Rows Removed by Index Recheck", 0)
        )
    return read + sum(rows_read(child) for child in plan.get("Plans", ()))
