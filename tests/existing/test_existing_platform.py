"""An existing platform is reminded of its sessions, and does not notice us in its tables."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from reminders.db import migrate
from reminders.db.audit import By
from reminders.db.calendar import calendar_entry
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.preference_store import PreferenceStore
from reminders.db.provider import ProviderEvents
from reminders.domain.errors import (
    ConfigurationError,
    EnrollmentNotFoundError,
    InvalidInputError,
    PlatformOwnedError,
    UserNotFoundError,
)
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import Attendee, Enrollee, Notice, OptOut, Session
from reminders.domain.rules import RuleFields
from reminders.settings import Settings
from starter.health.diagnosis import Level
from starter.health.examiner import Examiner
from tests.existing.conftest import BARE, GUIDE
from tests.existing.host import ROLE, Host, a_bounce, statements
from tests.stage import PATIENCE, Handle, Stage, eventually
from tests.starter.conftest import serving

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def handle_of(stage: Stage, session_id: UUID, user_id: UUID) -> Handle:
    """The workflow of an enrollment."""
    return stage.client.get_workflow_handle(session_reminder_workflow_id(session_id, user_id))


async def statuses(stage: Stage, session_id: UUID, user_id: UUID) -> set[str]:
    """What became of a person's reminders."""
    rows = await stage.queries.of_enrollment(session_id, user_id)
    return {f"{r.status}: {r.reason}" if r.reason else str(r.status) for r in rows}


async def test_a_platform_s_week(stage: Stage, host: Host) -> None:
    """Enrolled, lost, moved, deleted, cancelled, called off with us: right mails, tables untouched."""
    names = ("told", "lost", "leaves", "deleted", "late-leaver", "called-off", "waits")
    people = {name: await host.person(name) for name in names}
    session = await host.session(stage.clock.now() + 25 * HOUR)
    cancelled = await host.session(stage.clock.now() + 25 * HOUR)
    gone = await host.session(stage.clock.now() + 25 * HOUR)
    for name, user in people.items():
        await host.enrolls(session, user, "waitlisted" if name == "waits" else "registered")
    await host.enrolls(cancelled, people["told"])
    await host.enrolls(gone, people["told"])

    async with host.untouched():
        for name in ("told", "leaves", "deleted", "late-leaver", "called-off"):
            enrolled = await stage.gateway.enroll(session, people[name])
            assert 3 == sum(r.status.is_pending for r in enrolled.reminders)
        await stage.gateway.enroll(gone, people["told"])
        await stage.gateway.enroll(cancelled, people["told"])
        receipt = await stage.gateway.unenroll(session, people["called-off"])
        assert 3 == receipt.cancelled

    # The platform goes on in its own tables, and tells nobody.
    moved = stage.clock.now() + 28 * HOUR
    await host.run("UPDATE sessions SET scheduled_at = :at WHERE id = :id", at=moved, id=session)
    await host.run("UPDATE sessions SET state = 'cancelled' WHERE id = :id", id=cancelled)
    await host.run("DELETE FROM sessions WHERE id = :id", id=gone)
    await host.run("DELETE FROM auth.users WHERE id = :id", id=people["deleted"])
    await host.run(
        "UPDATE session_enrollments SET status = 'cancelled' WHERE user_id = :id",
        id=people["leaves"],
    )

    async with host.untouched():
        swept = await stage.sweep()
        assert 0 == swept.total_failed
        assert {"cancelled: unenrolled"} == await statuses(stage, session, people["leaves"])
        assert {"cancelled: unenrolled"} == await statuses(stage, session, people["deleted"])
        assert {"cancelled: session_cancelled"} == await statuses(stage, cancelled, people["told"])
        assert {"cancelled: session_deleted"} == await statuses(stage, gone, people["told"])
        for name in ("told", "lost", "late-leaver"):
            rows = await stage.queries.of_enrollment(session, people[name])
            assert {moved} == {r.starts_at for r in rows}
        assert 0 == (await stage.sweep()).processed

    # After the last sweep, before the first reminder: found when it is about to go out.
    await host.run("DELETE FROM session_enrollments WHERE user_id = :id", id=people["late-leaver"])
    async with host.untouched():
        reminded = [handle_of(stage, session, people[n]) for n in ("told", "lost", "late-leaver")]
        await stage.forward(29 * HOUR, *reminded)
        assert {"sent"} == await statuses(stage, session, people["told"])
        assert {"sent"} == await statuses(stage, session, people["lost"])
        assert {"cancelled: unenrolled"} == await statuses(stage, session, people["late-leaver"])
        mails = [mail["to"] for mail in await stage.provider.accepted()]
    expected = [["lost@hospital.example"]] * 3 + [["told@hospital.example"]] * 3
    assert expected == sorted(mails)


