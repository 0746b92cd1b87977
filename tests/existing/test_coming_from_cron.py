"""A platform leaves its cron job behind: nobody gets a reminder twice, and nobody none."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import Client
from typer.testing import CliRunner, Result

from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.db import migrate
from reminders.db.audit import Action, AuditLog
from reminders.db.engine import Database
from reminders.db.sweep import Ahead
from reminders.domain.errors import ConfigurationError, InvalidInputError
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import Enrollment
from reminders.settings import Settings
from starter.cli.main import app
from starter.migration import shadow as shadowing
from starter.migration.commands import _print_difference
from starter.migration.importing import CronTables, Imported
from starter.migration.ledger import Cutovers
from starter.migration.shadow import CronMigration
from starter.services.backfill import Backfill, BackfillReceipt
from tests.existing.host import LEFT_ALONE, ROOT, CronJob, Host, statements
from tests.existing.test_existing_platform import handle_of, statuses
from tests.provider import ProviderClient
from tests.stage import Stage, eventually

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GRACE = MINUTE

Sent = tuple[UUID, UUID, str]
"""Session, user and reminder type."""


def migration(stage: Stage) -> CronMigration:
    """The way from the cron job, on the stage's clock."""
    return CronMigration(stage.database, gateway=stage.gateway, clock=stage.clock, schema="public")


def backfill(stage: Stage) -> Backfill:
    """A back-fill on the stage's clock."""
    return Backfill(
        enrollments=Ahead(stage.database),
        planner=stage.planner,
        handover=stage.handover,
        clock=stage.clock,
    )


async def sent_by_us(stage: Stage) -> list[Sent]:
    """What the provider has accepted."""
    ids = [UUID(mail["tags"]["reminder_id"]) for mail in await stage.provider.accepted()]
    rows = (await stage.queries.list(limit=10_000)).reminders
    known = {r.id: (r.session_id, r.user_id, r.reminder_type) for r in rows}
    return [known[i] for i in ids]


@pytest.fixture
def shadow(settings: Settings) -> Settings:
    """Settings of a worker that only records."""
    return settings.model_copy(update={"shadow_mode": True})


@pytest.fixture
async def shadow_stage(
    shadow: Settings,
    database: Database,
    client: Client,
    provider: ProviderClient,
    cron: CronJob,
) -> Any:
    """The whole system beside the platform and its cron job, in shadow mode."""
    async with Stage(shadow, database, client, provider) as stage:
        await migration(stage).take_over()
        yield stage


@pytest.mark.parametrize(
    ("ahead", "cut_over_after"),
    [(timedelta(), (53, 59.5, 61, 68)), (10 * MINUTE, (40, 53))],
    ids=["on time", "ahead of time"],
)
async def test_a_cut_over_doubles_and_misses_nothing(
    shadow_stage: Stage, host: Host, ahead: timedelta, cut_over_after: Sequence[float]
) -> None:
    """Cut over before, around and after a due instant: each reminder goes out once, by either.

    The 2 h reminders are due after 60 minutes. The cron job's run after 67 looks at them, or the
    one after 52, where it sends ahead of time.
    """
    stage, cron = shadow_stage, CronJob(host, ahead=ahead)
    began = stage.clock.now()
    user = await host.person("ana")
    sessions = {at: await host.session(began + 3 * HOUR) for at in cut_over_after}
    for session in sessions.values():
        await host.enrolls(session, user)
    await backfill(stage).run()
    handles = [handle_of(stage, session, user) for session in sessions.values()]
    runs = {float(minute): None for minute in (52, 67, 172)}
    requests = {minute + 0.25: session for minute, session in sessions.items()}
    ends = {minute + 0.5 + GRACE / MINUTE: session for minute, session in sessions.items()}
    for minute in sorted({**runs, **requests, **ends, 181.0: None}):
        await stage.forward(began + minute * MINUTE - stage.clock.now(), *handles)
        if minute in runs:
            await cron.run(stage.clock.now())
        elif minute in requests:
            await migration(stage).request_cutover(requests[minute])
        elif minute in ends:
            await migration(stage).complete_cutover(
                ends[minute], grace=GRACE, cron_period=cron.PERIOD
            )
    by_cron, by_us = await cron.log(), await sent_by_us(stage)
    expected = {(s, user, kind): 1 for s in sessions.values() for kind in ("2h", "15min")}
    assert expected == dict(Counter([*by_cron, *by_us]))
    # The proof proves something: both have sent some of the 2 h reminders.
    assert {"2h"} == {kind for _, _, kind in by_cron}
    assert "2h" in {kind for _, _, kind in by_us}


