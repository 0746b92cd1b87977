"""The life of an enrollment on the real server: weeks pass, people cancel, things break."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text, update
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.worker import Worker

from reminders.db.tables import EnrollmentRow, SessionRow
from reminders.delivery.policy import Step
from reminders.domain.model import Session, SessionStatus, StatusReason
from reminders.temporal import SESSION_ID
from starter.services.enrollments import EnrollmentWorkflows
from tests.stage import PATIENCE, Handle, Stage, attempted, eventually, has_timer
from tests.workflows.held import an_overtaken_delivery

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def cancelled(handle: Handle) -> bool:
    """Whether the workflow ends Canceled."""
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    return (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def reminder_types(stage: Stage) -> list[str]:
    """What the provider accepted, in order, told by the ledger's ids."""
    by_id = {r.resend_email_id: r for r in (await stage.queries.list(limit=10_000)).reminders}
    return [by_id[mail["id"]].reminder_type for mail in await stage.provider.accepted()]


async def test_a_whole_week_passes_and_each_reminder_goes_out_at_its_instant(stage: Stage) -> None:
    """Nothing before 24 h, then one e-mail at each instant, then the workflow completes."""
    session = await stage.session(starts_in=7 * DAY)
    handle = await stage.enroll(session)
    for passes, expected in [
        (6 * DAY - MINUTE, []),
        (2 * MINUTE, ["24h"]),
        (22 * HOUR - 2 * MINUTE, ["24h"]),
        (2 * MINUTE, ["24h", "2h"]),
        (90 * MINUTE, ["24h", "2h", "30min"]),
    ]:
        await stage.forward(passes, handle)
        assert expected == await reminder_types(stage)
    result = await handle.result()
    assert (3, 0, 0) == (result.sent, result.skipped, result.failed)
    for reminder in await stage.ledger(session):
        assert reminder.sent_at is not None
        assert timedelta() <= reminder.sent_at - reminder.due_at < MINUTE
        assert reminder.run_id == (await handle.describe()).run_id


async def test_a_late_sign_up_gets_only_what_lies_ahead(stage: Stage) -> None:
    """Enrolled 90 minutes before: the 30-minute reminder only, the others skipped as past due."""
    session = await stage.session(starts_in=90 * MINUTE)
    handle = await stage.enroll(session)
    await stage.forward(2 * HOUR, handle)
    assert ["30min"] == await reminder_types(stage)
    assert {
        "24h": "skipped: past_due",
        "2h": "skipped: past_due",
        "30min": "sent",
    } == await stage.statuses(session)


async def test_a_session_last_week_reminds_nobody(stage: Stage) -> None:
    """Every reminder is skipped as the session has started, and the workflow completes."""
    session = await stage.session(starts_in=-7 * DAY)
    handle = await stage.enroll(session)
    await handle.result()
    assert {"skipped: session_started"} == set((await stage.statuses(session)).values())
    assert [] == await stage.provider.accepted()


async def test_a_reminder_outlives_a_worker_that_is_away(stage: Stage) -> None:
    """With no worker at the due instant, one truthful e-mail goes out when a worker is back."""
    session = await stage.session(starts_in=HOUR)
    handle = await stage.enroll(session)
    await stage.outage(handle, until_due=30 * MINUTE, lasts=2 * MINUTE)
    await handle.result()
    assert ["30min"] == await reminder_types(stage)
    (mail,) = await stage.provider.accepted(bodies=True)
    assert "in 28 minutes" in mail["text"]


async def test_a_worker_restarted_around_every_due_instant_misses_nobody(stage: Stage) -> None:
    """Ten restarts, one e-mail for each reminder."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    for passes in (59 * MINUTE, 2 * MINUTE, 21 * HOUR + 58 * MINUTE, 2 * MINUTE, 88 * MINUTE):
        await stage.stop_worker()
        await stage.start_worker()
        await stage.forward(passes, handle)
        await stage.stop_worker()
        await stage.start_worker()
    await stage.forward(2 * MINUTE, handle)
    await handle.result()
    assert ["24h", "2h", "30min"] == await reminder_types(stage)


async def test_only_the_newest_of_several_overdue_reminders_goes_out(stage: Stage) -> None:
    """After an outage across two instants, the older reminder is skipped as superseded."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.outage(handle, until_due=HOUR, lasts=22 * HOUR + MINUTE)
    await eventually(lambda: superseded(stage, session))
    stage.clock.outage = timedelta()
    await stage.forward(24 * HOUR, handle)
    assert {
        "24h": "skipped: superseded",
        "2h": "sent",
        "30min": "sent",
    } == await stage.statuses(session)


