"""A session moves, is cancelled and held again, while a crowd is enrolled, on the real server."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import WorkflowFailureError

from activities import session_change as replanning
from activities.session_change import PAGE
from reminders.domain.contracts import SessionChangeResult
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.keys import session_change_workflow_id
from reminders.domain.model import ReminderStatus, Session, SessionStatus
from reminders.domain.ports import ReplannedPage
from reminders.temporal import SESSION_ID
from starter.assembly import assemble
from starter.services import enrollments
from starter.services.enrollments import EnrollmentWorkflows
from starter.services.receipts import ChangeReceipt
from tests.stage import PATIENCE, Handle, Stage, eventually
from tests.workflows.crowd import enrolled
from tests.workflows.held import HeldReplanner
from workflows.session_change import SessionChangeWorkflow

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def none_runs(stage: Stage, session: Session) -> bool:
    """Whether no workflow of the session runs any more."""
    query = f"SessionId = '{session.id}' AND ExecutionStatus = 'Running'"
    return (await stage.client.count_workflows(query)).count == 0


async def waiting(stage: Stage, session: Session) -> int:
    """How many reminders of the session still wait, or are on their way."""
    counts = await stage.catalogue.counts(session.id)
    return sum(n for status, n in counts.items() if status.is_pending)


async def passes(handle: Handle) -> int:
    """How many times everybody was told."""
    events = (await handle.fetch_history()).events
    return sum(e.HasField("activity_task_scheduled_event_attributes") for e in events)


@pytest.mark.parametrize(
    ("count", "page"), [(25, 10), pytest.param(500, PAGE, marks=pytest.mark.slow)]
)
async def test_a_crowd_is_cancelled_and_nobody_is_mailed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, count: int, page: int
) -> None:
    """Failure 1: so many pending, more than two pages; the receipt counts all, zero go out."""
    monkeypatch.setattr(replanning, "PAGE", page)
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, count)
    receipt = await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    assert receipt.is_done
    assert (count, count, 0) == (receipt.enrollments, receipt.replanned, receipt.unconfirmed)
    assert 3 * count == receipt.reminders.cancelled
    await eventually(lambda: none_runs(stage, session), within=PATIENCE)
    assert {ReminderStatus.CANCELLED: 3 * count} == await stage.catalogue.counts(session.id)
    assert [] == await stage.provider.accepted()


async def test_moved_from_ten_to_two_o_clock(stage: Stage) -> None:
    """Failure 4: moved by four hours with its 2 h reminder pending: one, at the new instant."""
    session = await stage.session(starts_in=150 * MINUTE, time_zone="UTC")
    handle = await stage.enroll(session, await stage.attendee(time_zone="UTC"))
    moved = replace(session, starts_at=session.starts_at + 4 * HOUR)
    _, receipt = await stage.gateway.put_session(moved, wait=PATIENCE)
    assert (1, 0) == (receipt.replanned, receipt.reminders.cancelled)
    await stage.forward(4 * HOUR, handle)
    assert [] == await stage.provider.accepted()
    await stage.forward(31 * MINUTE, handle)
    (mail,) = await stage.provider.accepted(bodies=True)
    assert f"{moved.starts_at:%H:%M}" in mail["text"]
    assert f"{session.starts_at:%H:%M}" not in mail["text"]
    (sent,) = [r for r in await stage.ledger(session) if r.sent_at is not None]
    assert sent.sent_at is not None
    assert sent.due_at == moved.starts_at - 2 * HOUR
    assert timedelta() <= sent.sent_at - sent.due_at < MINUTE


@pytest.mark.parametrize(
    "count", [24, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
async def test_cancelled_half_way_through_an_import(stage: Stage, count: int) -> None:
    """Failure 17: whoever is enrolled before, during or after the cancel: zero afterwards."""
    session = await stage.session(starts_in=25 * HOUR)
    importing = asyncio.create_task(enrolled(stage, session, count))

    async def half_way() -> bool:
        return await waiting(stage, session) >= count * 3 // 2

    long = max(PATIENCE, count * timedelta(seconds=0.2))
    await eventually(half_way, within=long)
    receipt = await stage.gateway.cancel_session(session.id, wait=long)
    assert receipt.is_done
    assert receipt.enrollments >= count // 2
    await importing
    late = await stage.gateway.enroll(session.id, await stage.attendee())
    assert () == late.reminders
    # Each ends by an activity of its own, so thousands take minutes.
    draining = max(PATIENCE, count * timedelta(milliseconds=60))
    await eventually(lambda: none_runs(stage, session), within=draining)
    assert 0 == await waiting(stage, session)
    assert [] == await stage.provider.accepted()


async def test_a_workflow_that_starts_after_its_cancel_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancel between an enrollment's plan and the start of its workflow is not missed."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    start = EnrollmentWorkflows.start

    async def overtaken(*args: Any, **options: Any) -> str | None:
        await stage.gateway.cancel_session(session.id, wait=PATIENCE)
        return await start(*args, **options)

    monkeypatch.setattr(EnrollmentWorkflows, "start", overtaken)
    late = await stage.gateway.enroll(session.id, user)
    assert {ReminderStatus.CANCELLED} == {r.status for r in late.reminders}
    with pytest.raises(WorkflowFailureError):
        await stage.handle(session, user).result()
    assert {"cancelled: session_cancelled"} == set((await stage.statuses(session)).values())


@pytest.mark.parametrize(
    "order", list(itertools.permutations(("unenroll", "enroll", "move"))), ids="-".join
)
async def test_the_newest_wish_wins_in_any_order_and_twice(
    stage: Stage, order: Sequence[str]
) -> None:
    """Failure 18: unenroll, re-enroll and move, twice over: one e-mail per live reminder."""
    session = await stage.session(starts_in=25 * HOUR, time_zone="UTC")
    user = await stage.attendee(time_zone="UTC")
    await stage.enroll(session, user)
    for verb in (*order, *order):
        if verb == "unenroll":
            await stage.gateway.unenroll(session.id, user)
        elif verb == "enroll":
            await stage.gateway.enroll(session.id, user)
        else:
            session = replace(session, starts_at=session.starts_at + HOUR)
            await stage.gateway.put_session(session, wait=PATIENCE)
    handle = stage.handle(session, user)
    if order.index("enroll") < order.index("unenroll"):
        with pytest.raises(WorkflowFailureError):  # Canceled: nothing of it can fire any more
            await handle.result()
        assert {"cancelled: unenrolled"} == set((await stage.statuses(session)).values())
        assert [] == await stage.provider.accepted()
    else:
        await stage.forward(28 * HOUR, handle)
        assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session)
        mails = await stage.provider.accepted(bodies=True)
        assert 3 == len(mails)
        assert all(f"{session.starts_at:%H:%M}" in mail["text"] for mail in mails)


async def test_moved_in_the_last_seconds(stage: Stage) -> None:
    """Once the call has returned, the old instant cannot fire, however near it was."""
    session = await stage.session(starts_in=HOUR)
    handle = await stage.enroll(session)
    await stage.forward(30 * MINUTE - timedelta(seconds=2), handle)
    moved = replace(session, starts_at=session.starts_at + 20 * MINUTE)
    _, receipt = await stage.gateway.put_session(moved, wait=PATIENCE)
    at_return = len(await stage.provider.accepted())
    assert 1 == receipt.replanned
    await stage.forward(19 * MINUTE, handle)
    assert at_return == len(await stage.provider.accepted())
    await stage.forward(32 * MINUTE, handle)
    assert 1 == len(await stage.provider.accepted())


@pytest.mark.parametrize(
    "answers_after_ms",
    [pytest.param(0, id="at-once"), pytest.param(400, id="slowly", marks=pytest.mark.slow)],
)
async def test_moved_while_the_timers_of_many_fire(stage: Stage, answers_after_ms: int) -> None:
    """Around the instant of a dozen: when the call returns, no old one fires that it did not count.

    Their clocks are wound to within a second of it, on both sides, so that the move meets each at
    another point: asleep, waking, gathered, frozen, posted, settled.
    """
    session = await stage.session(starts_in=HOUR, time_zone="UTC")
    users = await enrolled(stage, session, 12)
    due = session.starts_at - 30 * MINUTE
    await stage.wind_to(due - 10 * SECOND, *(stage.handle(session, user) for user in users))
    if answers_after_ms:
        slow = {"kind": "slow", "latency_ms": answers_after_ms, "path": "/emails/batch"}
        await stage.provider.faults(slow)
    await asyncio.gather(
        *(
            stage.skipper.fast_forward(stage.handle(session, user), 8.6 * SECOND + n * SECOND / 6)
            for n, user in enumerate(users)
        )
    )
    moved = replace(session, starts_at=session.starts_at + 3 * HOUR)
    _, receipt = await stage.gateway.put_session(moved, wait=PATIENCE)
    at_return = len(await stage.provider.accepted())
    assert (12, 12, 0) == (receipt.enrollments, receipt.replanned, receipt.unconfirmed)
    await stage.provider.clear_faults()
    await stage.wind_to(due + HOUR, *(stage.handle(session, user) for user in users))
    old = await stage.provider.accepted(bodies=True)
    assert all(f"{session.starts_at:%H:%M}" in mail["text"] for mail in old)
    assert len(old) - at_return <= receipt.reminders.in_flight
    # Whoever was told the old start is told the new one, too: the sweep finds them.
    await stage.sweep()
    await stage.wind_to(moved.starts_at, *(stage.handle(session, user) for user in users))
    new = (await stage.provider.accepted(bodies=True))[len(old) :]
    assert all(f"{moved.starts_at:%H:%M}" in mail["text"] for mail in new)
    reminded = Counter(
        (r.user_id, r.reminder_type)
        for r in await stage.ledger(session)
        if r.status == "sent" and r.starts_at == moved.starts_at
    )
    assert {(user, kind): 1 for user in users for kind in ("2h", "30min")} == reminded


async def test_two_moves_at_once(stage: Stage) -> None:
    """Whichever is stored last is what everybody is told, in whatever order the calls return."""
    session = await stage.session(starts_in=25 * HOUR)
    users = await enrolled(stage, session, 8)
    moves = [replace(session, starts_at=session.starts_at + n * HOUR) for n in range(1, 5)]
    await asyncio.gather(*(stage.gateway.put_session(moved, wait=PATIENCE) for moved in moves))
    newest = (await stage.catalogue.session(session.id)).starts_at
    for user in users:
        assert newest == (await stage.plan(stage.handle(session, user))).starts_at
    assert {newest} == {r.starts_at for r in await stage.ledger(session)}


@pytest.mark.parametrize("is_moved", [False, True], ids=["as-before", "moved"])
async def test_a_session_is_held_after_all(stage: Stage, *, is_moved: bool) -> None:
    """Cancelled and restored, at once: all are reminded, once, and those who left are not."""
    session = await stage.session(starts_in=25 * HOUR)
    stays, left = await stage.attendee("stays@uni.example"), await stage.attendee()
    for user in (stays, left):
        await stage.enroll(session, user)
    await stage.gateway.unenroll(session.id, left)
    await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    restored = replace(session, starts_at=session.starts_at + is_moved * 2 * HOUR)
    _, receipt = await stage.gateway.put_session(restored, wait=PATIENCE)
    assert (1, 1) == (receipt.enrollments, receipt.replanned)
    await stage.forward(27 * HOUR, stage.handle(session, stays))
    assert [["stays@uni.example"]] * 3 == [m["to"] for m in await stage.provider.accepted()]
    assert {"24h": "sent", "2h": "sent", "30min": "sent"} == await stage.statuses(session, stays)


async def test_a_worker_is_not_needed_to_cancel(stage: Stage) -> None:
    """Without one the change is stored and its workflow waits; a worker finds it, and all is told."""
    session = await stage.session(starts_in=25 * HOUR)
    (user,) = await enrolled(stage, session, 1)
    await stage.stop_worker()
    receipt = await stage.gateway.cancel_session(session.id, wait=timedelta(milliseconds=100))
    assert (
        ChangeReceipt(
            workflow_id=session_change_workflow_id(session.id), run_id=receipt.run_id, is_done=False
        )
        == receipt
    )
    assert SessionStatus.CANCELLED is (await stage.catalogue.session(session.id)).status
    again = await stage.gateway.cancel_session(session.id, wait=None)
    assert receipt.run_id == again.run_id
    await stage.start_worker()
    result: SessionChangeResult = await stage.change_of(session).result()
    assert SessionChangeResult(enrollments=1, replanned=1, cancelled=3) == result
    assert 1 == await passes(stage.change_of(session))
    with pytest.raises(WorkflowFailureError):
        await stage.handle(session, user).result()


async def test_counting_changes_nothing(stage: Stage) -> None:
    """A dry run says what a cancel would do, starts nothing, and a cancel then does just that."""
    session = await stage.session(starts_in=90 * MINUTE)
    await enrolled(stage, session, 3)
    counted = await stage.gateway.cancel_session(session.id, dry_run=True)
    assert (3, 0, 0) == (
        counted.reminders.cancelled, counted.reminders.already_sent, counted.reminders.in_flight
    )  # fmt: skip
    assert counted.workflow_id is None
    done = await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    assert counted.reminders == done.reminders


async def test_an_unanswering_workflow_is_tried_again_and_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted as unconfirmed, the others are told, and the ledger has the new instant."""
    monkeypatch.setattr(enrollments, "UPDATE_TIMEOUT", timedelta(milliseconds=500))
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 2)
    silent = await stage.attendee()
    elsewhere = stage.settings.model_copy(update={"temporal_task_queue": "nobody-polls-this"})
    parts = assemble(elsewhere, stage.database, stage.client, clock=stage.clock)
    await parts.gateway.enroll(session.id, silent)
    moved = replace(session, starts_at=session.starts_at + HOUR)
    _, receipt = await stage.gateway.put_session(moved, wait=PATIENCE)
    assert (3, 2, 1) == (receipt.enrollments, receipt.replanned, receipt.unconfirmed)
    assert {moved.starts_at} == {r.starts_at for r in await stage.ledger(session, silent)}


