"""The workflows of a large session wake early, and nothing else is different."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import insert
from temporalio.client import WorkflowExecutionStatus

from reminders.db.tables import ReminderPreferenceRow
from reminders.delivery.policy import Step
from reminders.domain.model import Session
from tests.stage import Handle, Stage, eventually
from tests.workflows.crowd import a_crowd, made_ready_for
from workflows.session_reminder import HEARTBEAT_TIMEOUT, SEND_TIMEOUT

EARLY = timedelta(seconds=10)
"""Lead-in of whoever is tested: real time, since an activity waits in it."""
DAY = timedelta(days=1)


@pytest.fixture
async def crowded(stage: Stage) -> Session:
    """A session in three hours, with just so many enrolled that the next one wakes so early."""
    return await a_crowd(stage, EARLY)


@pytest.fixture
async def user_id(stage: Stage) -> UUID:
    """Whose lead-in is tested."""
    return await stage.attendee()


@pytest.fixture
async def made_ready(stage: Stage, crowded: Session, user_id: UUID) -> Handle:
    """The workflow of an attendee whose 2-hour reminder waits in a worker, not due yet."""
    return await made_ready_for(stage, crowded, user_id, EARLY)


def two_hours_before(session: Session) -> datetime:
    """When the reminder at hand is due."""
    return session.starts_at - timedelta(hours=2)


async def test_it_goes_out_at_its_instant_and_not_before(
    stage: Stage, crowded: Session, user_id: UUID, made_ready: Handle
) -> None:
    """The request is posted at the due instant, which is what the plan says as well."""
    posted: list[datetime] = []
    stage.on_step = lambda step: posted.append(stage.clock.now()) if step is Step.PACED else None
    due_at = two_hours_before(crowded)
    assert [due_at] == [
        r.due_at for r in (await stage.plan(made_ready)).reminders if r.reminder_type == "2h"
    ]

    await eventually(lambda: sent(stage, crowded, user_id))
    assert due_at <= posted[0] < due_at + timedelta(minutes=1)


async def test_a_cancel_while_it_waits_wins_at_once(
    stage: Stage, crowded: Session, user_id: UUID, made_ready: Handle
) -> None:
    """Cancelled by hand two seconds before: the run ends at once, and nothing goes out."""
    await made_ready.cancel()
    await eventually(lambda: ended(made_ready))
    assert stage.clock.now() < two_hours_before(crowded)
    assert {"cancelled: workflow_cancelled"} == waiting(await stage.statuses(crowded, user_id))
    await past_due(stage, crowded)
    assert [] == await stage.provider.accepted()


async def test_a_move_while_it_waits_wins(
    stage: Stage, crowded: Session, user_id: UUID, made_ready: Handle
) -> None:
    """Moved by a day a second before: nothing goes out at the old instant."""
    moved = Session(id=crowded.id, title=crowded.title, starts_at=crowded.starts_at + DAY)
    await stage.gateway.put_session(moved, wait=None)

    async def moved_in_the_plan() -> bool:
        plan = await stage.plan(made_ready)
        return {two_hours_before(moved)} <= {r.due_at for r in plan.reminders}

    await eventually(moved_in_the_plan)
    await past_due(stage, crowded)
    assert [] == await stage.provider.accepted()
    assert "scheduled" == (await stage.statuses(crowded, user_id))["2h"]


async def test_an_opt_out_while_it_waits_wins(
    stage: Stage, crowded: Session, user_id: UUID, made_ready: Handle
) -> None:
    """The preference is read when the reminder is let go."""
    async with stage.database.transaction() as connection:
        await connection.execute(
            insert(ReminderPreferenceRow), [{"user_id": user_id, "reason": "opted_out"}]
        )

    async def is_skipped() -> bool:
        return (await stage.statuses(crowded, user_id))["2h"] == "skipped: opted_out"

    await eventually(is_skipped)
    assert [] == await stage.provider.accepted()


async def test_a_worker_that_is_replaced_while_it_waits_loses_nothing(
    stage: Stage, crowded: Session, user_id: UUID, made_ready: Handle
) -> None:
    """The next worker has it at once, and sends it once."""
    await stage.stop_worker()
    await stage.start_worker()
    await eventually(lambda: sent(stage, crowded, user_id))
    assert 1 == len(await stage.provider.accepted())


async def test_a_crowd_needs_no_heartbeat_before_its_turn(made_ready: Handle) -> None:
    """A dead worker is noticed soon after the instant; of who woke long before, a little later.

    A worker that lives may take as long to tell what became of it as the crowd was spread over.
    """
    scheduled = [
        event.activity_task_scheduled_event_attributes
        for event in (await made_ready.fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    early = (scheduled[-1].start_to_close_timeout.ToTimedelta() - SEND_TIMEOUT) / 2
    assert timedelta() < early <= EARLY
    noticed_after = scheduled[-1].heartbeat_timeout.ToTimedelta() - early
    assert abs(noticed_after - HEARTBEAT_TIMEOUT - early / 10) < timedelta(milliseconds=1)


async def sent(stage: Stage, session: Session, user_id: UUID) -> bool:
    """Whether the reminder at hand was accepted."""
    return (await stage.statuses(session, user_id))["2h"] == "sent"


async def ended(handle: Handle) -> bool:
    """Whether the run is over."""
    return (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def past_due(stage: Stage, session: Session) -> None:
    """Wait until the instant at hand has passed, in the real time in which an activity waits."""
    after = two_hours_before(session) + timedelta(seconds=1)

    async def passed() -> bool:
        return stage.clock.now() > after

    await eventually(passed)


def waiting(statuses: dict[str, str]) -> set[str]:
    """What became of the reminders that lay ahead."""
    return {status for kind, status in statuses.items() if kind != "24h"}
