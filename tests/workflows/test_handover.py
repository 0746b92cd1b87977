"""How plans meet runs: whatever is broken off or overtaken, the newest wish is what holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from temporalio.client import WorkflowExecutionStatus

from reminders.db.audit import By
from reminders.db.preference_store import PreferenceStore
from reminders.db.tables import ReminderConfigurationRow, ReminderRow, UnconfirmedPlanRow
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import (
    NotFoundError,
    TemporalUnavailableError,
)
from reminders.domain.model import EnrollmentStatus, OptOut, ReminderStatus, Session
from starter.plugin import Delivery
from starter.services import enrollments
from starter.services.enrollments import Answer, EnrollmentWorkflows
from starter.services.people import Preferences
from tests.stage import Stage, eventually, has_timer, is_running
from tests.workflows.held import LateCloser, worker_for
from tests.workflows.stepping import broken_off, overtaken

pytestmark = pytest.mark.proof

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
MOST_WAITS = 400
"""More often no call waits."""

Verb = Callable[[Stage, Session, UUID], Coroutine[Any, Any, Any]]


async def enroll(stage: Stage, session: Session, user: UUID) -> None:
    """The platform enrolls a person."""
    await stage.gateway.enroll(session.id, user)


async def unenroll(stage: Stage, session: Session, user: UUID) -> None:
    """The platform unenrolls them."""
    await stage.gateway.unenroll(session.id, user)


async def replan(stage: Stage, session: Session, user: UUID) -> None:
    """A pass over the session plans them anew."""
    await stage.handover.hand_over(await stage.planner.replan(session.id, user))


async def opt_out(stage: Stage, session: Session, user: UUID) -> None:
    """They want no reminders of the session any more."""
    store = PreferenceStore(stage.database, stage.clock)
    preferences = Preferences(
        store=store, catalogue=stage.catalogue, planner=stage.planner, handover=stage.handover
    )
    await preferences.put(user, [OptOut(session_id=session.id)], by=By("test"))


async def cancel_by_hand(stage: Stage, session: Session, user: UUID) -> None:
    """An operator cancels the workflow, whose run ends; whoever enrolls them meanwhile begins another."""
    described = await stage.handle(session, user).describe()
    run = stage.client.get_workflow_handle(described.id, run_id=described.run_id)
    await run.cancel()

    async def is_over() -> bool:
        return not await is_running(run)

    await eventually(is_over)


async def test_a_cancel_by_hand_stays_while_the_run_does_not_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives while an update waits in vain: the run is not replaced, and nothing revived."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    handle = await stage.enroll(session, user)
    await eventually(lambda: has_timer(handle))
    await stage.stop_worker()

    async def in_vain(*_: object) -> Answer:
        await handle.cancel()
        return Answer.NONE

    with monkeypatch.context() as patched:
        patched.setattr(EnrollmentWorkflows, "replan", in_vain)
        patched.setattr(enrollments, "UPDATE_TIMEOUT", timedelta(milliseconds=50))
        planned = await stage.planner.reconcile(session.id, user, distrust=True)
        assert not (await stage.handover.hand_over(planned)).is_confirmed
    await stage.start_worker()
    await eventually(lambda: has_ended(stage, session, user))
    assert {"cancelled: workflow_cancelled"} == set((await stage.statuses(session)).values())


async def has_ended(stage: Stage, session: Session, user: UUID) -> bool:
    """Whether no run is left."""
    return not await is_running(stage.handle(session, user))


async def switch_on(stage: Stage, reminder_type: str) -> None:
    """A rule is switched on."""
    rule = update(ReminderConfigurationRow)
    async with stage.database.transaction() as connection:
        await connection.execute(
            rule.where(ReminderConfigurationRow.reminder_type == reminder_type).values(
                is_enabled=True
            )
        )


async def waiting(stage: Stage, session: Session, user: UUID) -> set[tuple[str, int]]:
    """What the ledger waits for: type and generation."""
    rows = await stage.ledger(session, user)
    return {(r.reminder_type, r.generation) for r in rows if r.status.is_pending}


async def agree(stage: Stage, session: Session, user: UUID) -> bool:
    """Whether enrollment, ledger and run say the same."""
    pending = await waiting(stage, session, user)
    try:
        status = await stage.catalogue.enrollment_status(session.id, user)
    except NotFoundError:
        status = None
    if status is not EnrollmentStatus.CONFIRMED and pending:
        return False
    handle = stage.handle(session, user)
    if not await is_running(handle):
        return not pending
    plan = await stage.plan(handle)
    return bool(pending) and pending == {
        (r.reminder_type, r.generation) for r in plan.reminders if r.status.is_pending
    }


async def unconfirmed(stage: Stage) -> int:
    """How many plans no workflow has confirmed."""
    async with stage.database.autocommit() as connection:
        return await connection.scalar(select(func.count(UnconfirmedPlanRow.user_id))) or 0


async def later(stage: Stage) -> None:
    """No call is under way any more."""
    entry = update(UnconfirmedPlanRow)
    async with stage.database.transaction() as connection:
        await connection.execute(
            entry.values(planned_at=UnconfirmedPlanRow.planned_at - 2 * MINUTE)
        )


def without_temporal(patch: pytest.MonkeyPatch) -> None:
    """Temporal goes away as soon as the ledger is written."""

    async def away(*_arguments: Any, **_options: Any) -> None:
        raise TemporalUnavailableError

    for verb in ("latest", "start", "replan", "cancel"):
        patch.setattr(EnrollmentWorkflows, verb, away)


@pytest.mark.parametrize("by", ["repetition", "sweep"])
@pytest.mark.parametrize("verb", [unenroll, opt_out, replan])
async def test_what_temporal_did_not_hear_is_completed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, verb: Verb, by: str
) -> None:
    """The ledger is written and Temporal away: the same call again, or a sweep, completes it."""
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    await enroll(stage, session, user)
    await switch_on(stage, "1h")
    with monkeypatch.context() as patch:
        without_temporal(patch)
        with pytest.raises(TemporalUnavailableError):
            await verb(stage, session, user)
    assert not await agree(stage, session, user)
    if by == "repetition":
        await verb(stage, session, user)
    else:
        await later(stage)
        assert 1 == (await stage.sweep()).results[SweepKind.UNCONFIRMED].repaired
    await eventually(lambda: agree(stage, session, user))
    assert 0 == await unconfirmed(stage)
    await later(stage)
    assert 0 == (await stage.sweep()).processed


async def test_unenrolled_and_enrolled_again_without_temporal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither call reached the run; the second, repeated, gives it the newest plan in time."""
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    await enroll(stage, session, user)
    with monkeypatch.context() as patch:
        without_temporal(patch)
        for verb in (unenroll, enroll):
            with pytest.raises(TemporalUnavailableError):
                await verb(stage, session, user)
    await enroll(stage, session, user)
    assert await agree(stage, session, user)
    await stage.forward(HOUR + MINUTE, stage.handle(session, user))
    assert 1 == len(await stage.provider.accepted())