async def test_changes_are_told_once_that_is_switched_on(stage: Stage, host: Host) -> None:
    """Off at first, kind by kind: the platform may be telling people itself. Found by a sweep."""
    session, user = await host.session(stage.clock.now() + 50 * HOUR), await host.person("told")
    await host.enrolls(session, user)
    await stage.sweep()
    run = handle_of(stage, session, user)
    later = "UPDATE sessions SET scheduled_at = scheduled_at + interval '1 hour' WHERE id = :id"
    await host.run(later, id=session)
    assert 1 == (await stage.sweep()).processed
    await stage.forward(HOUR, run)
    for kind in (Notice.MOVED, Notice.CANCELLED):
        await stage.rules.change(
            kind, None, RuleFields(is_enabled=True), by=By("test"), wait=PATIENCE
        )
    await host.run(later, id=session)
    assert 1 == (await stage.sweep()).processed
    assert 0 == (await stage.sweep()).processed
    await stage.forward(3 * MINUTE, run)
    await host.run("UPDATE sessions SET state = 'cancelled' WHERE id = :id", id=session)
    assert 1 == (await stage.sweep()).processed

    async def told() -> bool:
        return len(await stage.provider.accepted()) == 2

    await eventually(told)
    subjects = [mail["subject"] for mail in await stage.provider.accepted()]
    assert ["New time for", "Cancelled: C"] == [subject[:12] for subject in subjects]
    assert {"sent", "cancelled: session_cancelled"} == await statuses(stage, session, user)
    assert 0 == (await stage.sweep()).processed


async def test_what_is_called_off_with_us_stays_so(stage: Stage, host: Host) -> None:
    """A cancelled session reminds no late comer either, until it is restored; nor who has left."""
    session = await host.session(stage.clock.now() + 25 * HOUR)
    early, late, left = [await host.person(n) for n in ("early", "late", "left")]
    for user in (early, left):
        await host.enrolls(session, user)
        await stage.gateway.enroll(session, user)
    await stage.gateway.unenroll(session, left)
    receipt = await stage.gateway.cancel_session(session, wait=PATIENCE)
    assert (1, 3) == (receipt.enrollments, receipt.reminders.cancelled)
    await host.enrolls(session, late)
    assert () == (await stage.gateway.enroll(session, late)).reminders
    assert 0 == (await stage.sweep()).processed
    foreseen = await stage.gateway.restore_session(session, dry_run=True)
    restored = await stage.gateway.restore_session(session, wait=PATIENCE)
    assert 2 == foreseen.replanned == restored.replanned
    await stage.forward(26 * HOUR, *(handle_of(stage, session, u) for u in (early, late)))
    mails = [mail["to"][0].partition("@")[0] for mail in await stage.provider.accepted()]
    assert ["early"] * 3 + ["late"] * 3 == sorted(mails)
    assert {"cancelled: unenrolled"} == await statuses(stage, session, left)


async def test_an_enrollment_by_call_revives(stage: Stage, host: Host) -> None:
    """Who was unenrolled with us and is enrolled once more is reminded again."""
    session, user = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, user)
    await stage.gateway.enroll(session, user)
    await stage.gateway.unenroll(session, user)
    again = await stage.gateway.enroll(session, user)
    # The third generation, if the cancelled run had not ended by then: it takes the second along.
    assert {r.generation for r in again.reminders} in ({2}, {3})
    assert all(r.status.is_pending for r in again.reminders)


async def test_what_the_platform_has_not_is_not_there(stage: Stage, host: Host) -> None:
    """An enrollment that is not committed, or a stranger, is said to be missing; nothing is left."""
    session, user = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    with pytest.raises(EnrollmentNotFoundError, match="is not enrolled in session"):
        await stage.gateway.enroll(session, user)
    with pytest.raises(UserNotFoundError):
        await stage.gateway.enroll(session, session)
    with pytest.raises(EnrollmentNotFoundError):
        await stage.gateway.unenroll(session, user)
    other = await host.person("ben")
    await host.enrolls(session, other)
    people = [Enrollee(user_id=user_id) for user_id in (user, session, other)]
    answers = await stage.gateway.enroll_many(session, people)
    assert ["EnrollmentNotFoundError", "UserNotFoundError", "Enrolled"] == [
        type(answer).__name__ for answer in answers
    ]
    draft = await host.session(stage.clock.now() + HOUR, state="draft")
    assert 0 == (await stage.sweep()).processed
    assert {} == await stage.catalogue.counts(draft)


