"""The sweep on the real server: it finds what nobody told us, repairs it, and sends nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from activities import sweep
from reminders.db.tables import EnrollmentRow, ReminderConfigurationRow, ReminderRow, SessionRow
from reminders.domain.contracts import SweepKind, SweepResult, SweepTally
from reminders.domain.model import Session, StatusReason
from tests.stage import Handle, Stage, eventually, has_timer

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOTHING = dict.fromkeys(SweepKind, SweepTally())


async def host_writes(stage: Stage, *statements: Any) -> None:
    """The platform writes to its own tables, and tells nobody."""
    async with stage.database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


async def host_enrolls(stage: Stage, session: Session) -> UUID:
    """The platform enrolls a person, and the call to us is lost."""
    user_id = await stage.attendee()
    await host_writes(stage, insert(EnrollmentRow).values(session_id=session.id, user_id=user_id))
    return user_id


async def host_moves(stage: Stage, session: Session, by: timedelta) -> None:
    """The platform moves a session, and tells nobody."""
    moved = update(SessionRow).where(SessionRow.id == session.id)
    await host_writes(stage, moved.values(start_time=session.starts_at + by))


def of(handle: Handle) -> UUID:
    """The user of an enrollment's workflow."""
    return UUID(handle.id.rpartition(":")[2])


async def has_status(handle: Handle, status: WorkflowExecutionStatus) -> bool:
    """Whether Temporal says so by now."""
    return (await handle.describe()).status is status


async def is_listed(stage: Stage, handle: Handle) -> bool:
    """Whether the list of running workflows has caught up with a start."""
    query = f"WorkflowId = '{handle.id}' AND ExecutionStatus = 'Running'"
    return bool([run async for run in stage.client.list_workflows(query)])


def counts(result: SweepResult) -> tuple[int, int, int]:
    """The totals."""
    return result.processed, result.total_reminders, result.total_failed


async def test_a_healthy_system_is_left_alone(stage: Stage) -> None:
    """With nothing to repair every count is zero, and no history grows."""
    handle = await stage.enroll(await stage.session(starts_in=7 * DAY))
    await eventually(lambda: has_timer(handle))
    before = (await handle.describe()).history_length
    result = await stage.sweep()
    assert NOTHING == result.results
    assert (0, 0, 0) == counts(result)
    assert before == (await handle.describe()).history_length


async def test_a_lost_enrollment_is_found_and_reminded(stage: Stage) -> None:
    """The host committed and we never heard: three reminders planned, and each goes out once."""
    session = await stage.session(starts_in=7 * DAY)
    user_id = await host_enrolls(stage, session)
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=3) == result.results[SweepKind.LOST]
    assert (1, 3, 0) == counts(result)
    handle = stage.handle(session, user_id)
    await stage.forward(7 * DAY, handle)
    await handle.result()
    assert ["sent"] * 3 == list((await stage.statuses(session)).values())
    assert 3 == len(await stage.provider.accepted())


async def test_enrollments_that_are_not_confirmed_are_not_lost(stage: Stage) -> None:
    """Pending and cancelled ones, and those of past or cancelled sessions, are no work."""
    session = await stage.session(starts_in=7 * DAY)
    for status in ("pending", "cancelled"):
        user_id = await host_enrolls(stage, session)
        await host_writes(
            stage,
            update(EnrollmentRow).where(EnrollmentRow.user_id == user_id).values(status=status),
        )
    await host_enrolls(stage, await stage.session(starts_in=-DAY))
    assert NOTHING == (await stage.sweep()).results