async def test_a_repeated_call_that_changes_nothing_leaves_no_trace(stage: Stage) -> None:
    """Enrolling, planning anew and choosing once more add nothing to the history of the run."""
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    first = await stage.gateway.enroll(session.id, user)
    await switch_on(stage, "1h")
    await replan(stage, session, user)
    handle = stage.handle(session, user)
    await eventually(lambda: stage.is_at_rest(handle))
    length = (await handle.describe()).history_length
    again = await stage.gateway.enroll(session.id, user)
    await replan(stage, session, user)
    await opt_out(stage, await stage.session(starts_in=9 * HOUR), user)
    assert (first.run_id, False) == (again.run_id, again.created)
    assert length == (await handle.describe()).history_length


@pytest.mark.parametrize("by", ["call", "sweep"])
async def test_cancelled_by_hand_before_a_plan_was_handed_over(stage: Stage, by: str) -> None:
    """A rule's new reminder was planned, and the run cancelled before it knew: none goes out."""
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    await enroll(stage, session, user)
    await switch_on(stage, "1h")
    planned = await stage.planner.replan(session.id, user)
    await cancel_by_hand(stage, session, user)
    if by == "call":
        await stage.handover.hand_over(planned)
    else:
        await later(stage)
        await stage.sweep()
    assert set() == await waiting(stage, session, user)
    described = await stage.handle(session, user).describe()
    assert described.status is WorkflowExecutionStatus.CANCELED
    await enroll(stage, session, user)
    assert {("2h", 2), ("1h", 2), ("30min", 2)} == await waiting(stage, session, user)
    assert await agree(stage, session, user)


