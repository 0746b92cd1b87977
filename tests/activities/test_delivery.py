"""The activities in Temporal's own test environment: heartbeats, cancellation, errors."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.delivery import DeliveryActivities
from activities.heartbeat import BEATS
from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.domain.delivery_errors import MailRateLimitedError
from reminders.domain.model import ReminderStatus, StatusReason
from tests.stage import eventually
from workflows.session_reminder import HEARTBEAT_TIMEOUT

NOW = datetime(2026, 11, 23, tzinfo=UTC)
REMINDER = DeliverReminderInput(reminder_id=UUID(int=1), due_at=NOW, starts_at=NOW)


class SlowDeliverer:
    """Delivers once it is told to, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        """Wait for `go`, then raise the error if there is one."""
        self.go = asyncio.Event()
        self.error = error
        self.runs: list[str] = []

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """See `Deliverer.deliver`."""
        self.runs.append(run_id)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return DeliveryOutcome(status=ReminderStatus.SENT)

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """See `Deliverer.close`."""
        return CloseRemindersResult(closed=len(request.reminder_ids), in_doubt=0)


def has_begun(deliverer: SlowDeliverer, times: int = 1) -> Callable[[], Awaitable[bool]]:
    """Whether a delivery has been asked for, so many times."""

    async def begun() -> bool:
        return len(deliverer.runs) == times

    return begun


def environment(**info: Any) -> ActivityEnvironment:
    """An environment whose activity has this in its info."""
    env = ActivityEnvironment()
    env.info = dataclasses.replace(env.info, **{"started_time": NOW, **info})
    return env


async def test_a_send_that_waits_heartbeats_and_a_quick_one_does_not() -> None:
    """Two beats within a heartbeat timeout; none before half of it has passed."""
    beats = asyncio.Event()
    env = environment(heartbeat_timeout=timedelta(milliseconds=30))
    env.on_heartbeat = lambda *_: beats.set()
    deliverer = SlowDeliverer()
    run = asyncio.create_task(env.run(DeliveryActivities(deliverer).deliver_reminder, REMINDER))
    await asyncio.wait_for(beats.wait(), 5)
    deliverer.go.set()
    assert ReminderStatus.SENT is (await run).status

    beats.clear()
    env = environment(heartbeat_timeout=timedelta(seconds=30))
    env.on_heartbeat = lambda *_: beats.set()
    await env.run(DeliveryActivities(deliverer).deliver_reminder, REMINDER)
    assert not beats.is_set()


async def test_a_timeout_shorter_than_the_wait_is_kept() -> None:
    """A workflow of a later release may set one: a beat within it, and no flood of them."""
    beats: list[None] = []
    env = environment(
        heartbeat_timeout=timedelta(seconds=1), started_time=NOW - timedelta(minutes=1)
    )
    env.on_heartbeat = lambda *_: beats.append(None)
    deliverer = SlowDeliverer()
    run = asyncio.create_task(env.run(DeliveryActivities(deliverer).deliver_reminder, REMINDER))
    await asyncio.sleep(1)
    deliverer.go.set()
    await run
    assert 0 < len(beats) < 5


async def test_a_crowd_that_waits_for_its_instant_says_nothing() -> None:
    """Made ready a minute early, a send does not heartbeat before it is due."""
    beats: list[None] = []
    env = environment(
        heartbeat_timeout=timedelta(minutes=1, milliseconds=30),
        started_time=NOW - timedelta(minutes=1),
    )
    env.on_heartbeat = lambda *_: beats.append(None)
    deliverer = SlowDeliverer()
    run = asyncio.create_task(env.run(DeliveryActivities(deliverer).deliver_reminder, REMINDER))
    await eventually(has_begun(deliverer))
    await asyncio.sleep(0.1)  # several beats of a send that is due
    deliverer.go.set()
    await run
    assert [] == beats


def test_a_crowd_is_told_its_outcome_before_it_would_heartbeat() -> None:
    """Thousands of heartbeats would keep the server from those who woke at the due instant."""
    assert DeliveryPolicy().calm < HEARTBEAT_TIMEOUT / BEATS


