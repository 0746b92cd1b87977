"""Records the histories that `test_replay.py` replays. Not a test: `python3 dev.py histories`.

Run it once in a release that changes a workflow's commands, after raising `VERSION`: it adds files
named for the version, and leaves alone whatever is there.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from temporalio.client import WorkflowFailureError

from reminders.db.tables import SessionRow
from reminders.delivery.policy import Step
from reminders.domain.contracts import SessionChangeResult
from reminders.domain.ports import ReplannedPage
from tests.stage import Handle, Stage, attempted, eventually
from tests.workflows.crowd import a_crowd, made_ready_for
from tests.workflows.held import HeldReplanner, an_overtaken_delivery

VERSION = "1"
"""Of the sequence of commands; counts up with every patch."""
LEAD_IN = timedelta(seconds=4)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def asleep(stage: Stage) -> Handle:
    """Between two reminders."""
    handle = await stage.enroll(await stage.session(starts_in=7 * DAY))
    await stage.forward(6 * DAY + HOUR, handle)
    return handle


async def finished(stage: Stage) -> Handle:
    """Three reminders sent."""
    handle = await stage.enroll(await stage.session(starts_in=7 * DAY))
    await stage.forward(7 * DAY, handle)
    await handle.result()
    return handle


async def late_sign_up(stage: Stage) -> Handle:
    """Two reminders past due, one sent."""
    handle = await stage.enroll(await stage.session(starts_in=90 * MINUTE))
    await stage.forward(2 * HOUR, handle)
    return handle


async def nothing_to_send(stage: Stage) -> Handle:
    """A session that has begun."""
    handle = await stage.enroll(await stage.session(starts_in=-DAY))
    await handle.result()
    return handle


async def moved(stage: Stage) -> Handle:
    """Moved while asleep, then moved again after the first reminder."""
    session = await stage.session(starts_in=25 * HOUR)
    handle = await stage.enroll(session)
    await stage.session(starts_in=26 * HOUR, id=session.id)
    await stage.forward(2 * HOUR + MINUTE, handle)
    await stage.session(starts_in=24 * HOUR, id=session.id)
    await stage.forward(25 * HOUR, handle)
    return handle


async def moved_unannounced(stage: Stage) -> Handle:
    """Moved behind our back, found when the reminder was due."""
    session = await stage.session(starts_in=3 * HOUR)
    handle = await stage.enroll(session)
    async with stage.database.transaction() as connection:
        await connection.execute(update(SessionRow).values(start_time=session.starts_at + 4 * HOUR))
    await stage.forward(8 * HOUR, handle)
    return handle


async def cancelled_asleep(stage: Stage) -> Handle:
    """Cancelled between two reminders."""
    handle = await asleep(stage)
    await handle.cancel()
    with suppress(WorkflowFailureError):
        await handle.result()
    return handle


async def cancelled_in_flight(stage: Stage) -> Handle:
    """Cancelled while the request was under way."""
    handle = await stage.enroll(await stage.session(starts_in=25 * HOUR))
    await stage.provider.faults(kind="slow", latency_ms=500, count=1)
    await stage.cancel_at(Step.PACED, handle)
    await stage.skipper.fast_forward(handle, 61 * MINUTE)
    with suppress(WorkflowFailureError):
        await handle.result()
    return handle


async def retrying(stage: Stage) -> Handle:
    """In the back-off of a send that keeps failing."""
    handle = await stage.enroll(await stage.session(starts_in=25 * HOUR))
    await stage.provider_refuses()
    await stage.skipper.fast_forward(handle, 61 * MINUTE)
    await eventually(lambda: attempted(handle, 2))
    return handle


async def expired(stage: Stage) -> Handle:
    """The provider was away until the session began."""
    handle = await stage.enroll(await stage.session(starts_in=31 * MINUTE))
    await stage.provider_refuses()
    await stage.forward(3 * HOUR, handle)
    await handle.result()
    return handle


async def failed(stage: Stage) -> Handle:
    """The provider refused us until the session began, and the workflow recorded the failure."""
    handle = await stage.enroll(await stage.session(starts_in=31 * MINUTE))
    await stage.provider.faults(kind="status", status=403, name="invalid_api_key")
    await stage.forward(35 * MINUTE, handle)
    await handle.result()
    return handle


async def overtaken_failing(stage: Stage) -> Handle:
    """Moved while the provider refused us; the delivery failed at the old start."""
    session = await stage.session(starts_in=31 * MINUTE)
    handle = await stage.enroll(session)
    await stage.provider.faults(kind="status", status=403, name="invalid_api_key")
    await stage.skipper.fast_forward(handle, 2 * MINUTE)
    await eventually(lambda: attempted(handle, 2))
    await stage.session(starts_in=75 * MINUTE, id=session.id)
    await stage.forward(35 * MINUTE, handle)
    await eventually(lambda: stage.is_at_rest(handle))
    return handle


async def overtaken_early(stage: Stage) -> Handle:
    """Moved twice while a delivery was under way, which had read the first move."""
    session, user = await stage.session(starts_in=31 * MINUTE), await stage.attendee()
    handle = await stage.enroll(session, user)
    moves = {"found": 5 * HOUR, "planned": 3 * HOUR}
    async with an_overtaken_delivery(stage, handle, session, user, **moves):
        return handle


async def lead_in_waiting(stage: Stage) -> Handle:
    """Made ready a little early, not due yet."""
    session = await a_crowd(stage, LEAD_IN)
    return await made_ready_for(stage, session, await stage.attendee(), LEAD_IN)


async def lead_in_cancelled(stage: Stage) -> Handle:
    """Cancelled by hand after it was made ready, and before it was due."""
    handle = await lead_in_waiting(stage)
    await handle.cancel()
    with suppress(WorkflowFailureError):
        await handle.result()
    return handle


async def lead_in_finished(stage: Stage) -> Handle:
    """Made ready early, and gone out at its instant."""
    handle = await lead_in_waiting(stage)
    await eventually(lambda: accepted(stage, 1))
    await stage.forward(3 * HOUR, handle)
    await handle.result()
    return handle


async def accepted(stage: Stage, count: int) -> bool:
    """Whether this many e-mails are out."""
    return len(await stage.provider.accepted()) == count


async def sweep_nothing(stage: Stage) -> Handle:
    """A sweep with nothing to repair."""
    handle = await stage.start_sweep()
    await handle.result()
    return handle


async def sweep_repairs(stage: Stage) -> Handle:
    """A sweep that finds a session moved behind our back."""
    session = await stage.session(starts_in=7 * DAY)
    await stage.enroll(session)
    async with stage.database.transaction() as connection:
        await connection.execute(update(SessionRow).values(start_time=session.starts_at + 4 * HOUR))
    return await sweep_nothing(stage)


async def session_change_done(stage: Stage) -> Handle:
    """A move that two people were told of."""
    session = await stage.session(starts_in=7 * DAY)
    for _ in range(2):
        await stage.enroll(session)
    await stage.session(starts_in=8 * DAY, id=session.id)
    handle = stage.change_of(session)
    await handle.result()
    return handle


async def session_change_under_way(stage: Stage) -> Handle:
    """In the middle of a pass, and changed again."""
    session = await stage.session(starts_in=7 * DAY)
    replanner = HeldReplanner()
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        await stage.gateway.session_changed(session.id, wait=None)
        return stage.change_of(session)


async def session_change_again(stage: Stage) -> Handle:
    """Changed during the pass, so that there were two."""
    session = await stage.session(starts_in=7 * DAY)
    replanner = HeldReplanner(ReplannedPage(counts=SessionChangeResult(), after=None))
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        await stage.gateway.session_changed(session.id, wait=None)
        replanner.go.set()
        handle = stage.change_of(session)
        await handle.result()
    return handle


async def session_change_cancelled(stage: Stage) -> Handle:
    """Cancelled by hand in the middle of a pass."""
    session = await stage.session(starts_in=7 * DAY)
    replanner = HeldReplanner()
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        handle = stage.change_of(session)
        await handle.cancel()
        with suppress(WorkflowFailureError):
            await handle.result()
    return handle


async def session_change_outlived(stage: Stage) -> Handle:
    """A pass failed for a day, and the session had changed again meanwhile."""
    session = await stage.session(starts_in=7 * DAY)
    page = ReplannedPage(counts=SessionChangeResult(enrollments=1, replanned=1), after=None)
    replanner = HeldReplanner(page, away_for=2)
    stage.let_time_fly()
    await stage.stop_worker()
    async with replanner.worker(stage):
        await stage.gateway.session_changed(session.id, wait=None)
        await replanner.reached.wait()
        await stage.gateway.session_changed(session.id, wait=None)
        replanner.go.set()
        await stage.change_of(session).result()
    return stage.change_of(session)


@pytest.mark.parametrize(
    "scenario",
    [
        asleep,
        finished,
        late_sign_up,
        nothing_to_send,
        moved,
        moved_unannounced,
        cancelled_asleep,
        cancelled_in_flight,
        retrying,
        expired,
        failed,
        overtaken_failing,
        overtaken_early,
        lead_in_waiting,
        lead_in_cancelled,
        lead_in_finished,
        sweep_nothing,
        sweep_repairs,
        session_change_done,
        session_change_under_way,
        session_change_again,
        session_change_cancelled,
        session_change_outlived,
    ],
    ids=lambda scenario: scenario.__name__,
)
async def test_record(stage: Stage, scenario: Callable[[Stage], Awaitable[Handle]]) -> None:
    """Play a scenario and write its history, unless this version has it already."""
    name = f"v{VERSION}-{scenario.__name__.replace('_', '-')}.json"
    file = Path(__file__).parent / "histories" / name
    if file.exists():
        pytest.skip("recorded; what is new has a higher VERSION, or another name")
    handle = await scenario(stage)
    history = (await handle.fetch_history()).to_json()
    # Stack traces name folders of the machine on which they were recorded; replay reads none.
    history = re.sub(r'"stackTrace": "(?:[^"\\]|\\.)*"', '"stackTrace": ""', history)
    file.write_text(history + "\n")