async def superseded(stage: Stage, session: Session) -> bool:
    """Whether the first reminder has given way to the second."""
    return (await stage.statuses(session))["24h"] == "skipped: superseded"


async def test_cancelled_while_asleep(stage: Stage) -> None:
    """The run ends Canceled, its rows are cancelled, and nothing is ever sent."""
    session = await stage.session(starts_in=7 * DAY)
    handle = await stage.enroll(session)
    await stage.forward(DAY, handle)
    await handle.cancel()
    assert await cancelled(handle)
    assert {"cancelled: workflow_cancelled"} == set((await stage.statuses(session)).values())
    assert [] == await stage.provider.accepted()


async def test_a_cancelled_enrollment_stays_cancelled_through_restarts(stage: Stage) -> None:
    """Cancel, restart the worker, pass the due instants: Canceled for ever, nobody is mailed."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await handle.cancel()
    assert await cancelled(handle)
    await stage.stop_worker()
    stage.clock.set(session.starts_at)
    await stage.start_worker()
    await stage.gateway.session_changed(session.id)
    assert [] == await stage.provider.accepted()
    assert {"cancelled: workflow_cancelled"} == set((await stage.statuses(session)).values())


@pytest.mark.parametrize("step", list(Step))
async def test_a_cancel_at_any_moment_of_a_send_ends_the_run(stage: Stage, step: Step) -> None:
    """The reminder at hand is resolved, no other one goes out, and the run ends Canceled."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.provider.faults(kind="slow", latency_ms=300, count=1)
    await stage.cancel_at(step, handle)
    await stage.skipper.fast_forward(handle, 61 * MINUTE)
    assert await cancelled(handle)
    statuses = await stage.statuses(session)
    accepted = len(await stage.provider.accepted())
    assert ("sent" if accepted else "cancelled: workflow_cancelled") == statuses["24h"]
    assert accepted <= 1
    assert statuses["2h"] == statuses["30min"] == "cancelled: workflow_cancelled"


@pytest.mark.parametrize(
    "answer",
    [{"status": 403, "name": "invalid_api_key"}, {"status": 500, "name": "application_error"}],
    ids=["refused", "unknown"],
)
async def test_a_cancel_during_an_attempt_that_fails(stage: Stage, answer: dict[str, Any]) -> None:
    """The run ends when nothing of it can go out any more, whatever the provider answered."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    slow = {"kind": "slow", "latency_ms": 300, "count": 1, "path": "/emails/batch"}
    fails = {"kind": "status", "count": 1, "path": "/emails/batch", **answer}
    await stage.provider.faults(slow, fails)
    await stage.cancel_at(Step.PACED, handle)
    await stage.skipper.fast_forward(handle, 61 * MINUTE)
    assert await cancelled(handle)
    at_the_end, statuses = len(await stage.provider.accepted()), await stage.statuses(session)
    assert ("sent" if at_the_end else "cancelled: workflow_cancelled") == statuses["24h"]
    assert statuses["2h"] == statuses["30min"] == "cancelled: workflow_cancelled"
    await stage.stop_worker()
    await stage.start_worker()
    assert at_the_end == len(await stage.provider.accepted())


async def test_cancelled_in_back_off_while_the_provider_is_down(stage: Stage) -> None:
    """What was provably not accepted is cancelled, at once, and not sent later."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.provider_refuses()
    await stage.skipper.fast_forward(handle, 61 * MINUTE)
    await eventually(lambda: attempted(handle, 2))
    await handle.cancel()
    assert await cancelled(handle)
    await stage.provider.clear_faults()
    assert {"cancelled: workflow_cancelled"} == set((await stage.statuses(session)).values())
    assert [] == await stage.provider.accepted()


async def test_cancelled_while_queued_behind_absent_activity_workers(stage: Stage) -> None:
    """A send that no worker has picked up is cancelled and never happens."""
    session = await stage.session(starts_in=25 * HOUR)
    await stage.stop_worker()
    handle = await stage.enroll(session)
    async with Worker(stage.client, task_queue=stage.settings.temporal_task_queue):
        passing = asyncio.create_task(stage.skipper.fast_forward(handle, 61 * MINUTE))
        await eventually(lambda: waits_for(handle, "deliver_reminder"))
        await handle.cancel()
        await eventually(lambda: waits_for(handle, "close_reminders"))
    await stage.start_worker()
    await passing
    assert await cancelled(handle)
    assert {"cancelled: workflow_cancelled"} == set((await stage.statuses(session)).values())
    assert [] == await stage.provider.accepted()