async def test_a_move_that_nobody_told_reaches_the_sleeper_before_the_old_instant(
    stage: Stage,
) -> None:
    """The sweep plans anew and tells the workflow: the old instants fire nothing."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await host_moves(stage, session, 5 * HOUR)
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=3) == result.results[SweepKind.DRIFTED]
    assert session.starts_at + 5 * HOUR == (await stage.plan(handle)).starts_at
    await stage.forward(2 * HOUR, handle)
    assert [] == await stage.provider.accepted()
    await stage.forward(29 * HOUR, handle)
    await handle.result()
    assert 3 == len(await stage.provider.accepted())


async def test_a_large_session_that_nobody_told_of_moves_as_a_whole(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the workflow of its change, which has no bound as the sweep has."""
    monkeypatch.setattr(sweep, "CROWD", 3)
    session, other = await stage.session(starts_in=7 * DAY), await stage.session(starts_in=8 * DAY)
    handles = [await stage.enroll(session) for _ in range(3)]
    handles.append(await stage.enroll(other))
    for moved in (session, other):
        await host_moves(stage, moved, 5 * HOUR)
    await stage.sweep()
    assert 3 == (await stage.change_of(session).result()).enrollments
    starts = [(await stage.plan(handle)).starts_at for handle in handles]
    assert [s.starts_at + 5 * HOUR for s in (*3 * [session], other)] == starts
    with pytest.raises(RPCError):
        await stage.change_of(other).describe()


async def test_a_move_closer_is_told_in_time(stage: Stage) -> None:
    """A session moved to an earlier start reminds at the new, earlier instants."""
    session = await stage.session(starts_in=7 * DAY)
    handle = await stage.enroll(session)
    await host_moves(stage, session, -5 * DAY)
    await stage.sweep()
    await stage.forward(DAY + MINUTE, handle)
    assert 1 == len(await stage.provider.accepted())


async def test_an_unenrollment_that_nobody_told_cancels_the_workflow(stage: Stage) -> None:
    """Failure 21: the rows are `cancelled: unenrolled`, the run Canceled, only the other is mailed."""
    session = await stage.session(starts_in=25 * HOUR)
    gone, stays = await stage.enroll(session), await stage.enroll(session)
    await host_writes(
        stage,
        update(EnrollmentRow).where(EnrollmentRow.user_id == of(gone)).values(status="cancelled"),
    )
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=3) == result.results[SweepKind.DRIFTED]
    await eventually(lambda: has_status(gone, WorkflowExecutionStatus.CANCELED))
    assert {"cancelled: unenrolled"} == set((await stage.statuses(session, of(gone))).values())
    await stage.forward(26 * HOUR, stays)
    assert 3 == len(await stage.provider.accepted())


async def test_a_deleted_enrollment_is_called_off(stage: Stage) -> None:
    """The host deletes the row: nothing waits any more, and the run ends Canceled."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await host_writes(stage, delete(EnrollmentRow))
    await stage.sweep()
    await eventually(lambda: has_status(handle, WorkflowExecutionStatus.CANCELED))
    assert {"cancelled: unenrolled"} == set((await stage.statuses(session)).values())
    assert NOTHING == (await stage.sweep()).results


async def test_a_session_cancelled_and_restored_by_sql_is_followed(stage: Stage) -> None:
    """Cancelled: everybody is called off. Restored: everybody gets a new generation, once."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await host_writes(stage, update(SessionRow).values(status="cancelled"))
    await stage.sweep()
    assert {"cancelled: session_cancelled"} == set((await stage.statuses(session)).values())
    await eventually(lambda: has_status(handle, WorkflowExecutionStatus.CANCELED))
    await host_writes(stage, update(SessionRow).values(status="scheduled"))
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=3) == result.results[SweepKind.LOST]
    assert NOTHING == (await stage.sweep()).results
    await stage.forward(26 * HOUR, handle)
    assert 3 == len(await stage.provider.accepted())