async def test_the_platform_s_rows_are_its_own_to_write(
    stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing a session or a person is refused with 409, and the remedy."""
    start = stage.clock.now() + HOUR
    with pytest.raises(PlatformOwnedError):
        await stage.gateway.put_session(Session(id=UUID(int=1), title="T", starts_at=start))
    with pytest.raises(PlatformOwnedError):
        await stage.catalogue.put_user(Attendee(user_id=UUID(int=1), email="a@b.example"))
    async with serving(settings) as api:
        for path, body in (
            (f"/v1/sessions/{UUID(int=1)}", {"title": "T", "start_time": start.isoformat()}),
            (f"/v1/users/{UUID(int=1)}", {"email": "a@b.example"}),
        ):
            refused = await api.put(path, json=body)
            assert 409 == refused.status_code
            assert "POST /v1/sessions/{session_id}/changed" in refused.json()["detail"]


async def test_a_hard_bounce_stops_a_person(stage: Stage, host: Host) -> None:
    """The provider's webhook ends their reminders, without a lock on the platform's row."""
    session, user = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, user)
    await stage.gateway.enroll(session, user)
    await stage.forward(90 * MINUTE, handle_of(stage, session, user))
    (mail,) = await stage.provider.accepted()
    async with host.untouched():
        assert await ProviderEvents(stage.database).record(a_bounce(stage, mail))
    assert {"bounced", "skipped: address_bounced"} == await statuses(stage, session, user)


async def test_a_person_is_erased_with_us(stage: Stage, host: Host) -> None:
    """What waits is called off and nothing is planned again; the platform's rows stay as they are."""
    session, user = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, user)
    await stage.gateway.enroll(session, user)
    store = ErasureStore(stage.database, stage.clock)
    choices = PreferenceStore(stage.database, stage.clock)
    async with host.untouched():
        await choices.change(
            user, lambda _before: frozenset({OptOut(reminder_type="2h")}), by=By("a")
        )
        erased = await store.erase(user, by=By("cli"))
        assert (True, 2, (session,)) == (erased.is_first, erased.cancelled, erased.sessions)
        assert not (await store.erase(user, by=By("cli"))).is_first
        with pytest.raises(UserNotFoundError):
            await stage.gateway.enroll(session, user)
        assert 0 == (await stage.sweep()).processed
    with pytest.raises(UserNotFoundError):
        await store.erase(session, by=By("cli"))


async def test_the_role_may_only_read(stage: Stage, database: Database) -> None:
    """It can neither write to a view nor see what is behind it."""
    for statement in (
        "UPDATE reminders_host.sessions SET title = 'x'",
        "SELECT encrypted_password FROM auth.users",
        "DELETE FROM public.session_enrollments",
    ):
        with pytest.raises(Exception, match="permission denied"):
            async with database.transaction() as connection:
                await connection.execute(text(statement))


@pytest.mark.parametrize("template", [BARE])
async def test_everything_that_is_missing_is_named(host: Host, database: Database) -> None:
    """Relation, column, type and privilege each with the remedy; and nothing was done."""
    await host.run(
        "CREATE SCHEMA reminders_host",
        f"GRANT USAGE ON SCHEMA reminders_host TO {ROLE}",
        "CREATE VIEW reminders_host.sessions AS SELECT id, scheduled_at::timestamp AS start_time"
        "  FROM public.sessions",
        "CREATE VIEW reminders_host.users AS SELECT id::text, email FROM auth.users",
        f"GRANT SELECT ON reminders_host.users TO {ROLE}",
    )
    with pytest.raises(ConfigurationError) as refused:
        await migrate.upgrade(database)
    for expected in (
        "there is no reminders_host.enrollments; create a view",
        'GRANT SELECT ON reminders_host.sessions TO "session_reminders"',
        "reminders_host.sessions has no column title (text)",
        "sessions.start_time is timestamp without time zone, needed is timestamp with time zone",
        "write in your view, for example: start_time AT TIME ZONE 'UTC' AS start_time",
        "reminders_host.users.id is text, needed is uuid",
    ):
        assert expected in str(refused.value)
    assert await migrate.current(database) is None


