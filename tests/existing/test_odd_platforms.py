"""Platforms as they are: the same row twice, people who come back, zones by other names."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from reminders import budget
from reminders.db import reading
from reminders.db.absence import Absence
from reminders.db.audit import By
from reminders.db.calendar import calendar_entry
from reminders.db.engine import Database
from reminders.db.oddities import Oddity
from reminders.domain.model import (
    EnrollmentStatus,
    ProviderEvent,
    ReminderStatus,
    StatusReason,
)
from starter.health.diagnosis import Check, Level
from starter.health.platform import odd_rows
from starter.migration.importing import Imported
from starter.services.reasons import decision
from tests.existing.host import ROLE, CronJob, Host, a_bounce
from tests.existing.test_coming_from_cron import backfill, migration
from tests.existing.test_existing_platform import handle_of, statuses
from tests.stage import Stage, attempted, eventually

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

VIEWS = ("sessions", "users", "enrollments")
USERS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.users AS
SELECT u.id, u.email, p.full_name, p.timezone AS time_zone, p.locale
  FROM auth.users u LEFT JOIN public.profiles p ON p.id = u.id
 UNION ALL
SELECT u.id, NULL::varchar(255), 'An old account', NULL, NULL FROM auth.users u
"""
SESSIONS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.sessions AS
SELECT id, title, scheduled_at AS start_time, NULL::timestamptz AS end_time,
       timezone AS time_zone, speaker AS speaker_name, meeting_url AS join_url,
       CASE n WHEN 2 THEN 'scheduled' ELSE 'cancelled' END AS status
  FROM public.sessions, generate_series(1, 3) AS n
"""
SESSIONS_WITH_A_HISTORY = """
CREATE OR REPLACE VIEW reminders_host.sessions AS
SELECT id, title, scheduled_at - n * interval '2 hours' AS start_time, NULL::timestamptz AS end_time,
       timezone AS time_zone, speaker AS speaker_name, meeting_url AS join_url,
       CASE n WHEN 0 THEN 'scheduled' ELSE 'cancelled' END AS status
  FROM public.sessions, generate_series(0, 1) AS n
"""
SESSIONS_POSTPONED = """
CREATE OR REPLACE VIEW reminders_host.sessions AS
SELECT id, title, scheduled_at + n * interval '1 day' AS start_time, NULL::timestamptz AS end_time,
       timezone AS time_zone, speaker AS speaker_name, meeting_url AS join_url, 'scheduled'::text AS status
  FROM public.sessions, generate_series(0, 1) AS n
"""
ENROLLMENTS_TWICE = """
CREATE OR REPLACE VIEW reminders_host.enrollments AS
SELECT id, session_id, user_id, 'cancelled'::text AS status, created_at
  FROM public.session_enrollments
 UNION ALL
