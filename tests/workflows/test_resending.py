"""An operator has reminders sent once more, or now, on the real server: which, when, how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from temporalio.client import WorkflowFailureError

from reminders.db.audit import Action, AuditLog, By
from reminders.db.resends import ReminderRequests, Requested
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import ReminderNotFoundError, SendRefusedError
from reminders.domain.model import Reminder, ReminderStatus, Session
from reminders.domain.rules import RuleFields
from tests.stage import PATIENCE, Handle, Stage

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def row(stage: Stage, session: Session, reminder_type: str = "24h") -> Reminder:
    """The newest generation of a session's reminder."""
    rows = [r for r in await stage.ledger(session) if r.reminder_type == reminder_type]
    return max(rows, key=lambda r: r.generation)


async def resent(stage: Stage, reminder: Reminder) -> Requested:
    """A reminder that an operator asked for once more."""
    return await stage.resending.resend(reminder.id, By("test", "ticket 4711"))


async def sent_now(stage: Stage, reminder: Reminder) -> Requested:
    """A reminder that an operator does not want to wait for."""
    return await stage.resending.send_now(reminder.id, By("test", "ticket 4711"))


async def reminded(stage: Stage) -> tuple[Session, Handle]:
    """A session whose 24 h reminder went out a minute ago."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.forward(61 * MINUTE, handle)
    assert ReminderStatus.SENT is (await row(stage, session)).status
    return session, handle


async def subjects(stage: Stage) -> int:
    """How many e-mails the provider accepted."""
    return len(await stage.provider.accepted())


async def fail(stage: Stage, session: Session, *types: str, reason: str = "rejected") -> None:
    """The provider refused these, as far as the ledger knows."""
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'failed', status_reason = :why"
                " WHERE session_id = :session AND reminder_type = ANY(:types)"
            ),
            {"why": reason, "session": session.id, "types": list(types)},
        )


async def opt_out(stage: Stage, user_id: UUID) -> None:
    """The person wants no reminders."""
    async with stage.database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO reminder_preferences (user_id, reason) VALUES (:id, 'opted_out')"),
            {"id": user_id},
        )


@asynccontextmanager
async def without_worker(stage: Stage) -> AsyncIterator[None]:
    """Nothing that is due goes out meanwhile."""
    await stage.stop_worker()
    yield
    await stage.start_worker()


async def test_sent_once_more_and_asked_for_twice(stage: Stage) -> None:
    """Its next generation goes out at once, once; the others go out as planned; all is audited."""
    session, handle = await reminded(stage)
    first = await row(stage, session)
    again, repeated = await asyncio.gather(resent(stage, first), resent(stage, first))
    assert {True, False} == {again.is_new, repeated.is_new}
    assert (2, again.reminder.id) == (again.reminder.generation, repeated.reminder.id)
    for asked in (again, repeated):  # whoever asks may have to start a run: the plan has it, once
        assert asked.planned is not None
        assert 1 == [r.id for r in asked.planned.reminders].count(again.reminder.id)
    await stage.forward(MINUTE, handle)
    assert 2 == await subjects(stage)
    assert ReminderStatus.SENT is (await row(stage, session)).status
    assert not (await resent(stage, first)).is_new
    await stage.forward(DAY, handle)
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session)
    assert 4 == await subjects(stage)
    (entry,) = await AuditLog(stage.database).entries(session_id=session.id)
    assert (Action.REMINDER_RESENT, "test", "ticket 4711", again.reminder.id) == (
        entry.action, entry.actor, entry.reason, entry.reminder_id
    )  # fmt: skip


async def test_a_workflow_that_has_ended_is_started_for_it(stage: Stage) -> None:
    """Everything was sent and the workflow is over: what is asked for once more still goes out."""
    session = await stage.session(starts_in=HOUR)
    handle = await stage.enroll(session)
    await stage.forward(31 * MINUTE, handle)
    await handle.result()
    last = await row(stage, session, "30min")
    again = await resent(stage, last)
    assert again.reminder.due_at > last.due_at
    await stage.forward(32 * MINUTE, stage.handle(session, last.user_id))  # its clock is its own
    assert 2 == await subjects(stage)


async def test_it_survives_plans_sweeps_and_moves(stage: Stage) -> None:
    """Waiting for a worker past its own instant, nothing takes it for past due, drifted or lost."""
    session, handle = await reminded(stage)
    async with without_worker(stage):
        again = await stage.requests.resend((await row(stage, session)).id, by=By("t", "r"))
        for _ in range(2):
            planned = await stage.planner.replan(session.id, again.reminder.user_id)
            assert not planned.is_changed
        moved = replace(session, starts_at=session.starts_at - 10 * MINUTE)
        await stage.catalogue.put_session(moved)
        await stage.planner.reconcile(session.id, again.reminder.user_id)
        waits = await row(stage, session)
        assert (2, ReminderStatus.SCHEDULED, again.reminder.due_at, moved.starts_at) == (
            waits.generation, waits.status, waits.due_at, waits.starts_at
        )  # fmt: skip
    result = await stage.sweep()
    assert 0 == result.results[SweepKind.DRIFTED].found
    assert 0 == result.results[SweepKind.LOST].found
    await stage.gateway.session_changed(session.id, wait=PATIENCE)  # what the call did not live to
    await stage.forward(2 * MINUTE, handle)
    assert 2 == await subjects(stage)
    result = await stage.sweep()
    assert 0 == result.processed
    await stage.gateway.put_session(
        replace(moved, starts_at=moved.starts_at + 7 * DAY), wait=PATIENCE
    )
    later = await row(stage, session)
    assert (3, moved.starts_at + 6 * DAY) == (later.generation, later.due_at)


async def test_moved_far_while_it_waits_it_is_an_ordinary_reminder_again(stage: Stage) -> None:
    """Its new instant lies ahead: it goes out then, and not twice."""
    session, handle = await reminded(stage)
    async with without_worker(stage):
        await stage.requests.resend((await row(stage, session)).id, by=By("t", "r"))
        moved = replace(session, starts_at=session.starts_at + 7 * DAY)
        await stage.catalogue.put_session(moved)
        await stage.planner.replan(session.id, (await row(stage, session)).user_id)
        assert moved.starts_at - DAY == (await row(stage, session)).due_at
    await stage.gateway.session_changed(session.id, wait=PATIENCE)
    await stage.forward(HOUR, handle)
    assert 1 == await subjects(stage)
    await stage.forward(7 * DAY, handle)
    assert 2 == await subjects(stage)
    assert 0 == (await stage.sweep()).processed


async def test_two_that_were_asked_for_do_not_supersede_each_other(stage: Stage) -> None:
    """Asked for one after the other while no worker runs, both go out."""
    session = await stage.session(starts_in=HOUR)
    handle = await stage.enroll(session)
    await fail(stage, session, "24h", "2h")
    async with without_worker(stage):
        for reminder_type in ("24h", "2h"):
            reminder = await row(stage, session, reminder_type)
            await stage.requests.resend(reminder.id, by=By("t", "r"))
    await stage.gateway.session_changed(session.id, wait=PATIENCE)
    await stage.forward(31 * MINUTE, handle)
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session)
    assert 3 == await subjects(stage)


async def test_before_its_instant_it_is_due_then(stage: Stage) -> None:
    """Asked for while its own instant still lies ahead, it goes out at that instant."""
    session = await stage.session(starts_in=30 * HOUR)
    handle = await stage.enroll(session)
    await fail(stage, session, "24h")
    again = await resent(stage, await row(stage, session))
    assert (session.starts_at - DAY, None) == (again.reminder.due_at, again.reminder.requested_at)
    await stage.forward(5 * HOUR, handle)
    assert 0 == await subjects(stage)
    await stage.forward(61 * MINUTE, handle)
    assert 1 == await subjects(stage)


async def test_what_waits_is_sent_now_and_once(stage: Stage) -> None:
    """A day before its instant, asked for twice at once; the others go out as planned; audited."""
    session = await stage.session(starts_in=50 * HOUR)
    handle = await stage.enroll(session)
    waits = await row(stage, session)
    first, repeated = await asyncio.gather(sent_now(stage, waits), sent_now(stage, waits))
    assert {True, False} == {first.is_new, repeated.is_new}
    await stage.forward(MINUTE, handle)
    assert 1 == await subjects(stage)
    sent = await row(stage, session)
    assert (waits.id, ReminderStatus.SENT) == (sent.id, sent.status)
    assert sent.due_at < waits.due_at
    assert not (await sent_now(stage, waits)).is_new
    assert 0 == (await stage.sweep()).processed
    await stage.forward(2 * DAY + 105 * MINUTE, handle)
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session)
    assert 3 == await subjects(stage)
    (entry,) = await AuditLog(stage.database).entries(session_id=session.id)
    assert (Action.REMINDER_SENT_NOW, "test", "ticket 4711", waits.id) == (
        entry.action, entry.actor, entry.reason, entry.reminder_id
    )  # fmt: skip


async def test_sent_now_without_a_worker_it_survives_plans_and_sweeps(stage: Stage) -> None:
    """Until somebody can send it nothing puts it off; only a move of its session does."""
    session = await stage.session(starts_in=50 * HOUR)
    handle = await stage.enroll(session)
    async with without_worker(stage):
        asked = await stage.requests.send_now((await row(stage, session)).id, by=By("t", "r"))
        planned = await stage.planner.replan(session.id, asked.reminder.user_id)
        assert not planned.is_changed
    result = await stage.sweep()
    assert 0 == result.results[SweepKind.DRIFTED].found
    await stage.gateway.session_changed(session.id, wait=PATIENCE)  # what the call did not live to
    await stage.forward(MINUTE, handle)
    assert 1 == await subjects(stage)
    other = await stage.session(starts_in=50 * HOUR)
    await stage.enroll(other)
    async with without_worker(stage):
        await stage.requests.send_now((await row(stage, other)).id, by=By("t", "r"))
        moved = replace(other, starts_at=other.starts_at + DAY)
        await stage.catalogue.put_session(moved)
        await stage.planner.replan(other.id, (await row(stage, other)).user_id)
        later = await row(stage, other)
        assert (moved.starts_at - DAY, None) == (later.due_at, later.requested_at)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("ended", "ended"),
        ("cancelled", "ended"),
        ("started", "session_started"),
        ("opted out", "stopped"),
    ],
)
async def test_what_may_not_be_sent_now_is_refused(stage: Stage, state: str, why: str) -> None:
    """Each refusal says what to do, and nothing is written or sent."""
    session = await stage.session(starts_in=25 * HOUR)
    await stage.enroll(session)
    reminder = await row(stage, session)
    if state == "ended":
        await fail(stage, session, "24h")
    elif state == "cancelled":
        await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    elif state == "started":
        stage.clock.set(session.starts_at + MINUTE)
    elif state == "opted out":
        await opt_out(stage, reminder.user_id)
    before = await stage.ledger(session)
    with pytest.raises(SendRefusedError) as refused:
        await sent_now(stage, reminder)
    assert why == refused.value.why
    assert before == await stage.ledger(session)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("waits", "still_waits"),
        ("cancelled", "session_cancelled"),
        ("started", "session_started"),
        ("unenrolled", "not_enrolled"),
        ("cancelled by hand", "called_off"),
        ("opted out", "stopped"),
        ("switched off", "rule_off"),
        ("in flight", "in_flight"),
    ],
)
async def test_what_may_not_be_sent_once_more_is_refused(
    stage: Stage, state: str, why: str
) -> None:
    """Each refusal says what to do, and nothing is written or sent."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    reminder = await row(stage, session)
    if state != "waits":
        await fail(stage, session, "24h")
    if state == "in flight":
        async with stage.database.transaction() as connection:
            await connection.execute(
                text("UPDATE session_reminder_emails SET email_status = 'sending' WHERE id = :id"),
                {"id": reminder.id},
            )
    elif state == "opted out":
        await opt_out(stage, reminder.user_id)
    elif state == "cancelled":
        await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    elif state == "started":
        stage.clock.set(session.starts_at + MINUTE)
    elif state == "unenrolled":
        await stage.gateway.unenroll(session.id, reminder.user_id)
    elif state == "cancelled by hand":
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    elif state == "switched off":
        await stage.rules.change(
            "24h", None, RuleFields(is_enabled=False), by=By("test"), wait=PATIENCE
        )
    before = await stage.ledger(session)
    with pytest.raises(SendRefusedError) as refused:
        await resent(stage, reminder)
    assert why == refused.value.why
    assert before == await stage.ledger(session)