async def test_a_late_close_ends_nothing_that_was_planned_anew(stage: Stage) -> None:
    """A reminder is given up, and planned anew before that is recorded: it still goes out."""
    session, user = await stage.session(starts_in=31 * MINUTE), await stage.attendee()
    await enroll(stage, session, user)
    handle = stage.handle(session, user)
    await eventually(lambda: has_timer(handle))
    await stage.stop_worker()
    later_start = session.starts_at + 2 * HOUR
    delivery = Delivery.of(stage.settings, stage.database, stage.clock)
    async with delivery.running():
        closer = LateCloser(delivery.pipeline)
        async with worker_for(stage, closer):
            passing = asyncio.create_task(stage.skipper.fast_forward(handle, 2 * MINUTE))
            await closer.reached.wait()
            await stage.catalogue.put_session(replace(session, starts_at=later_start))
            await replan(stage, session, user)
            closer.go.set()
            await passing
            await eventually(lambda: stage.is_at_rest(handle))
    assert ReminderStatus.SCHEDULED == (await stage.statuses(session, user))["30min"]
    await stage.start_worker()
    await stage.wind_to(later_start - 29 * MINUTE, handle)
    await handle.result()
    assert ReminderStatus.SENT == (await stage.statuses(session, user))["30min"]


@pytest.mark.parametrize("is_patient", [True, False])
async def test_a_run_that_takes_long_to_end_is_waited_for_in_the_background(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_patient: bool
) -> None:
    """A caller is told soon that the sweep goes on; whoever changes a session waits for it."""
    monkeypatch.setattr(enrollments, "UPDATE_TIMEOUT", timedelta(milliseconds=100))
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    await enroll(stage, session, user)
    handle = stage.handle(session, user)
    await eventually(lambda: has_timer(handle))
    await stage.stop_worker()
    delivery = Delivery.of(stage.settings, stage.database, stage.clock)
    async with delivery.running():
        closer = LateCloser(delivery.pipeline)
        async with worker_for(stage, closer):
            await handle.cancel()
            await closer.reached.wait()
            await switch_on(stage, "1h")
            planned = await stage.planner.replan(session.id, user)
            handing = asyncio.create_task(stage.handover.hand_over(planned, is_patient=is_patient))
            await asyncio.wait({handing}, timeout=2 if is_patient else 60)
            assert is_patient is not handing.done()
            closer.go.set()
            assert is_patient is (await handing).is_confirmed