async def test_a_stranger_reads_what_a_change_did(stage: Stage) -> None:
    """Summary, attribute and details say what it is about; its history has no personal data."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 2)
    await stage.gateway.session_changed(session.id, wait=PATIENCE)
    described = await stage.change_of(session).describe()
    assert "tells every enrollment that its session changed" == await described.static_summary()
    assert str(session.id) == described.typed_search_attributes.get(SESSION_ID)
    history = (await stage.change_of(session).fetch_history()).to_json()
    assert "hospital.example" not in history


async def test_changes_during_a_pass_make_one_more(stage: Stage) -> None:
    """However often a session changes while everybody is told, all are told once more, not more."""
    session = await stage.session(starts_in=25 * HOUR)
    counts = SessionChangeResult(enrollments=5, replanned=5, cancelled=2)
    replanner = HeldReplanner(ReplannedPage(counts=counts, after=None))
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        started = [await stage.gateway.session_changed(session.id, wait=None) for _ in range(5)]
        replanner.go.set()
        result: SessionChangeResult = await stage.change_of(session).result()
    assert 1 == len({receipt.run_id for receipt in started})
    assert [None, None] == replanner.asked
    assert replace(counts, cancelled=4) == result


async def test_an_outage_in_the_middle_goes_on_behind_the_cursor(stage: Stage) -> None:
    """A later attempt repeats the page that failed, not those before, and counts everybody."""
    session = await stage.session(starts_in=25 * HOUR)
    counts = SessionChangeResult(enrollments=200, replanned=200)
    replanner = HeldReplanner(
        ReplannedPage(counts=counts, after=UUID(int=200)),
        ReplannedPage(counts=counts, after=None),
        fails_at=1,
    )
    replanner.go.set()
    stage.let_time_fly()
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        result: SessionChangeResult = await stage.change_of(session).result()
    assert [None, UUID(int=200), UUID(int=200)] == replanner.asked
    assert 400 == result.enrollments


async def test_what_an_attempt_called_off_is_counted_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal is away in the middle of a page: it is repeated, and the receipt counts everybody."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 5)
    real, calls = enrollments.EnrollmentWorkflows.cancel, itertools.count()

    async def away(*arguments: Any) -> bool:
        if next(calls) == 3:
            raise TemporalUnavailableError
        return await real(*arguments)

    monkeypatch.setattr(enrollments.EnrollmentWorkflows, "cancel", away)
    receipt = await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    assert (5, 15) == (receipt.enrollments, receipt.reminders.cancelled)
    again = await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    assert (5, 0) == (again.enrollments, again.reminders.cancelled)


@pytest.mark.parametrize("is_changed", [True, False])
async def test_a_change_outlives_a_pass_that_failed_for_good(
    stage: Stage, *, is_changed: bool
) -> None:
    """PostgreSQL is away for a day: what changed meanwhile is told afterwards; else the run fails."""
    session = await stage.session(starts_in=7 * DAY)
    replanner = HeldReplanner(
        ReplannedPage(counts=SessionChangeResult(enrollments=5), after=None), away_for=2
    )
    stage.let_time_fly()
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        if is_changed:
            await stage.gateway.session_changed(session.id, wait=None)
        replanner.go.set()
        if is_changed:
            result: SessionChangeResult = await stage.change_of(session).result()
            assert SessionChangeResult(enrollments=5) == result
        else:
            with pytest.raises(WorkflowFailureError):
                await stage.change_of(session).result()
    assert 2 + is_changed == len(replanner.asked)


@pytest.mark.slow
async def test_thousands_of_changes_do_not_fill_the_history(stage: Stage) -> None:
    """A session edited without end goes on with a fresh history, and whoever waits has the counts."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 1)
    await stage.stop_worker()
    first = await stage.gateway.cancel_session(session.id, wait=None)
    handle = stage.change_of(session)
    for _ in range(50):
        await asyncio.gather(*(handle.signal(SessionChangeWorkflow.changed) for _ in range(85)))
    await stage.start_worker()
    by_run = stage.client.get_workflow_handle(handle.id, run_id=first.run_id)
    counts = await by_run.result()
    assert (1, 3) == (counts["enrollments"], counts["cancelled"])
    assert first.run_id != (await handle.describe()).run_id