async def test_a_reminder_that_is_none(stage: Stage) -> None:
    """An id that the ledger does not know is an error of its own."""
    with pytest.raises(ReminderNotFoundError):
        await stage.resending.resend(UUID(int=7), By("test", "r"))


async def test_what_failed_is_redriven_once_a_person(stage: Stage) -> None:
    """Of two that failed the later goes out; in doubt and begun ones do not; twice changes nothing."""
    soon = await stage.session(starts_in=HOUR)
    one, doubtful = await stage.enroll(soon), await stage.session(starts_in=HOUR)
    await stage.enroll(doubtful)
    await fail(stage, soon, "24h", "2h")
    await fail(stage, doubtful, "2h", reason="outcome_unknown")
    counted = await stage.resending.redrive(By("test", "r"), dry_run=True)
    done = await stage.resending.redrive(By("test", "r"))
    assert (1, 3) == (done.resent, done.found)
    assert {"outcome_unknown": 1, "superseded": 1} == done.left_alone
    assert counted == done
    assert 0 == (await stage.resending.redrive(By("test", "r"))).resent
    await stage.forward(MINUTE, one)
    assert 1 == await subjects(stage)
    sent = await row(stage, soon, "2h")
    assert (2, ReminderStatus.SENT) == (sent.generation, sent.status)
    await fail(stage, soon, "30min")
    stage.clock.set(max(soon.starts_at, doubtful.starts_at))
    assert 0 == (await stage.resending.redrive(By("test", "r"))).found