SELECT id, session_id, user_id, 'confirmed', created_at FROM public.session_enrollments
"""


@pytest.mark.parametrize(
    "view",
    [USERS_TWICE, SESSIONS_TWICE, SESSIONS_WITH_A_HISTORY, SESSIONS_POSTPONED, ENROLLMENTS_TWICE],
    ids=["users", "sessions", "sessions with a history", "sessions postponed", "enrollments"],
)
async def test_a_row_that_is_there_twice(stage: Stage, host: Host, view: str) -> None:
    """One counts: the person is planned, swept, mailed once at its address, and can stop it all."""
    session = await host.session(stage.clock.now() + 40 * MINUTE)
    ana, ben = await host.person("ana"), await host.person("ben")
    for user in (ana, ben):
        await host.enrolls(session, user)
    await host.run(view)
    await stage.gateway.enroll(session, ana)
    assert 1 == (await stage.sweep()).processed, "the one of whom nobody told us"
    assert 0 == (await stage.sweep()).processed
    assert await calendar_entry(stage.database, session, ana)
    assert (await stage.parts.gateway.why(session, ana)).session.starts_at
    await stage.forward(15 * MINUTE, handle_of(stage, session, ana), handle_of(stage, session, ben))
    mails = await stage.provider.accepted()
    assert ["ana@hospital.example", "ben@hospital.example"] == sorted(m["to"][0] for m in mails)
    complaint = ProviderEvent(
        svix_id="msg_1",
        type="email.complained",
        occurred_at=stage.clock.now(),
        email_id=mails[0]["id"],
        reminder_id=UUID(mails[0]["tags"]["reminder_id"]),
        recipients=tuple(mails[0]["to"]),
        status=ReminderStatus.COMPLAINED,
        stops=StatusReason.SPAM_COMPLAINT,
    )
    assert await stage.parts.provider_events.record(complaint)
    choices = [await stage.parts.preferences.of(user) for user in (ana, ben)]
    assert 1 == sum(c.withheld == (StatusReason.SPAM_COMPLAINT,) for c in choices)


@pytest.mark.parametrize("view", [USERS_TWICE, SESSIONS_TWICE], ids=["users", "sessions"])
async def test_a_log_of_people_with_two_rows_is_taken_over_once(
    stage: Stage, host: Host, cron: CronJob, view: str
) -> None:
    """Each reminder is one row of ours, and the import goes to its end."""
    now = stage.clock.now()
    session, user = await host.session(now + HOUR), await host.person("ana")
    await host.enrolls(session, user)
    await host.run(view)
    await host.run(
        "INSERT INTO session_reminder_emails"
        " (session_id, user_id, reminder_type, sent_at, email_status)"
        " VALUES (:s, :u, '24h', :at, 'sent')",
        s=session,
        u=user,
        at=now - HOUR,
    )
    for expected in (Imported(read=1, added=1), Imported(read=1, known=1)):
        assert expected == (await migration(stage).take_over()).reminders


async def test_who_was_deleted_is_explained_all_the_same(stage: Stage, host: Host) -> None:
    """The platform's rows go, ours stay: and so does what became of each reminder, and why."""
    session = await host.session(stage.clock.now() + 25 * HOUR)
    ana, ben = await host.person("ana"), await host.person("ben")
    for user in (ana, ben):
        await host.enrolls(session, user)
        await stage.gateway.enroll(session, user)
    await leaves(host, session, ana)
    await stage.sweep()
    story = await stage.parts.gateway.why(session, ana)
    assert EnrollmentStatus.CANCELLED is story.enrollment_status
    assert {StatusReason.UNENROLLED} == {r.reason for r in story.reminders}


async def test_a_failure_of_a_session_with_several_rows_counts_once(
    stage: Stage, host: Host
) -> None:
    """Where causes are counted, and where their reminders are listed."""
    session, ana = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, ana)
    await stage.gateway.enroll(session, ana)
    await host.run(SESSIONS_TWICE)
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed',"
                " status_reason = 'expired' WHERE reminder_type = '2h'"
            )
        )
    overview, now = stage.parts.overview, stage.clock.now()
    [cause] = await overview.causes(now, since=now - HOUR)
    assert (1, 1) == (cause.reminders, cause.redrivable)
    [failed] = await overview.of_cause(StatusReason.EXPIRED, now, since=now - HOUR)
    assert failed.is_redrivable


@pytest.mark.parametrize("view", [SESSIONS_TWICE, SESSIONS_WITH_A_HISTORY])
async def test_a_request_is_repeated_by_the_row_that_counts(
    stage: Stage, host: Host, view: str
) -> None:
    """Another row of its session makes what it says no less true."""
    session, ana = await host.session(stage.clock.now() + 40 * MINUTE), await host.person("ana")
    await host.enrolls(session, ana)
    await host.run(view)
    await stage.gateway.enroll(session, ana)
    await stage.provider.faults(kind="status", status=503, count=1, path="/emails/batch")
    await stage.forward(15 * MINUTE, handle_of(stage, session, ana))
    await eventually(lambda: is_sent(stage, session, ana))
    assert 1 == len(await stage.provider.accepted())