async def test_a_worker_that_stops_hands_a_waiting_crowd_over() -> None:
    """What is not due yet is another worker's at once; what is due ends where it is."""
    env = environment(
        heartbeat_timeout=timedelta(minutes=1), started_time=NOW - timedelta(minutes=1)
    )
    deliverer = SlowDeliverer()
    activities = DeliveryActivities(deliverer)
    due = asyncio.create_task(environment().run(activities.deliver_reminder, REMINDER))
    await eventually(has_begun(deliverer))
    run = asyncio.create_task(env.run(activities.deliver_reminder, REMINDER))
    await eventually(has_begun(deliverer, 2))
    env.worker_shutdown()
    with pytest.raises(ApplicationError) as handed_over:
        await run
    deliverer.go.set()
    assert ReminderStatus.SENT is (await due).status
    assert ("NotDueYetError", timedelta(seconds=1)) == (
        handed_over.value.type,
        handed_over.value.next_retry_delay,
    )


@pytest.mark.parametrize(
    ("heartbeat_timeout", "early", "left", "goes_back"),
    [
        (timedelta(minutes=6), timedelta(minutes=-1), timedelta(minutes=4), True),
        (timedelta(minutes=6), timedelta(minutes=-1), timedelta(minutes=6, seconds=20), True),
        (timedelta(minutes=6), timedelta(minutes=-1), timedelta(minutes=30), False),
        (timedelta(minutes=6), timedelta(minutes=5), timedelta(minutes=6), False),
        (timedelta(minutes=6), timedelta(minutes=-1), timedelta(seconds=20), False),
        (timedelta(seconds=5), timedelta(), timedelta(seconds=4), False),
    ],
    ids=["too long", "hardly in time", "in time", "suits it", "too late", "short"],
)
async def test_a_second_death_is_noticed_before_the_start(
    heartbeat_timeout: timedelta, early: timedelta, left: timedelta, *, goes_back: bool
) -> None:
    """Where the first attempt's time-outs would outlast the start, it is scheduled anew."""
    env = environment(heartbeat_timeout=heartbeat_timeout)
    deliverer = SlowDeliverer()
    deliverer.go.set()
    reminder = dataclasses.replace(REMINDER, due_at=NOW + early, starts_at=NOW + left)
    activities = DeliveryActivities(deliverer)
    outcome = await env.run(activities.deliver_reminder, reminder)
    anew = DeliveryOutcome(status=ReminderStatus.SCHEDULED, due_at=reminder.due_at)
    assert (outcome == anew, not deliverer.runs) == (goes_back, goes_back)

    # Of a crowd's no more at once than wake in time.
    assert ReminderStatus.SENT is (await env.run(activities.deliver_reminder, reminder)).status


async def test_the_run_s_id_reaches_the_ledger() -> None:
    """The deliverer is told which run asks."""
    env, deliverer = environment(workflow_run_id="the-run"), SlowDeliverer()
    deliverer.go.set()
    await env.run(DeliveryActivities(deliverer).deliver_reminder, REMINDER)
    assert ["the-run"] == deliverer.runs


async def test_trouble_crosses_as_temporal_s_error() -> None:
    """The provider's wish for a pause becomes the next attempt's delay."""
    deliverer = SlowDeliverer(MailRateLimitedError(retry_after=timedelta(seconds=3)))
    deliverer.go.set()
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(DeliveryActivities(deliverer).deliver_reminder, REMINDER)
    assert timedelta(seconds=3) == raised.value.next_retry_delay


async def test_closing_passes_through() -> None:
    """What the ledger closed is the result."""
    request = CloseRemindersInput(
        reminder_ids=(UUID(int=1), UUID(int=2)),
        status=ReminderStatus.CANCELLED,
        reason=StatusReason.UNENROLLED,
    )
    activities = DeliveryActivities(SlowDeliverer())
    result = await ActivityEnvironment().run(activities.close_reminders, request)
    assert 2 == result.closed