async def test_what_is_refused_for_its_own_reason_hides_no_other(stage: Stage) -> None:
    """The rule of the later one is off by now: the earlier one goes out after all."""
    session = await stage.session(starts_in=HOUR)
    handle = await stage.enroll(session)
    await fail(stage, session, "24h", "2h")
    await stage.rules.change("2h", None, RuleFields(is_enabled=False), by=By("test"))
    done = await stage.resending.redrive(By("test", "r"))
    assert (1, {"rule_off": 1}) == (done.resent, done.left_alone)
    await stage.forward(MINUTE, handle)
    assert 1 == await subjects(stage)


async def test_one_that_cannot_be_read_holds_no_other_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with it, it is counted; its neighbours go out."""
    session = await stage.session(starts_in=HOUR)
    for _ in range(3):
        await stage.enroll(session)
    await fail(stage, session, "2h")
    resend, odd = ReminderRequests.resend, (await row(stage, session, "2h")).id

    async def unless_odd(self: ReminderRequests, reminder_id: UUID, **how: Any) -> Requested:
        if reminder_id == odd:
            raise ZeroDivisionError
        return await resend(self, reminder_id, **how)

    monkeypatch.setattr(ReminderRequests, "resend", unless_odd)
    done = await stage.resending.redrive(By("test", "r"))
    assert (2, {"unreadable": 1}) == (done.resent, done.left_alone)


async def test_pages_of_a_redrive_follow_each_other(stage: Stage) -> None:
    """Every failed reminder of the session is on exactly one page."""
    session = await stage.session(starts_in=HOUR)
    for _ in range(3):
        await stage.enroll(session)
    other = await stage.session(starts_in=HOUR)
    await stage.enroll(other)
    await fail(stage, session, "2h")
    await fail(stage, other, "2h")
    seen, cursor = 0, None
    while True:
        page = await stage.resending.redrive(
            By("test", "r"), session_id=session.id, cursor=cursor, limit=2
        )
        seen += page.resent
        if (cursor := page.next_cursor) is None:
            break
    assert 3 == seen
    assert ReminderStatus.FAILED is (await row(stage, other, "2h")).status


async def test_a_redrive_begins_with_whoever_starts_next(stage: Stage) -> None:
    """Whatever their ids: the first page may be all that there is time for."""
    sessions = {hours: await stage.session(starts_in=hours * HOUR) for hours in (4, 2, 5, 3)}
    for session in sessions.values():
        await stage.enroll(session)
        await fail(stage, session, "30min")
    order, cursor = [], None
    while True:
        page = await stage.resending.redrive(By("test", "r"), cursor=cursor, limit=1)
        newest = {hours: await row(stage, one, "30min") for hours, one in sessions.items()}
        order += [hours for hours, r in newest.items() if r.generation == 2 and hours not in order]
        if (cursor := page.next_cursor) is None:
            break
    assert [2, 3, 4, 5] == order