async def is_sent(stage: Stage, session: UUID, user: UUID) -> bool:
    """Whether a reminder of theirs was accepted."""
    return "sent" in await statuses(stage, session, user)


async def test_a_roster_has_people_with_two_rows_once(stage: Stage, host: Host) -> None:
    """Page by page; behind one who is not there any more it begins anew, rather than ending."""
    session = await host.session(stage.clock.now() + 25 * HOUR)
    people = [await host.person(name) for name in ("ana", "ben", "cem")]
    for user in people:
        await host.enrolls(session, user)
    await host.run(USERS_TWICE)
    await host.run(ENROLLMENTS_TWICE)

    async def behind(user: UUID | None) -> list[UUID]:
        found = await stage.parts.browser.roster(session, after=user, limit=1)
        assert {EnrollmentStatus.CONFIRMED} >= {entry.enrollment_status for entry in found}
        return [entry.attendee.user_id for entry in found]

    shown, after = list[UUID](), None
    while page := await behind(after):
        [after] = page
        shown.append(after)
    assert people == shown
    assert people[:1] == await behind(uuid4())


async def test_who_comes_back_by_the_table_is_reminded_again(stage: Stage, host: Host) -> None:
    """Left by a call and by the table, came back by the table only; and left once more by a call."""
    session, ana = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, ana)
    await stage.gateway.enroll(session, ana)
    await stage.gateway.unenroll(session, ana)
    assert {"cancelled: unenrolled"} == await statuses(stage, session, ana)
    await leaves(host, session, ana)
    await host.enrolls(session, ana)
    assert 1 == (await stage.sweep()).processed
    assert {"cancelled: unenrolled", "scheduled"} == await statuses(stage, session, ana)
    await stage.gateway.unenroll(session, ana)
    assert 0 == (await stage.sweep()).processed
    assert {"cancelled: unenrolled"} == await statuses(stage, session, ana)


ODD = {
    "a status that nobody knows": (
        (
            "CREATE OR REPLACE VIEW reminders_host.enrollments AS SELECT id, session_id, user_id, status,"
            " created_at FROM public.session_enrollments"
        ),
        ("enrollments", "status", "'registered'"),
    ),
    "people twice": (USERS_TWICE, ("users", "duplicate", "let your view show one row")),
    "enrolled twice": (ENROLLMENTS_TWICE, ("enrollments", "duplicate", "one row for each session")),
    "an unknown zone": (
        "UPDATE public.profiles SET timezone = 'Eastern Time (US & Canada)'",
        ("users", "time_zone", "'Eastern Time (US & Canada)'"),
    ),
    "an unknown locale": (
        "UPDATE public.profiles SET locale = 'English (US)'",
        ("users", "locale", "'English (US)'"),
    ),
    "nobody's": (
        (
            "CREATE OR REPLACE VIEW reminders_host.users AS SELECT u.id, u.email, p.full_name,"
            " p.timezone AS time_zone, p.locale FROM auth.users u"
            " LEFT JOIN public.profiles p ON p.id = u.id WHERE u.email NOT LIKE 'ana@%'"
        ),
        ("enrollments", "nobody", "your view of users does not show"),
    ),
    "no address": (
        "UPDATE auth.users SET email = NULL WHERE email LIKE 'ana@%'",
        ("users", "address", "have no usable address"),
    ),
}


@pytest.mark.parametrize("odd", ODD)
async def test_odd_rows_are_counted_by_kind(stage: Stage, host: Host, odd: str) -> None:
    """`doctor` warns with a number and an id, `db check` lists all, metrics have them by kind."""
    statement, (relation, kind, words) = ODD[odd]
    session, people = await host.session(stage.clock.now() + 25 * HOUR), []
    for name in ("ana", "ben"):
        people.append(await host.person(name))
        await host.enrolls(session, people[-1])
    assert () == await odd_rows(stage.database)
    await host.run(statement)
    found = {(one.relation, one.kind): one for one in await odd_rows(stage.database)}
    one = found[relation, kind]
    assert words in str(one)
    assert any(str(known) in one.example for known in (session, *people))
    check = await platform(stage)
    assert Level.WARNING is check.level
    assert one.what in check.detail
    (metric,) = stage.parts.examiner.odd_rows()
    counts = {tuple(sample.labels.values()): sample.value for sample in metric.samples}
    assert one.count == counts[relation, kind]