async def test_whoever_stops_waiting_for_a_workflow_replaces_none(stage: Stage) -> None:
    """Without a worker nobody confirms a plan; cancelled meanwhile, the caller ends, and no run."""
    session, user = await stage.session(starts_in=25 * HOUR), await stage.attendee()
    handle = await stage.enroll(session, user)
    run_id = (await handle.describe()).run_id
    await stage.stop_worker()
    planned = await stage.planner.reconcile(session.id, user, distrust=True)
    telling = asyncio.create_task(stage.handover.hand_over(planned))
    _, waiting = await asyncio.wait({telling}, timeout=1)
    assert {telling} == waiting
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    assert run_id == (await handle.describe()).run_id


async def runs(stage: Stage, session: Session) -> set[str]:
    """Of the workflows that told a session's change."""
    query = f"WorkflowId = '{session_change_workflow_id(session.id)}'"
    return {run.run_id async for run in stage.client.list_workflows(query)}


async def test_the_same_session_once_more_tells_nobody(stage: Stage) -> None:
    """A nightly copy of what is stored starts no workflow, and its counts are zero."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 2)
    moved = replace(session, starts_at=session.starts_at + HOUR)
    _, first = await stage.gateway.put_session(moved, wait=PATIENCE)
    assert 2 == first.enrollments
    for again in (moved, moved, replace(moved, title="Another title")):
        change, receipt = await stage.gateway.put_session(again, wait=PATIENCE)
        assert (None, ChangeReceipt()) == (change.untold, receipt)

    async def told_once() -> bool:
        return await runs(stage, session) == {first.run_id}

    await eventually(told_once, within=PATIENCE)


@pytest.mark.parametrize("title", ["Cardiology", "Another title"])
async def test_the_same_call_completes_what_ended_half_way(stage: Stage, title: str) -> None:
    """Stored, and then nothing: the next call tells everybody, and the one after it nobody."""
    session = await stage.session(starts_in=25 * HOUR, title="Cardiology")
    await enrolled(stage, session, 2)
    moved = replace(session, starts_at=session.starts_at + HOUR)
    await stage.catalogue.put_session(moved)
    moved = replace(moved, title=title)
    _, completed = await stage.gateway.put_session(moved, wait=PATIENCE)
    assert (2, 2) == (completed.enrollments, completed.replanned)
    assert ChangeReceipt() == (await stage.gateway.put_session(moved, wait=PATIENCE))[1]


async def test_whoever_told_an_earlier_change_leaves_the_later_one(stage: Stage) -> None:
    """Of two changes at once, the first being told does not make the second look told."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 1)
    first = await stage.catalogue.put_session(replace(session, starts_at=session.starts_at + HOUR))
    later = replace(session, starts_at=session.starts_at + 2 * HOUR)
    await stage.catalogue.put_session(later)
    await stage.catalogue.passed_on(first)
    assert 1 == (await stage.gateway.put_session(later, wait=PATIENCE))[1].enrollments


async def test_whoever_does_not_say_a_status_changes_none(stage: Stage) -> None:
    """A copy without a status leaves an operator's cancel, also when it moves the session."""
    session = await stage.session(starts_in=25 * HOUR)
    await enrolled(stage, session, 1)
    await stage.gateway.cancel_session(session.id, wait=PATIENCE)
    for copy in (session, replace(session, starts_at=session.starts_at + HOUR)):
        change, _ = await stage.gateway.put_session(copy, keep_status=True, wait=PATIENCE)
        assert SessionStatus.CANCELLED is change.session.status
        assert SessionStatus.CANCELLED is (await stage.catalogue.session(session.id)).status
    assert 0 == await waiting(stage, session)
    change, _ = await stage.gateway.put_session(
        Session(id=uuid4(), title="New", starts_at=session.starts_at), keep_status=True
    )
    assert SessionStatus.SCHEDULED is change.session.status
