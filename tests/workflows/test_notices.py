"""People are told of what changes: the e-mails counted and read, on the real servers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from reminders.db.audit import By
from reminders.domain.model import EnrollmentStatus, Notice, OptOut, Session, SessionStatus
from reminders.domain.rules import RuleFields
from tests.provider import Json
from tests.stage import Handle, Stage, eventually, is_running

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
LISBON = ZoneInfo("Europe/Lisbon")
PATIENCE = timedelta(seconds=60)
ME = By("cli", "a test")


@pytest.fixture(autouse=True)
async def notices(stage: Stage) -> None:
    """Cancelled and moved are on, as in a new installation."""
    for kind in (Notice.CANCELLED, Notice.MOVED):
        await switch(stage, kind)


async def switch(stage: Stage, kind: Notice, *, on: bool = True) -> None:
    """Switch the rule of a notice."""
    await stage.rules.change(kind, None, RuleFields(is_enabled=on), by=ME)


async def mails(stage: Stage, at_least: int = 0) -> list[Json]:
    """What was accepted, once it is as many."""

    async def enough() -> bool:
        return len(await stage.provider.accepted()) >= at_least

    await eventually(enough)
    return await stage.provider.accepted(bodies=True)


async def move(stage: Stage, session: Session, by: timedelta, *, quietly: bool = False) -> Session:
    """The session starts so much later, and everybody is planned anew."""
    moved = replace(session, starts_at=session.starts_at + by)
    _, receipt = await stage.gateway.put_session(moved, tell_nobody=quietly, wait=PATIENCE)
    assert receipt.is_done
    return moved


async def ended(stage: Stage, handle: Handle) -> WorkflowExecutionStatus | None:
    """How a run ended."""

    async def has() -> bool:
        return not await is_running(handle)

    await eventually(has)
    return (await handle.describe()).status


async def test_a_cancelled_session_tells_who_takes_part(stage: Stage) -> None:
    """At once, in their own zone and the session's; who is not to be told has a row that says why."""
    session = await stage.session(
        starts_in=2 * DAY, time_zone="Europe/Lisbon", title="Grand rounds"
    )
    ana = await stage.attendee(time_zone="Asia/Tokyo")
    handle = await stage.enroll(session, ana)
    stopped, pending, left = [await stage.attendee() for _ in range(3)]
    for user in (stopped, left):
        await stage.enroll(session, user)
    await stage.gateway.enroll(session.id, pending, status=EnrollmentStatus.PENDING)
    await stage.parts.preferences.put(stopped, [OptOut()], by=ME)
    await stage.gateway.unenroll(session.id, left)

    expected = await stage.gateway.cancel_session(session.id, dry_run=True)
    assert 1 == expected.reminders.told
    receipt = await stage.gateway.cancel_session(session.id, ME, wait=PATIENCE)
    assert (3, 3, 1) == (receipt.enrollments, receipt.replanned, receipt.reminders.told)
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("Cancelled: Grand rounds on ")
    assert "Tokyo" in mail["text"]
    assert "Lisbon" in mail["text"]
    assert WorkflowExecutionStatus.COMPLETED is await ended(stage, handle)
    assert "sent" == (await stage.statuses(session, ana))["cancelled"]
    assert "cancelled: session_cancelled" == (await stage.statuses(session, ana))["24h"]
    assert "skipped: opted_out" == (await stage.statuses(session, stopped))["cancelled"]
    assert "skipped: unconfirmed" == (await stage.statuses(session, pending))["cancelled"]
    assert "cancelled" not in await stage.statuses(session, left)

    again = await stage.gateway.cancel_session(session.id, ME, wait=PATIENCE)
    assert again.is_done
    assert 1 == len(await mails(stage))


async def test_who_enrolled_while_no_reminder_was_on_is_told(stage: Stage) -> None:
    """Nothing waits for them until something changes: then a run starts for its notice."""
    for kind in ("24h", "2h", "30min"):
        await stage.rules.change(kind, None, RuleFields(is_enabled=False), by=ME)
    session, ana = await stage.session(starts_in=2 * DAY), await stage.attendee()
    await stage.enroll(session, ana)
    assert {"moved": "skipped: taken_back"} == await stage.statuses(session, ana)
    receipt = await stage.gateway.cancel_session(session.id, ME, wait=PATIENCE)
    assert 1 == receipt.reminders.told
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("Cancelled: ")