async def test_the_schema_must_be_there_or_be_allowed(host: Host, database: Database) -> None:
    """Without a schema and without the right to make one, the administrator's statement is told."""
    await host.run("DROP SCHEMA session_reminders CASCADE")
    with pytest.raises(ConfigurationError, match="CREATE SCHEMA session_reminders AUTHORIZATION"):
        await migrate.upgrade(database)


async def test_upgrading_again_takes_new_columns_over(
    stage: Stage, host: Host, database: Database
) -> None:
    """A view that has learned a column is read with it after the next `db upgrade`."""
    session = await host.session(stage.clock.now() + 25 * HOUR)
    assert (await stage.catalogue.session(session)).location is None
    await host.run(
        "CREATE OR REPLACE VIEW reminders_host.sessions AS SELECT id, title,"
        " scheduled_at AS start_time, NULL::timestamptz AS end_time, timezone AS time_zone,"
        " speaker AS speaker_name, meeting_url AS join_url, 'scheduled'::text AS status,"
        " 'Room 1' AS location FROM public.sessions"
    )
    await migrate.upgrade(database)
    assert "Room 1" == (await stage.catalogue.session(session)).location


async def test_links_of_their_own_are_the_platforms(
    stage: Stage, host: Host, database: Database
) -> None:
    """A column of its view, which may be there or not; a call that brings one is refused."""
    session, ana = await host.session(stage.clock.now() + 25 * HOUR), await host.person("ana")
    await host.enrolls(session, ana)
    (refused,) = await stage.gateway.enroll_many(
        session, [Enrollee(user_id=ana, join_url="https://join.hospital.example/1")]
    )
    assert isinstance(refused, InvalidInputError)
    assert "join_url" == refused.field
    assert not await stage.catalogue.has_own_link(session, ana)
    await host.run(
        "CREATE OR REPLACE VIEW reminders_host.enrollments AS SELECT id, session_id, user_id,"
        " 'confirmed'::text AS status, created_at,"
        " ' https://join.hospital.example/2 '::text AS join_url"
        " FROM public.session_enrollments"
    )
    await migrate.upgrade(database)
    assert await stage.catalogue.has_own_link(session, ana)
    entry = await calendar_entry(database, session, ana)
    assert entry is not None
    assert "https://join.hospital.example/2" == entry.session.join_url


async def test_migrations_go_down_and_up_again(host: Host, database: Database) -> None:
    """Whatever is ours goes and comes back, views included; the platform's relations stay."""
    async with host.untouched():
        await migrate.downgrade(database, "base")
        await migrate.upgrade(database)
    assert migrate.head() == await migrate.current(database)


async def test_it_can_be_taken_out_again(host: Host) -> None:
    """The guide's last statements leave the platform as it was; the role goes with the last test."""
    async with host.untouched():
        await host.run(*statements(GUIDE, "Removing it")[:-1])


@pytest.mark.parametrize(
    "start", ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC", "9999-12-31 23:59:59"]
)
async def test_a_start_that_no_calendar_holds_stops_nobody_else(
    host: Host, stage: Stage, start: str
) -> None:
    """A session put off without a date is as one without a start: named, and the others go out."""
    at = (stage.clock.now() + timedelta(minutes=31)).replace(microsecond=0)
    odd, held = await host.session(at), await host.session(at)
    person = await host.person("ana")
    handles = []
    for session in (odd, held):
        await host.enrolls(session, person)
        await stage.gateway.enroll(session, person)
        handles.append(handle_of(stage, session, person))
    await host.run(f"UPDATE public.sessions SET scheduled_at = '{start}' WHERE id = :id", id=odd)
    await stage.forward(2 * MINUTE, *handles)
    for handle in handles:
        await handle.result()
    assert "sent" in await statuses(stage, held, person)
    assert "cancelled: session_deleted" in await statuses(stage, odd, person)
    swept = await stage.sweep()
    assert (swept.total_failed, swept.processed) == (0, 0)
    examiner = stage.parts.examiner
    await eventually(lambda: warns(examiner, odd))


async def warns(examiner: Examiner, odd: UUID) -> bool:
    """Whether `doctor` names a session without a usable start."""
    [found] = [check for check in (await examiner.examine()).checks if check.name == "platform"]
    return found.level is Level.WARNING and str(odd) in found.detail