async def test_a_rule_changed_by_sql_is_followed(stage: Stage) -> None:
    """Failure 5: 24 h becomes 12 h, is switched off, and on again: one e-mail, at 12 h."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    rule = update(ReminderConfigurationRow).where(ReminderConfigurationRow.reminder_type == "24h")
    others = update(ReminderConfigurationRow).where(ReminderConfigurationRow.reminder_type != "24h")
    await host_writes(stage, others.values(is_enabled=False), rule.values(minutes_before=720))
    await stage.sweep()
    await host_writes(stage, rule.values(is_enabled=False))
    await stage.sweep()
    assert "skipped: rule_disabled" == (await stage.statuses(session))["24h"]
    await host_writes(stage, rule.values(is_enabled=True))
    await stage.sweep()
    await stage.forward(13 * HOUR - MINUTE, handle)
    assert [] == await stage.provider.accepted()
    await stage.forward(2 * MINUTE, handle)
    assert 1 == len(await stage.provider.accepted())


async def test_a_terminated_workflow_is_started_again(stage: Stage) -> None:
    """Rows pend, the workflow is gone, the instant is near: it is started, and mails exactly once."""
    session = await stage.session(starts_in=40 * MINUTE)
    handle = await stage.enroll(session)
    await eventually(lambda: is_listed(stage, handle))
    await handle.terminate(reason="by hand")

    async def unlisted() -> bool:
        return not await is_listed(stage, handle)

    await eventually(unlisted)
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=1) == result.results[SweepKind.MISSING]
    assert await has_status(stage.handle(session, of(handle)), WorkflowExecutionStatus.RUNNING)
    await stage.forward(HOUR, stage.handle(session, of(handle)))
    assert 1 == len(await stage.provider.accepted())
    assert "sent" == (await stage.statuses(session))["30min"]


async def test_an_overdue_reminder_without_a_workflow_goes_out_late(stage: Stage) -> None:
    """Its workflow was terminated and its instant passed: one e-mail with the time really left."""
    session = await stage.session(starts_in=40 * MINUTE)
    handle = await stage.enroll(session)
    await handle.terminate()
    stage.clock.set(session.starts_at - 20 * MINUTE)
    result = await stage.sweep()
    assert SweepTally(found=1, repaired=1, reminders=1) == result.results[SweepKind.OVERDUE]
    stage.clock.outage = 10 * MINUTE  # its own clock wakes it at the instant that has passed
    await stage.forward(15 * MINUTE, stage.handle(session, of(handle)))
    (mail,) = await stage.provider.accepted(bodies=True)
    assert "in 20 minutes" in mail["text"] or "in 19 minutes" in mail["text"]


async def test_a_workflow_at_work_is_not_disturbed(stage: Stage) -> None:
    """Overdue because the provider is away: the workflow retries, and the sweep leaves it alone."""
    session = await stage.session(starts_in=31 * MINUTE)
    handle = await stage.enroll(session)
    await stage.provider_refuses()
    stage.clock.outage = 10 * MINUTE  # every attempt tells the system this time, also a late one
    await stage.skipper.fast_forward(handle, 2 * MINUTE)
    await eventually(lambda: refused(stage))
    result = await stage.sweep()
    assert SweepTally(found=1, unchanged=1) == result.results[SweepKind.OVERDUE]
    assert (1, 0, 0) == counts(result)


async def test_cancelled_enrollments_stay_cancelled_through_two_sweeps(stage: Stage) -> None:
    """Failure 2: unenrolled, or its workflow cancelled by hand: nobody is revived, by no sweep."""
    session = await stage.session(starts_in=25 * HOUR)
    unenrolled, by_hand = await stage.enroll(session), await stage.enroll(session)
    await stage.gateway.unenroll(session.id, of(unenrolled))
    await by_hand.cancel()
    for handle in (unenrolled, by_hand):
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    await host_writes(
        stage,
        update(ReminderConfigurationRow).values(is_enabled=True),  # a new rule for everybody
    )
    for _ in range(2):
        assert NOTHING == (await stage.sweep()).results
        await stage.stop_worker()
        await stage.start_worker()
    assert {"cancelled: unenrolled"} == set(
        (await stage.statuses(session, of(unenrolled))).values()
    )
    assert {"cancelled: workflow_cancelled"} == set(
        (await stage.statuses(session, of(by_hand))).values()
    )
    for handle in (unenrolled, by_hand):
        assert await has_status(handle, WorkflowExecutionStatus.CANCELED)
    assert [] == await stage.provider.accepted()


async def test_a_cancel_that_was_not_recorded_is_not_undone(stage: Stage) -> None:
    """The run ended Canceled and its rows still wait: they are closed, and not started again."""
    session = await stage.session(starts_in=40 * MINUTE)
    handle = await stage.enroll(session)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    await host_writes(
        stage,
        update(ReminderRow)
        .where(ReminderRow.status_reason == "workflow_cancelled")
        .values(email_status="scheduled", status_reason=None),
    )

    async def closed() -> bool:
        result = await stage.sweep()
        return SweepTally(found=1, repaired=1, reminders=1) == result.results[SweepKind.MISSING]

    await eventually(closed)
    assert "cancelled: workflow_cancelled" == (await stage.statuses(session))["30min"]
    assert await has_status(handle, WorkflowExecutionStatus.CANCELED)


async def test_what_is_planned_while_a_cancelled_run_ends_is_not_called_off(stage: Stage) -> None:
    """The session was cancelled and restored before the workers came to it: the new plan counts."""
    session, user = await stage.session(starts_in=40 * MINUTE), await stage.attendee()
    handle = await stage.enroll(session, user)
    await eventually(lambda: has_timer(handle))
    await stage.stop_worker()
    status = update(SessionRow).where(SessionRow.id == session.id)
    await host_writes(stage, status.values(status="cancelled"))
    await stage.planner.replan(session.id, user)
    await stage.workflows.cancel(session.id, user, StatusReason.SESSION_CANCELLED)
    await host_writes(stage, status.values(status="scheduled"))
    await stage.planner.replan(session.id, user)
    await stage.start_worker()
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    async def follows() -> bool:
        await stage.sweep()
        return await has_status(stage.handle(session, user), WorkflowExecutionStatus.RUNNING)

    await eventually(follows)
    assert "scheduled" == (await stage.statuses(session, user))["30min"]


async def test_a_session_set_to_last_week_reminds_nobody(stage: Stage) -> None:
    """Failure 12: everything that waited is `skipped: session_started`, and the workflow ends."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await host_moves(stage, session, -8 * DAY)
    await stage.sweep()
    await handle.result()
    assert {"skipped: session_started"} == set((await stage.statuses(session)).values())
    assert [] == await stage.provider.accepted()