async def test_a_run_that_was_cancelled_takes_no_plan(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is planned while it closes what it knows is not lost with it, nor does it come back."""
    monkeypatch.setattr(enrollments, "UPDATE_TIMEOUT", MINUTE)  # a worker may be slow to start
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    await enroll(stage, session, user)
    await stage.stop_worker()
    await stage.handle(session, user).cancel()
    await switch_on(stage, "1h")
    handing = asyncio.create_task(replan(stage, session, user))
    await asyncio.wait({handing}, timeout=0.5)
    await stage.start_worker()
    await handing
    await eventually(lambda: has_ended(stage, session, user))
    assert set() == await waiting(stage, session, user)


async def test_a_start_that_was_under_way_while_everything_was_called_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever enrolled is gone before looking once more: the sweep finds a run that waits for nobody."""
    session, user = await stage.session(starts_in=3 * HOUR), await stage.attendee()
    start = EnrollmentWorkflows.start

    async def late(self: EnrollmentWorkflows, planned: Any) -> str | None:
        await unenroll(stage, session, user)
        await start(self, planned)
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(EnrollmentWorkflows, "start", late)
        with pytest.raises(asyncio.CancelledError):
            await enroll(stage, session, user)
    assert await is_running(stage.handle(session, user))
    await later(stage)
    assert 1 == (await stage.sweep()).results[SweepKind.UNCONFIRMED].repaired
    await eventually(lambda: has_ended(stage, session, user))
    assert 0 == await unconfirmed(stage)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("by", ["repetition", "sweep"])
@pytest.mark.parametrize(
    ("before", "verb"),
    [((), enroll), ((enroll,), unenroll), ((enroll, unenroll), enroll), ((enroll,), replan)],
    ids=["enroll", "unenroll", "enroll-again", "replan"],
)
async def test_a_call_that_is_broken_off_at_any_moment(
    stage: Stage, before: tuple[Verb, ...], verb: Verb, by: str
) -> None:
    """Its client hangs up at any await: a repetition, or a sweep, sets everything right."""
    # Due within the time that a sweep looks ahead, so that it misses runs that never started.
    session = await stage.session(starts_in=150 * MINUTE)
    users = []
    for n in range(1, MOST_WAITS):
        users.append(await stage.attendee())
        for earlier in before:
            await earlier(stage, session, users[-1])
        if verb is replan and n == 1:
            await switch_on(stage, "1h")
        if not await broken_off(verb(stage, session, users[-1]), at=n):
            break
    assert 10 < len(users) < MOST_WAITS
    if by == "repetition":
        for user in users:
            await verb(stage, session, user)
    else:
        await later(stage)
        await stage.sweep()
    for user in users:
        await eventually(lambda user=user: agree(stage, session, user))  # type: ignore[misc]
    assert [] == await stage.provider.accepted()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("verb", "by"),
    [(enroll, unenroll), (unenroll, enroll), (enroll, cancel_by_hand), (replan, unenroll)],
    ids=lambda verb: verb.__name__,
)
async def test_a_call_that_is_overtaken_at_any_moment(stage: Stage, verb: Verb, by: Verb) -> None:
    """Whichever was the last word: enrollment, ledger and run agree on it."""
    session = await stage.session(starts_in=3 * HOUR)
    n, is_reached = 0, True
    while is_reached:
        n += 1
        user = await stage.attendee()
        await enroll(stage, session, user)
        call = verb(stage, session, user)
        is_reached = await overtaken(call, n, lambda user=user: by(stage, session, user))  # type: ignore[misc]
        await eventually(lambda user=user: agree(stage, session, user))  # type: ignore[misc]
    assert 10 < n < MOST_WAITS


@pytest.mark.timeout(300)
async def test_a_cancel_by_hand_overtakes_a_new_plan_at_any_moment(stage: Stage) -> None:
    """Nothing of the plan is revived, whether the run knew of it or not."""
    session = await stage.session(starts_in=3 * HOUR)
    n, is_reached = 0, True
    while is_reached:
        n += 1
        user = await stage.attendee()
        await enroll(stage, session, user)
        async with stage.database.transaction() as connection:  # a reminder that it does not know
            await connection.execute(
                update(ReminderRow)
                .where(ReminderRow.user_id == user, ReminderRow.reminder_type == "2h")
                .values(email_status=ReminderStatus.SKIPPED, status_reason="rule_disabled")
            )
        call = replan(stage, session, user)
        is_reached = await overtaken(
            call,
            n,
            lambda user=user: cancel_by_hand(stage, session, user),  # type: ignore[misc]
        )
        if is_reached:
            assert set() == await waiting(stage, session, user)
            assert not await is_running(stage.handle(session, user))
    assert 10 < n < MOST_WAITS