async def test_pages_end_where_a_session_has_a_history(
    stage: Stage, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of before starts earlier: whoever is behind a cursor is still everybody who follows."""
    monkeypatch.setattr("starter.services.backfill.PAGE", 2)
    sessions = [await host.session(stage.clock.now() + hours * HOUR) for hours in (24, 25)]
    people = [await host.person(name) for name in ("ana", "ben", "eva")]
    await host.run(SESSIONS_WITH_A_HISTORY)
    for session in sessions:
        for user in people:
            await host.enrolls(session, user)
    async with asyncio.timeout(60):
        assert 6 == (await backfill(stage).run()).enrollments
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed', status_reason = 'expired'"
                " WHERE reminder_type = '2h'"
            )
        )
    async with asyncio.timeout(60):
        found = await stage.parts.resending.redrive(
            By("ops", "why"), dry_run=True, limit=2, patience=None
        )
    assert 6 == found.found


async def platform(stage: Stage) -> Check:
    """What `doctor` says of the platform."""
    checks = (await stage.parts.examiner.examine()).checks
    return next(check for check in checks if check.name == "platform")


@pytest.mark.parametrize("table", ["public.sessions", "public.session_enrollments", "auth.users"])
async def test_absence_en_masse_is_not_believed(
    stage: Stage, host: Host, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row-level security hides everybody: nobody is called off, `doctor` is red, and mails come late."""
    for kept in ("_BELIEVED_FOR", "_DOUBTED_FOR"):
        monkeypatch.setattr(f"reminders.db.absence.{kept}", timedelta())
    monkeypatch.setattr("starter.health.platform.READ_EVERY", timedelta())
    session, ana = await host.session(stage.clock.now() + 31 * MINUTE), await host.person("ana")
    await host.enrolls(session, ana)
    await stage.gateway.enroll(session, ana)
    assert Level.OK is (await platform(stage)).level
    await host.run(
        *(f"ALTER VIEW reminders_host.{name} SET (security_invoker = on)" for name in VIEWS),
        f"GRANT USAGE ON SCHEMA public, auth TO {ROLE}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public, auth TO {ROLE}",
        "ALTER TABLE public.profiles DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.session_enrollments DISABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
    )
    await stage.sweep()
    check = await platform(stage)
    assert (Level.RED, True) == (check.level, "are not visible" in check.detail)
    hidden, _ = await reading.hidden(stage.database)
    (words,) = hidden
    assert f"CREATE POLICY reminders ON {table} FOR SELECT" in words
    run = handle_of(stage, session, ana)
    passing = asyncio.create_task(stage.forward(2 * MINUTE, run))
    await eventually(lambda: attempted(run, 2))
    assert "scheduled" in await statuses(stage, session, ana)
    await host.run(f'CREATE POLICY reminders ON {table} FOR SELECT TO "{ROLE}" USING (true)')
    await passing
    await run.result()
    assert "sent" in await statuses(stage, session, ana)
    hidden, filtered = await reading.hidden(stage.database)
    assert (0, 1) == (len(hidden), len(filtered))


async def test_one_who_is_gone_lets_nobody_follow_them(stage: Stage, host: Host) -> None:
    """That one enrollment is believed to be gone says nothing of all others a moment later."""
    session = await host.session(stage.clock.now() + 24 * HOUR)
    people = [await host.person(name) for name in ("ana", "ben", "eva", "mia", "leo", "zoe")]
    for user in people:
        await host.enrolls(session, user)
        await stage.gateway.enroll(session, user)
    absence = Absence(stage.database)
    await host.run("DELETE FROM session_enrollments WHERE user_id = :id", id=people[0])
    assert not await absence.hides(session, people[0])
    await host.run("DELETE FROM session_enrollments")
    await asyncio.sleep(0.6)  # as long as it is believed
    assert await absence.hides(session, people[1])


async def test_who_has_no_address_is_skipped_until_there_is_one(stage: Stage, host: Host) -> None:
    """Nothing failed: each reminder ends as `skipped`, and one added between two gets the second."""
    session = await host.session(stage.clock.now() + 24 * HOUR + MINUTE)
    ana = await host.person("ana")
    await host.enrolls(session, ana)
    await host.run("UPDATE auth.users SET email = NULL WHERE id = :id", id=ana)
    await stage.gateway.enroll(session, ana)
    run = handle_of(stage, session, ana)
    await stage.forward(2 * MINUTE, run)
    await eventually(lambda: is_skipped(stage, session, ana))
    assert [] == await stage.provider.accepted()
    story = await stage.gateway.why(session, ana)
    (skipped,) = [r for r in story.reminders if r.reason is StatusReason.NO_ADDRESS]
    words = decision(skipped.status, skipped.reason, due_at=skipped.due_at, now=stage.clock.now())
    assert words.startswith("not sent: the attendee has no e-mail address; have the platform add")
    await host.run("UPDATE auth.users SET email = 'ana@clinic.example' WHERE id = :id", id=ana)
    await stage.forward(24 * HOUR, run)
    await run.result()
    assert {"skipped: no_address", "sent"} == await statuses(stage, session, ana)
    mails = await stage.provider.accepted()
    assert ["ana@clinic.example"] * 2 == [mail["to"][0] for mail in mails]


async def is_skipped(stage: Stage, session: UUID, user: UUID) -> bool:
    """Whether the first reminder has ended for want of an address."""
    return "skipped: no_address" in await statuses(stage, session, user)


async def leaves(host: Host, session: UUID, user: UUID) -> None:
    """The platform deletes its row."""
    await host.run(
        "DELETE FROM session_enrollments WHERE session_id = :session AND user_id = :user",
        session=session,
        user=user,
    )


async def test_a_corrected_address_ends_its_block(stage: Stage, host: Host) -> None:
    """The platform's table has another by now, and nobody tells us: the next sweep plans it anew."""
    session = await host.session(stage.clock.now() + 25 * HOUR)
    ana, twin = await host.person("ana"), await host.person("twin")
    await host.run("UPDATE auth.users SET email = 'ANA@hospital.example' WHERE id = :id", id=twin)
    for user in (ana, twin):
        await host.enrolls(session, user)
        await stage.gateway.enroll(session, user)
    await stage.forward(90 * MINUTE, handle_of(stage, session, ana))
    (mail,) = await stage.provider.accepted()
    assert await stage.parts.provider_events.record(a_bounce(stage, mail))
    blocked = {"bounced", "skipped: address_bounced"}
    assert blocked == await statuses(stage, session, ana)
    assert {"skipped: address_bounced"} == await statuses(stage, session, twin)
    await stage.sweep()
    assert blocked == await statuses(stage, session, ana)
    await host.run("UPDATE auth.users SET email = 'ana@clinic.example' WHERE id = :id", id=ana)
    await stage.sweep()
    assert "scheduled" in await statuses(stage, session, ana)
    assert {"skipped: address_bounced"} == await statuses(stage, session, twin)


async def test_a_request_in_a_hurry_lets_the_rows_be_looked_through(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look is of no request, whose patience would end it each time."""
    seen = asyncio.Event()

    async def slow(database: Database) -> tuple[Oddity, ...]:
        monkeypatch.setitem(budget.PATIENCE, "PostgreSQL", 0.05)
        await database.scalar(text("SELECT pg_sleep(0.3)"))
        seen.set()
        return ()

    monkeypatch.setattr("starter.health.platform.odd_rows", slow)
    with budget.one_budget():
        await platform(stage)
    await asyncio.wait_for(seen.wait(), 20)