async def waits_for(handle: Handle, activity_type: str) -> bool:
    """Whether the workflow waits for an activity of this type."""
    pending = (await handle.describe()).raw_description.pending_activities
    return any(a.activity_type.name == activity_type for a in pending)


async def test_the_other_attendee_still_gets_theirs(stage: Stage) -> None:
    """A and B are enrolled and A unenrolls: none for A, exactly one per reminder for B."""
    session = await stage.session(starts_in=25 * HOUR)
    a, b = await stage.attendee("a@uni.example"), await stage.attendee("b@uni.example")
    await stage.enroll(session, a)
    handle = await stage.enroll(session, b)
    receipt = await stage.gateway.unenroll(session.id, a)
    assert (3, 0, 0) == (receipt.cancelled, receipt.already_sent, receipt.in_flight)
    await stage.forward(25 * HOUR, handle)
    assert [["b@uni.example"]] * 3 == [m["to"] for m in await stage.provider.accepted()]
    assert {"cancelled: unenrolled"} == set((await stage.statuses(session, a)).values())


async def test_state_is_read_again_at_the_moment_of_sending(stage: Stage) -> None:
    """Where the message about an unenrollment was lost, the attendee still gets nothing."""
    session = await stage.session(starts_in=25 * HOUR)
    gone, stays = await stage.attendee(), await stage.attendee("stays@uni.example")
    handles = [await stage.enroll(session, user) for user in (gone, stays)]
    async with stage.database.transaction() as connection:
        await connection.execute(
            update(EnrollmentRow).where(EnrollmentRow.user_id == gone).values(status="cancelled")
        )
    for handle in handles:
        await stage.forward(61 * MINUTE, handle)
    assert [["stays@uni.example"]] == [m["to"] for m in await stage.provider.accepted()]
    assert "cancelled: unenrolled" == (await stage.statuses(session, gone))["24h"]


async def test_a_move_takes_the_reminder_along(stage: Stage) -> None:
    """10:00 moved to 14:00 before the 2 h reminder: exactly one, at 12:00, saying 14:00."""
    session = await stage.session(starts_in=3 * HOUR, time_zone="UTC")
    user = await stage.attendee(time_zone="UTC")
    handle = await stage.enroll(session, user)
    moved = await stage.session(starts_in=7 * HOUR, id=session.id)
    plan = await stage.plan(handle)
    assert moved.starts_at == plan.starts_at
    await stage.forward(4 * HOUR, handle)
    assert [] == await stage.provider.accepted()
    await stage.forward(HOUR + MINUTE, handle)
    (mail,) = await stage.provider.accepted(bodies=True)
    assert f"{moved.starts_at:%H:%M}" in mail["text"]


async def test_a_move_that_nobody_told_us_of_is_found_when_the_reminder_is_due(
    stage: Stage,
) -> None:
    """The old instant passes silently and the reminder goes out at the new one."""
    session = await stage.session(starts_in=3 * HOUR)
    handle = await stage.enroll(session)
    async with stage.database.transaction() as connection:
        await connection.execute(update(SessionRow).values(start_time=session.starts_at + 4 * HOUR))
    await stage.forward(2 * HOUR, handle)
    assert [] == await stage.provider.accepted()
    await stage.forward(3 * HOUR + MINUTE, handle)
    assert ["2h"] == await reminder_types(stage)


async def test_a_cancelled_session_cancels_everybody(stage: Stage) -> None:
    """Every enrollment ends Canceled, and the receipt counts the reminders."""
    session = await stage.session(starts_in=25 * HOUR)
    handles = [await stage.enroll(session) for _ in range(5)]
    _, receipt = await stage.gateway.put_session(
        session.__class__(
            id=session.id,
            title=session.title,
            starts_at=session.starts_at,
            status=SessionStatus.CANCELLED,
        ),
        wait=PATIENCE,
    )
    assert (5, 15) == (receipt.enrollments, receipt.reminders.cancelled)
    for handle in handles:
        assert await cancelled(handle)
    assert {"cancelled: session_cancelled"} == set((await stage.statuses(session)).values())