async def test_a_moved_session_is_told_once_for_a_burst(stage: Stage) -> None:
    """Moved twice within a minute: one e-mail, from the first time to the last, both in both zones."""
    session = await stage.session(starts_in=3 * DAY, time_zone="Europe/Lisbon")
    handle = await stage.enroll(session, await stage.attendee(time_zone="Asia/Tokyo"))
    between = await move(stage, session, 3 * DAY)
    await stage.forward(MINUTE, handle)
    last = await move(stage, between, 3 * DAY)
    await stage.forward(MINUTE, handle)
    assert [] == await mails(stage)
    await stage.forward(2 * MINUTE, handle)
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("New time for Cardiology update: ")
    assert 2 == mail["text"].count("Tokyo")
    assert 2 == mail["text"].count("Lisbon")
    days = [f"{s.starts_at.astimezone(LISBON):%-d %B}" for s in (session, between, last)]
    assert [True, False, True] == [day in mail["text"] for day in days]
    await stage.forward(9 * DAY, handle)
    assert 4 == len(await mails(stage, 4))


async def test_a_move_that_is_taken_back_tells_nobody(stage: Stage) -> None:
    """And the reminders are as they were."""
    session, user = await stage.session(starts_in=3 * DAY), await stage.attendee()
    handle = await stage.enroll(session, user)
    await move(stage, await move(stage, session, HOUR), -HOUR)
    await stage.forward(HOUR, handle)
    assert [] == await mails(stage)
    assert "skipped: taken_back" == (await stage.statuses(session, user))["moved"]
    await stage.forward(3 * DAY, handle)
    assert 3 == len(await mails(stage, 3))


@pytest.mark.parametrize("by", [5 * MINUTE, -2 * DAY], ids=["by five minutes", "to today"])
async def test_every_move_is_told(stage: Stage, by: timedelta) -> None:
    """Also one by five minutes; also one after which nothing else is due: they have nothing else."""
    session, user = await stage.session(starts_in=2 * DAY + 20 * MINUTE), await stage.attendee()
    handle = await stage.enroll(session, user)
    await move(stage, session, by)
    await stage.forward(10 * MINUTE, handle)
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("New time")


async def test_a_person_whose_run_has_ended_is_told(stage: Stage) -> None:
    """All reminders are out; another run tells what is new."""
    session, user = await stage.session(starts_in=25 * MINUTE), await stage.attendee()
    handle = await stage.enroll(session, user)
    await ended(stage, handle)
    await move(stage, session, 3 * MINUTE)
    await stage.forward(10 * MINUTE, stage.handle(session, user))
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("New time")


async def test_a_restored_session_tells_who_was_told_of_the_cancel(stage: Stage) -> None:
    """And nobody else: who was not told that it was cancelled has nothing to unlearn."""
    session = await stage.session(starts_in=3 * DAY)
    told, quiet = await stage.attendee(), await stage.attendee()
    await stage.enroll(session, told)
    await stage.enroll(session, quiet)
    await stage.parts.preferences.put(quiet, [OptOut(reminder_type="cancelled")], by=ME)
    await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    await mails(stage, 1)
    foreseen = await stage.gateway.restore_session(session.id, dry_run=True)
    assert (2, 2, 1) == (foreseen.enrollments, foreseen.replanned, foreseen.reminders.told)
    assert SessionStatus.CANCELLED is (await stage.parts.catalogue.session(session.id)).status
    assert "cancelled: session_cancelled" == (await stage.statuses(session, told))["24h"]
    restored = await stage.gateway.restore_session(session.id, wait=PATIENCE)
    assert 1 == restored.reminders.told
    for user in (told, quiet):
        await stage.forward(5 * MINUTE, stage.handle(session, user))
    cancelled, after_all = await mails(stage, 2)
    assert cancelled["to"] == after_all["to"]
    assert after_all["subject"].startswith("Going ahead after all: Cardiology update")
    assert "moved" not in await stage.statuses(session, quiet)
    assert "scheduled" == (await stage.statuses(session, told))["24h"]