async def test_shadow_mode_sends_nothing_and_is_compared(
    shadow_stage: Stage, host: Host, cron: CronJob, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would have gone out is recorded beside the cron job's log, and each difference named."""
    stage = shadow_stage
    session = await host.session(stage.clock.now() + 150 * MINUTE)
    both, ours, theirs = [await host.person(n) for n in ("both", "ours", "theirs")]
    for user in (both, ours, theirs):
        await host.enrolls(session, user)
    await backfill(stage).run()
    nothing = await migration(stage).difference(tolerance=20 * MINUTE)
    assert nothing.since is None
    assert nothing.is_none
    await host.run("UPDATE session_enrollments SET status = 'x' WHERE user_id = :id", id=ours)
    await stage.gateway.unenroll(session, theirs)
    async with host.untouched():
        handles = [handle_of(stage, session, user) for user in (both, ours, theirs)]
    await host.run(
        "UPDATE session_enrollments SET status = 'registered' WHERE user_id = :id", id=ours
    )
    await stage.forward(31 * MINUTE, *handles)
    await host.run("UPDATE session_enrollments SET status = 'x' WHERE user_id = :id", id=ours)
    await cron.run(stage.clock.now())
    await stage.forward(10 * MINUTE, handles[0])
    assert [] == await stage.provider.accepted()
    shadowed = {"skipped: past_due", "skipped: shadowed", "scheduled"}
    assert shadowed == await statuses(stage, session, both)
    found = await migration(stage).difference(tolerance=5 * MINUTE, since=stage.clock.now() - HOUR)
    assert (1, 1, 1, 0) == (found.both, found.only_cron, found.only_ours, found.apart)
    await host.run(
        "INSERT INTO session_reminder_emails (session_id, user_id, reminder_type, sent_at, email_status)"
        " SELECT session_id, user_id, '24h', sent_at, 'FAILED' FROM session_reminder_emails"
        " WHERE sent_at IS NOT NULL LIMIT 1"
    )
    again = await migration(stage).difference(tolerance=5 * MINUTE, since=stage.clock.now() - HOUR)
    assert 1 == again.only_cron, "what failed there was not sent, however they write it"
    assert 0 < found.median_seconds < 120
    named = {p.user_id: p for p in found.examples}
    assert ("cancelled", "unenrolled") == (
        named[theirs].email_status, named[theirs].status_reason
    )  # fmt: skip
    assert named[ours].cron_at is None
    await host.run("UPDATE profiles SET full_name = 'Ana Ruiz' WHERE id = :id", id=ours)
    _print_difference(found, await stage.parts.browser.names([session], [ours]))
    (row,) = [line for line in capsys.readouterr().out.splitlines() if str(ours) in line]
    assert "Cardiology update" in row
    assert "Ana Ruiz" in row
    late = await migration(stage).difference(
        tolerance=timedelta(seconds=1), since=stage.clock.now() - HOUR
    )
    assert 1 == late.apart


async def test_a_cut_over_waits_for_the_cron_job(shadow_stage: Stage, host: Host) -> None:
    """Before the grace is over it is refused, and nothing is sent meanwhile; `--all` ends it all."""
    stage = shadow_stage
    session = await host.session(stage.clock.now() + 121 * MINUTE)
    user = await host.person("ana")
    await host.enrolls(session, user)
    await backfill(stage).run()
    requested = await migration(stage).request_cutover(None)
    assert requested == await migration(stage).request_cutover(None)
    with pytest.raises(ConfigurationError, match="may still be sending; repeat after"):
        await migration(stage).complete_cutover(None, grace=GRACE, cron_period=15 * MINUTE)
    await stage.forward(2 * MINUTE, handle_of(stage, session, user))
    assert [] == await stage.provider.accepted()
    assert {"skipped: past_due", "scheduled"} == await statuses(stage, session, user)
    stage.clock.ahead += GRACE
    await migration(stage).complete_cutover(None, grace=GRACE, cron_period=15 * MINUTE)
    await stage.forward(MINUTE, handle_of(stage, session, user))
    assert [(session, user, "2h")] == await sent_by_us(stage)


async def test_what_was_sent_stays_sent(stage: Stage, host: Host, cron: CronJob) -> None:
    """The old log becomes ledger rows, once; pending and failed are planned, and nothing is late."""
    now = stage.clock.now()
    session, past = await host.session(now + 25 * HOUR), await host.session(now - DAY)
    people = {n: await host.person(n) for n in ("sent", "failed", "pending", "bounced", "new")}
    for user in people.values():
        await host.enrolls(session, user)
    for name, status in (("sent", "sent"), ("failed", "failed"), ("bounced", "bounced")):
        await host.run(
            "INSERT INTO session_reminder_emails"
            " (session_id, user_id, reminder_type, sent_at, email_status, resend_email_id)"
            " VALUES (:s, :u, '24h', :at, :status, 're_1'), (:past, :u, '24h', :at, 'opened', NULL)",
            s=session, u=people[name], at=now - MINUTE, status=status, past=past,
        )  # fmt: skip
    await host.run(
        "INSERT INTO session_reminder_emails (session_id, user_id, reminder_type)"
        " VALUES (:s, :u, '24h')",
        s=session,
        u=people["pending"],
    )
    async with host.untouched():
        counted = await migration(stage).take_over(dry_run=True)
        assert {} == await stage.catalogue.counts(session)
        done = await migration(stage).take_over()
        assert counted == done
        assert Imported(read=7, added=5, not_sent=2) == done.reminders
        changed = {change.reminder_type: change.fields for change in done.rules}
        assert {
            "2h": ("subject_template",),
            "15min": ("lead", "is_enabled", "subject_template", "display_name", "sort_order"),
            "30min": ("is_enabled",),
        } == changed
        again = await migration(stage).take_over()
        assert Imported(read=7, known=5, not_sent=2) == again.reminders
        assert () == again.rules
        filled = await backfill(stage).run()
        assert (5, 0) == (filled.enrollments, filled.failed)
    rows = {
        (r.user_id, r.reminder_type): r
        for r in (await stage.queries.list(session_id=session, limit=100)).reminders
    }
    imported = rows[people["sent"], "24h"]
    assert (1, ReminderStatus.SENT, "re_1") == (
        imported.generation, imported.status, imported.resend_email_id
    )  # fmt: skip
    assert now - MINUTE == imported.sent_at
    assert ReminderStatus.BOUNCED is rows[people["bounced"], "24h"].status
    for name in ("failed", "pending", "new"):
        assert ReminderStatus.SCHEDULED is rows[people[name], "24h"].status
    assert {"24h", "2h", "15min"} == {kind for _, kind in rows}
    await stage.forward(2 * HOUR, *(handle_of(stage, session, u) for u in people.values()))
    mailed = Counter(user for _, user, _ in await sent_by_us(stage))
    assert {people[name]: 1 for name in ("failed", "pending", "new")} == dict(mailed)


async def test_a_reminder_that_waited_here_and_was_sent_there(
    stage: Stage, host: Host, cron: CronJob
) -> None:
    """The import records it as sent, and its workflow, which knows nothing of that, sends nothing."""
    session, user = await host.session(stage.clock.now() + 121 * MINUTE), await host.person("a")
    await host.enrolls(session, user)
    await migration(stage).take_over()
    await backfill(stage).run()
    await host.run(
        "INSERT INTO session_reminder_emails"
        " (session_id, user_id, reminder_type, sent_at, email_status)"
        " VALUES (:s, :u, '2h', :at, 'sent')",
        s=session, u=user, at=stage.clock.now(),
    )  # fmt: skip
    done = await migration(stage).take_over()
    assert (0, 1) == (done.reminders.added, done.reminders.corrected)
    await stage.forward(5 * MINUTE, handle_of(stage, session, user))
    assert [] == await stage.provider.accepted()


async def test_a_log_with_a_row_for_each_attempt(
    stage: Stage, host: Host, cron: CronJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that went out counts, wherever it stands, also across two pages; rows of nothing are none."""
    monkeypatch.setattr(shadowing, "PAGE", 1)
    session, user = await host.session(stage.clock.now() + 121 * MINUTE), await host.person("a")
    await host.enrolls(session, user)
    await host.run(
        "ALTER TABLE session_reminder_emails"
        " DROP CONSTRAINT session_reminder_emails_session_id_user_id_reminder_type_key,"
        " ALTER reminder_type DROP NOT NULL"
    )
    for kind, sent_at, status in (
        ("2h", None, "pending"), ("2h", stage.clock.now(), "failed"),
        ("2h", stage.clock.now(), "sent"), ("2h", stage.clock.now() + MINUTE, "sent"),
        (None, stage.clock.now(), "sent"),
    ):  # fmt: skip
        await host.run(
            "INSERT INTO session_reminder_emails"
            " (session_id, user_id, reminder_type, sent_at, email_status)"
            " VALUES (:s, :u, :kind, :at, :status)",
            s=session, u=user, kind=kind, at=sent_at, status=status,
        )  # fmt: skip
    async with asyncio.timeout(30):
        done = await migration(stage).take_over()
    assert Imported(read=1, added=1) == done.reminders


async def test_old_tables_that_cannot_be_used(stage: Stage, host: Host, cron: CronJob) -> None:
    """A missing table, a missing or mistyped column, our own ledger and odd rules are told by name."""
    for schema, problem in (
        ("nowhere", "there is no nowhere.session_reminder_emails; say with --schema"),
        ("session_reminders", "is our own ledger"),
    ):
        with pytest.raises(ConfigurationError, match=problem):
            await CronTables(stage.database, schema).check()
    await host.run(
        "UPDATE reminder_configurations SET email_subject_template = '{nonsense}'"
        " WHERE reminder_type = '2h'"
    )
    with pytest.raises(InvalidInputError, match=r"the rule '2h': .*nonsense"):
        await migration(stage).take_over()
    await host.run(
        "ALTER TABLE reminder_configurations ALTER minutes_before DROP NOT NULL,"
        " ALTER email_subject_template DROP NOT NULL, ALTER display_name DROP NOT NULL"
    )
    for wrong, what in (
        ("minutes_before = 0, is_enabled = false", "minutes_before is a whole number from 1"),
        ("minutes_before = NULL", "minutes_before is a whole number from 1"),
        ("minutes_before = 120, reminder_type = '2 hours'", "reminder_type is 1 to 32"),
        ("reminder_type = '2h', email_subject_template = NULL", "email_subject_template"),
    ):
        await host.run(
            f"UPDATE reminder_configurations SET {wrong} WHERE reminder_type IN ('2h', '2 hours')"
        )
        with pytest.raises(InvalidInputError, match=f"the rule '2.*': {what}.*the old table"):
            await migration(stage).take_over(dry_run=True)
    await host.run(
        "UPDATE reminder_configurations SET minutes_before = 1440, is_enabled = true,"
        " email_subject_template = 'x', display_name = NULL WHERE reminder_type = '2h'"
    )
    with pytest.raises(InvalidInputError, match=r"the rules '.*h' and '.*h' are due at the same"):
        await migration(stage).take_over(dry_run=True)
    await host.run(
        "UPDATE reminder_configurations SET minutes_before = 120 WHERE email_subject_template = 'x'"
    )
    assert "2h" in {
        rule.display_name for rule in (await migration(stage).take_over(dry_run=True)).rules
    }
    await host.run(
        "UPDATE reminder_configurations SET reminder_type = 'moved', is_enabled = false,"
        " email_subject_template = 'x' WHERE reminder_type = '2h'"
    )
    with pytest.raises(InvalidInputError, match="'moved' is the name of a notice"):
        await migration(stage).take_over()
    await host.run(
        "UPDATE reminder_configurations SET reminder_type = '2h' WHERE reminder_type = 'moved'"
    )
    session, user = await host.session(stage.clock.now() + DAY), await host.person("ana")
    await host.run(
        "INSERT INTO session_reminder_emails (session_id, user_id, reminder_type)"
        " VALUES (:s, :u, 'cancelled')",
        s=session,
        u=user,
    )
    with pytest.raises(InvalidInputError, match="'cancelled' is the name of a notice"):
        await migration(stage).take_over()
    await host.run("ALTER TABLE session_reminder_emails ALTER sent_at TYPE timestamp")
    with pytest.raises(ConfigurationError, match="sent_at is timestamp without time zone"):
        await migration(stage).take_over()
    await host.run("ALTER TABLE session_reminder_emails RENAME COLUMN sent_at TO delivered_at")
    with pytest.raises(ConfigurationError, match="has no column sent_at"):
        await migration(stage).take_over()


async def test_a_back_fill_goes_on_where_it_stopped(stage: Stage, host: Host) -> None:
    """Counted first, then done in parts, then all confirmed: each enrollment is planned once."""
    now = stage.clock.now()
    soon, later = await host.session(now + HOUR), await host.session(now + 7 * DAY)
    gone = await host.session(now - HOUR)
    people = [await host.person(f"p{n}") for n in range(4)]
    for session in (soon, later, gone):
        for user in people:
            await host.enrolls(session, user)
    await host.run(
        "UPDATE session_enrollments SET status = 'waitlisted' WHERE user_id = :u", u=people[0]
    )
    assert 6 == await backfill(stage).expected()
    expected = BackfillReceipt(enrollments=6, planned=6, scheduled=3 + 9, past_due=6)
    async with host.untouched():
        assert expected == await backfill(stage).run(dry_run=True)
        assert {} == await stage.catalogue.counts(soon)
        first = await backfill(stage).run(limit=4)
        assert (4, 4) == (first.enrollments, first.planned)
        assert isinstance(first.after, Enrollment)
        assert later == first.after.session_id, "whoever starts next comes first"
        second = await backfill(stage).run(after=first.after)
        assert (2, 2, None) == (second.enrollments, second.planned, second.after)
        again = await backfill(stage).run(session_id=later)
        assert BackfillReceipt(enrollments=3, scheduled=9) == again
    assert 0 == (await stage.sweep()).processed
    assert [] == await stage.provider.accepted()


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_ten_thousand_are_brought_in(stage: Stage, host: Host) -> None:
    """10,000 enrollments get their plan and their workflow; the rate is printed."""
    session = await host.session(stage.clock.now() + 7 * DAY)
    await host.run(
        "INSERT INTO auth.users (id, email, encrypted_password)"
        " SELECT gen_random_uuid(), n || '@hospital.example', 'x' FROM generate_series(1, 10000) n",
    )
    await host.run(
        "INSERT INTO session_enrollments (session_id, user_id) SELECT :s, id FROM auth.users",
        s=session,
    )
    await stage.stop_worker()  # planning needs none, and neither does starting
    clock = asyncio.get_running_loop().time
    began = clock()
    done = await backfill(stage).run(rate=1000)
    seconds = clock() - began
    print(f"10,000 enrollments in {seconds:.0f} s: {10_000 / seconds:.0f} a second")
    assert BackfillReceipt(enrollments=10_000, planned=10_000, scheduled=30_000) == done
    query = f"SessionId = '{session}' AND ExecutionStatus = 'Running'"

    async def all_run() -> bool:
        return (await stage.client.count_workflows(query)).count == 10_000

    await eventually(all_run, within=timedelta(minutes=2))
    repeated = await backfill(stage).run(rate=1000, limit=1000)
    assert (1000, 0) == (repeated.enrollments, repeated.planned)


# ---------------------------------------------------------------- commands


@pytest.fixture
def commands(
    shadow: Settings, temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Commands find the platform and Temporal as an operator's do."""
    environment = {
        "TEMPORAL_ADDRESS": temporal_server.address,
        "TEMPORAL_TASK_QUEUE": shadow.temporal_task_queue,
        "DATABASE_URL": shadow.require_database_url(),
        "DATABASE_MODE": "existing",
        "HOST_SCHEMA": "reminders_host",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)
    yield
    monkeypatch.undo()


async def command(*arguments: object, exit_code: int = 0) -> Result:
    """The outcome of a command."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert exit_code == result.exit_code, result.output
    return result


async def answer(*arguments: object, exit_code: int = 0) -> Any:
    """A command's JSON."""
    return json.loads((await command(*arguments, "--json", exit_code=exit_code)).stdout)


@pytest.mark.usefixtures("commands")
async def test_the_commands_of_the_guide(shadow_stage: Stage, host: Host, cron: CronJob) -> None:
    """Each step of the guide as an operator types it, from the first look to the cut-over."""
    stage = shadow_stage
    session, user = await host.session(datetime.now(UTC) + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, user)
    assert {"problems": [], "warnings": []} == await answer("db", "check")
    upgraded = await answer("db", "upgrade")
    assert (migrate.head(), []) == (upgraded["after"], upgraded["warnings"])
    assert [] == (await answer("import-cron", "--dry-run"))["rules"]
    await answer("import-cron", "--reason", "the first step")
    counted = await answer("backfill", "--dry-run", "--session", session)
    assert (1, 3, True) == (counted["enrollments"], counted["scheduled"], counted["dry_run"])
    assert "enrollments" in (await command("backfill", "--limit", 1)).stdout
    assert 0 == (await answer("backfill"))["planned"]
    wrong = await command("backfill", "--after", "nonsense", exit_code=1)
    assert "write SESSION:USER" in wrong.output
    assert "nothing was recorded" in (await command("shadow-diff")).stdout
    await stage.forward(61 * MINUTE, handle_of(stage, session, user))
    assert {"skipped: shadowed", "scheduled"} == await statuses(stage, session, user)
    # What was recorded on the wound clock lies ahead of the commands', which have the real one.
    assert 0 == (await answer("shadow-diff", "--since", "2026-01-01"))["both"]
    await command("cutover", exit_code=2)
    await command("cutover", uuid4(), exit_code=3)
    requested = datetime.now(UTC) - HOUR
    await Cutovers(stage.database).request(session, now=requested)
    done = await answer("cutover", session, "--reason", "the last step")
    assert (0, 1) == (done["imported"], done["reopened"])
    again = await answer("cutover", session)
    assert (0, 0) == (again["imported"], again["reopened"])
    newest = max(
        await stage.queries.of_enrollment(session, user), key=lambda r: (r.generation, r.due_at)
    )
    assert (2, "24h") == (newest.generation, newest.reminder_type)
    await stage.forward(MINUTE, handle_of(stage, session, user))
    assert [(session, user, "24h")] == await sent_by_us(stage)
    log = await AuditLog(stage.database).entries()
    assert [
        (Action.CUT_OVER, None),
        (Action.CUT_OVER, "the last step"),
        (Action.BACKFILLED, None),
        (Action.BACKFILLED, None),
        (Action.CRON_IMPORTED, "the first step"),
    ] == [(e.action, e.reason) for e in log if e.actor == "cli"]


async def test_the_cron_job_may_read_whose_turn_it_is(host: Host, database: Database) -> None:
    """With the guide's two grants its role sees what is cut over, and nothing else of ours."""
    use, read = statements("migration.md", "6. Cut over")
    await host.run("CREATE ROLE service_role", use)
    await Host(database, "").run(read)
    await Cutovers(database).request(None, now=datetime.now(UTC))
    async with host.database.transaction() as connection:
        await connection.execute(text("SET LOCAL ROLE service_role"))
        seen = text("SELECT count(*) FROM session_reminders.session_cutovers")
        assert 1 == await connection.scalar(seen)
        with pytest.raises(Exception, match="permission denied"):
            await connection.execute(text("SELECT FROM session_reminders.session_reminder_emails"))
        await connection.rollback()


def test_the_guide_shows_the_condition_that_was_tried() -> None:
    """What the cron job's query gets is what these tests run with."""
    guide = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")
    assert " ".join(LEFT_ALONE.split()) in " ".join(guide.split())


async def test_a_notice_that_is_open_again_knows_what_it_moved_from(
    shadow_stage: Stage, host: Host
) -> None:
    """A move that was recorded in shadow mode is told after the cut-over, with the time of before."""
    stage, now = shadow_stage, shadow_stage.clock.now()
    session, ana = await host.session(now + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, ana)
    await stage.gateway.enroll(session, ana)
    before = now + 20 * HOUR
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET reminder_type = 'moved', moved_from = :before,"
                " email_status = 'skipped', status_reason = 'shadowed' WHERE reminder_type = '24h'"
            ),
            {"before": before},
        )
    opened, _ = await Cutovers(stage.database).take_over(session, since=now, now=now)
    assert 1 == opened
    [notice] = [
        r
        for r in await stage.queries.of_enrollment(session, ana)
        if (r.reminder_type, r.generation) == ("moved", 2)
    ]
    assert before == notice.moved_from