async def test_enrolling_again_while_it_runs_returns_the_same_run(stage: Stage) -> None:
    """A repeated enrollment is the same run, and still one e-mail per reminder."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    first = await stage.gateway.enroll(session.id, user)
    second = await stage.gateway.enroll(session.id, user)
    assert (True, False) == (first.created, second.created)
    assert first.run_id == second.run_id
    await stage.forward(25 * HOUR, stage.handle(session, user))
    assert 3 == len(await stage.provider.accepted())


async def test_enrolling_again_after_the_run_sends_nothing_twice(stage: Stage) -> None:
    """A finished run is not followed by another one."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    first = await stage.gateway.enroll(session.id, user)
    handle = stage.handle(session, user)
    await stage.forward(25 * HOUR, handle)
    await handle.result()
    again = await stage.gateway.enroll(session.id, user)
    assert (False, first.run_id) == (again.created, again.run_id)
    assert 3 == len(await stage.provider.accepted())


async def test_enrolling_again_after_a_cancel_is_a_new_generation(stage: Stage) -> None:
    """What lies ahead is planned anew in a new run, and goes out once."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    first = await stage.gateway.enroll(session.id, user)
    await stage.gateway.unenroll(session.id, user)
    assert await cancelled(stage.handle(session, user))
    again = await stage.gateway.enroll(session.id, user)
    assert again.created
    assert first.run_id != again.run_id
    assert {2} == {r.generation for r in again.reminders}
    await stage.forward(25 * HOUR, stage.handle(session, user))
    assert 3 == len(await stage.provider.accepted())


async def test_a_reminder_that_fails_does_not_stop_the_next(stage: Stage) -> None:
    """An address that is none fails its reminders one by one, and the workflow completes."""
    session = await stage.session(starts_in=25 * HOUR)
    user = await stage.attendee("not an address")
    handle = await stage.enroll(session, user)
    await stage.forward(25 * HOUR, handle)
    result = await handle.result()
    assert (0, 3) == (result.sent, result.failed)
    assert {"failed: invalid_address"} == set((await stage.statuses(session)).values())


async def remind_late(stage: Stage) -> None:
    """Let the last reminder be five minutes before: each of its retries takes real time."""
    async with stage.database.transaction() as connection:
        late = "UPDATE reminder_configurations SET minutes_before = 5 WHERE reminder_type = '30min'"
        await connection.execute(text(late))


async def test_an_outage_beyond_the_start_ends_as_expired(stage: Stage) -> None:
    """No retry outlives the session's start; the ledger says why nothing was sent."""
    await remind_late(stage)
    session = await stage.session(starts_in=6 * MINUTE)
    handle = await stage.enroll(session)
    await stage.provider_refuses()
    await stage.forward(HOUR, handle)
    await handle.result()
    assert "failed: expired" == (await stage.statuses(session))["30min"]
    await stage.provider.clear_faults()
    assert [] == await stage.provider.accepted()