async def test_sweeps_in_the_same_second_double_nothing(stage: Stage) -> None:
    """Failure 10: three at once over a dozen lost enrollments give three rows and one run each."""
    session = await stage.session(starts_in=25 * HOUR)
    users = [await host_enrolls(stage, session) for _ in range(12)]
    first = await stage.start_sweep()
    others = [
        await stage.client.start_workflow(
            "ReminderSweepWorkflow",
            id=f"reminder-sweep-{stage.settings.temporal_task_queue}-{n}",
            task_queue=stage.settings.temporal_task_queue,
            result_type=SweepResult,
        )
        for n in range(2)
    ]
    results = await asyncio.gather(first.result(), *(other.result() for other in others))
    assert 36 == sum(result.total_reminders for result in results)
    assert 36 == len(await stage.ledger(session))
    assert {1} == {r.generation for r in await stage.ledger(session)}
    assert 0 == sum(result.total_failed for result in results)
    handles = [stage.handle(session, user_id) for user_id in users[:3]]
    await stage.forward(26 * HOUR, *handles)
    assert 9 == len(await stage.provider.accepted())


async def test_counts_are_true_when_some_cannot_be_repaired(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One enrollment that breaks is counted as failed, the others are repaired, none is left out."""
    session = await stage.session(starts_in=25 * HOUR)
    users = [await host_enrolls(stage, session) for _ in range(5)]
    from reminders.db.planning import EnrollmentPlanner  # noqa: PLC0415 - patched here only

    real = EnrollmentPlanner.reconcile

    async def breaks(
        self: EnrollmentPlanner, session_id: UUID, user_id: UUID, **options: Any
    ) -> Any:
        if user_id == users[2]:
            raise ValueError(user_id)
        return await real(self, session_id, user_id, **options)

    with monkeypatch.context() as patched:
        patched.setattr(EnrollmentPlanner, "reconcile", breaks)
        result = await stage.sweep()
    assert SweepTally(found=5, repaired=4, failed=1, reminders=12) == result.results[SweepKind.LOST]
    assert (5, 12, 1) == counts(result)
    assert (1, 3, 0) == counts(await stage.sweep())


async def refused(stage: Stage) -> bool:
    """Whether the provider has refused a delivery by now."""
    return bool((await stage.provider.stats())["refused_429"])