@pytest.mark.parametrize("verb", ["cancel", "move"])
async def test_tell_nobody(stage: Stage, verb: str) -> None:
    """Counted beforehand, not told, and in the audit log; the ledger says why."""
    session, user = await stage.session(starts_in=3 * DAY), await stage.attendee()
    handle = await stage.enroll(session, user)
    expected = await stage.gateway.notices.expected(session.id)
    assert {Notice.CANCELLED: 1, Notice.MOVED: 1} == expected
    if verb == "cancel":
        receipt = await stage.gateway.cancel_session(
            session.id, ME, tell_nobody=True, wait=PATIENCE
        )
        assert 0 == receipt.reminders.told
        assert WorkflowExecutionStatus.CANCELED is await ended(stage, handle)
    else:
        await move(stage, session, DAY, quietly=True)
        await stage.gateway.session_changed(session.id, wait=PATIENCE)
        await stage.forward(HOUR, handle)
    assert [] == await mails(stage)
    kind = {"cancel": "cancelled", "move": "moved"}[verb]
    assert "skipped: untold" == (await stage.statuses(session, user))[kind]
    entries = await stage.parts.audit.entries(session_id=session.id)
    assert any(e.details.get("tell_nobody") is True for e in entries)


async def test_who_was_cancelled_by_hand_is_told_nothing(stage: Stage) -> None:
    """In Temporal's own words: that person's reminders are over, notices included."""
    session, user = await stage.session(starts_in=3 * DAY), await stage.attendee()
    handle = await stage.enroll(session, user)
    moved = await move(stage, session, DAY)
    await handle.cancel()
    assert WorkflowExecutionStatus.CANCELED is await ended(stage, handle)
    await stage.gateway.cancel_session(moved.id, wait=PATIENCE)
    assert [] == await mails(stage)
    assert "cancelled: workflow_cancelled" == (await stage.statuses(session, user))["moved"]


async def test_who_is_promoted_from_the_waiting_list_is_told(stage: Stage) -> None:
    """Where the rule is on; it is off in a new installation."""
    session, (ana, ben) = (
        await stage.session(starts_in=3 * DAY),
        [await stage.attendee() for _ in range(2)],
    )
    await stage.enroll(session, ana)
    await switch(stage, Notice.CONFIRMED)
    await stage.gateway.enroll(session.id, ben, status=EnrollmentStatus.PENDING)
    assert [] == await mails(stage)
    await stage.enroll(session, ben)
    await stage.enroll(session, ben)
    (mail,) = await mails(stage, 1)
    assert mail["subject"].startswith("Confirmed: Cardiology update")
    assert "confirmed" not in await stage.statuses(session, ana)


async def test_a_notice_costs_what_a_reminder_costs_at_most(stage: Stage) -> None:
    """A cancelled session: the update, and one activity; no timer, and no run more."""
    session = await stage.session(starts_in=3 * DAY)
    handle = await stage.enroll(session, await stage.attendee())
    await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    await ended(stage, handle)
    kinds = Counter(e.event_type for e in (await handle.fetch_history()).events)
    assert 1 == kinds[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED]
    assert 1 == kinds[EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED]
    assert 1 == kinds[EventType.EVENT_TYPE_TIMER_STARTED]  # of the 24 h reminder


async def test_everybody_who_was_counted_is_told(stage: Stage) -> None:
    """What an operator sees beforehand is what happens; in four languages."""
    session = await stage.session(starts_in=3 * DAY)
    people: dict[UUID, str] = {}
    for locale in ("en", "de", "es", "fr"):
        user = await stage.attendee(locale=locale)
        people[user] = locale
        await stage.enroll(session, user)
    expected = await stage.gateway.notices.expected(session.id)
    await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    subjects = {m["subject"].partition(":")[0].strip() for m in await mails(stage, 4)}
    assert {"Cancelled", "Abgesagt", "Cancelada", "Annulée"} == subjects
    assert len(people) == expected[Notice.CANCELLED]