@pytest.mark.parametrize("with_worker", [True, False], ids=["worker", "no-worker"])
@pytest.mark.parametrize("how", ["unenrolled", "by-hand", "cancel-lost"])
async def test_enrolling_again_right_after_a_cancel_counts(
    stage: Stage, how: str, with_worker: bool
) -> None:
    """However the cancel was asked for, and however far it got, the newest wish wins, once."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    handle = await stage.enroll(session, user)
    if not with_worker:
        await stage.stop_worker()
    if how == "unenrolled":
        await stage.gateway.unenroll(session.id, user)
    elif how == "by-hand":
        await handle.cancel()
    else:
        await stage.planner.unenroll(session.id, user)
    await stage.gateway.enroll(session.id, user)
    if not with_worker:
        await stage.start_worker()
    await stage.forward(25 * HOUR, stage.handle(session, user))
    await stage.handle(session, user).result()
    assert ["24h", "2h", "30min"] == await reminder_types(stage)
    assert {"sent"} == set((await stage.statuses(session)).values())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 429, "name": "daily_quota_exceeded"}, "quota"),
        ({"status": 403, "name": "invalid_api_key"}, "misconfigured"),
    ],
    ids=["quota", "misconfigured"],
)
async def test_a_provider_that_refuses_until_the_start_is_named_as_the_reason(
    stage: Stage, answer: dict[str, Any], reason: str
) -> None:
    """Nothing is lost silently: the ledger says what kept the reminder from going out."""
    await remind_late(stage)
    session = await stage.session(starts_in=6 * MINUTE)
    handle = await stage.enroll(session)
    await stage.provider.faults(kind="status", path="/emails/batch", **answer)
    await stage.forward(HOUR, handle)
    await handle.result()
    assert f"failed: {reason}" == (await stage.statuses(session))["30min"]
    assert [] == await stage.provider.accepted()


async def test_a_session_that_moves_while_delivery_is_held_is_reminded_of(stage: Stage) -> None:
    """The old start passes with the provider's door shut; the reminder goes out for the new one."""
    await remind_late(stage)
    session = await stage.session(starts_in=6 * MINUTE)
    handle = await stage.enroll(session)
    await stage.provider.faults(kind="status", status=403, name="invalid_api_key")
    await stage.skipper.fast_forward(handle, 2 * MINUTE)
    await eventually(lambda: attempted(handle, 2))
    moved = await stage.session(starts_in=25 * MINUTE, id=session.id)
    await stage.forward(10 * MINUTE, handle)
    await eventually(lambda: has_timer(handle))
    assert "scheduled" == (await stage.statuses(session))["30min"]
    await stage.provider.clear_faults()
    async with stage.database.transaction() as connection:
        await connection.execute(text("UPDATE provider_pace SET held_until = NULL"))
    await stage.wind_to(moved.starts_at, handle)
    await handle.result()
    (reminder,) = [r for r in await stage.ledger(session) if r.sent_at is not None]
    assert reminder.reminder_type == "30min"
    assert reminder.starts_at == moved.starts_at


@pytest.mark.parametrize(
    ("found", "planned", "wakes_for"),
    [(5 * HOUR, 3 * HOUR, 3 * HOUR), (3 * HOUR, 5 * HOUR, 3 * HOUR)],
    ids=["the-plan-is-newer", "the-delivery-is-newer"],
)
async def test_a_plan_that_overtakes_a_delivery_is_not_forgotten(
    stage: Stage, found: timedelta, planned: timedelta, wakes_for: timedelta
) -> None:
    """A session moves twice while its reminder is under way: whichever is earlier wakes it."""
    session, user = await stage.session(starts_in=31 * MINUTE), await stage.attendee()
    handle = await stage.enroll(session, user)
    async with an_overtaken_delivery(stage, handle, session, user, found=found, planned=planned):
        plan = await stage.plan(handle)
    waiting = {r.reminder_type: r.due_at for r in plan.reminders if r.status.is_pending}
    assert session.starts_at + wakes_for - HOUR / 2 == waiting["30min"]
    assert session.starts_at + max(found, planned) == plan.starts_at


async def test_a_cancel_that_comes_after_the_next_enrollment_is_not_the_last_word(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failure 18: who enrolls again while leaving is under way is enrolled, and gets one each."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    await stage.enroll(session, user)
    cancel = EnrollmentWorkflows.cancel

    async def cancel_late(
        workflows: EnrollmentWorkflows, session_id: UUID, user_id: UUID, reason: StatusReason
    ) -> bool:
        await stage.gateway.enroll(session.id, user)
        return await cancel(workflows, session_id, user_id, reason)

    monkeypatch.setattr(EnrollmentWorkflows, "cancel", cancel_late)
    receipt = await stage.gateway.unenroll(session.id, user)
    assert 3 == receipt.cancelled
    handle = stage.handle(session, user)
    await stage.wind_to(session.starts_at, handle)
    await handle.result()
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session)
    assert 3 == len(await stage.provider.accepted())


@pytest.mark.slow
async def test_a_thousand_plans_do_not_fill_the_history(stage: Stage) -> None:
    """The run goes on as a new one, with its plan and under its search attributes, and sends."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    handle = await stage.enroll(session, user)
    first = (await handle.describe()).run_id
    for _ in range(1000):
        again = await stage.planner.reconcile(session.id, user, distrust=True)
        assert (await stage.handover.hand_over(again)).is_confirmed
    described = await handle.describe()
    assert first != described.run_id
    assert str(session.id) == described.typed_search_attributes[SESSION_ID]
    await stage.forward(25 * HOUR, handle)
    await handle.result()
    assert ["24h", "2h", "30min"] == await reminder_types(stage)
