"""Replanners and deliverers that wait until they are let, for what happens in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.delivery import DeliveryActivities
from activities.session_change import SessionChangeActivities
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.domain.errors import DatabaseUnavailableError
from reminders.domain.model import ReminderStatus, Session
from reminders.domain.ports import Deliverer, ReplannedPage
from tests.stage import Handle, Stage, eventually, has_timer


class HeldReplanner:
    """Replans nobody, page by page, when it is let; notes where each page began."""

    def __init__(
        self, *pages: ReplannedPage, fails_at: int | None = None, away_for: int = 0
    ) -> None:
        """Answer with these pages; fail once at this one, or at so many calls, 23 hours apart."""
        self.pages = pages
        self.fails_at = fails_at
        self.away_for = away_for
        self.asked: list[UUID | None] = []
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def replan_page(
        self, session_id: UUID, *, after: UUID | None, limit: int, since: datetime
    ) -> ReplannedPage:
        """See `SessionReplanner.replan_page`."""
        self.asked.append(after)
        self.reached.set()
        await self.go.wait()
        if self.away_for > 0:
            self.away_for -= 1
            # As Temporal sees it: what asks for so long a wait itself is not believed.
            msg = "away"
            raise ApplicationError(msg, next_retry_delay=timedelta(hours=23))
        page = next(n for n, _ in enumerate(self.pages) if after == self._before(n))
        if page == self.fails_at:
            self.fails_at = None
            raise DatabaseUnavailableError
        return self.pages[page]

    def _before(self, page: int) -> UUID | None:
        return self.pages[page - 1].after if page else None

    def worker(self, stage: Stage) -> Worker:
        """A worker that does what this one says."""
        activities = SessionChangeActivities(self)
        return Worker(
            stage.client,
            task_queue=stage.settings.temporal_task_queue,
            activities=[activities.replan_enrollments],
        )


class HeldDeliverer:
    """Finds out that a session has moved, and says so when it is let."""

    def __init__(self, found: DeliveryOutcome) -> None:
        """Say this."""
        self.found = found
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """See `Deliverer.deliver`."""
        self.reached.set()
        await self.go.wait()
        return self.found

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """See `Deliverer.close`."""
        raise AssertionError(request)


class LateCloser:
    """Gives every reminder up, and records that only when it is let."""

    def __init__(self, deliverer: Deliverer) -> None:
        """Record by this one."""
        self._deliverer = deliverer
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """See `Deliverer.deliver`."""
        raise ApplicationError(run_id, reminder, type="MailQuotaExceededError", non_retryable=True)

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """See `Deliverer.close`."""
        self.reached.set()
        await self.go.wait()
        return await self._deliverer.close(request)


def worker_for(stage: Stage, deliverer: Deliverer) -> Worker:
    """A worker that delivers by this, on the stage's task queue."""
    activities = DeliveryActivities(deliverer)
    return Worker(
        stage.client,
        task_queue=stage.settings.temporal_task_queue,
        activities=[activities.deliver_reminder, activities.close_reminders],
    )


@asynccontextmanager
async def an_overtaken_delivery(
    stage: Stage,
    handle: Handle,
    session: Session,
    user_id: UUID,
    *,
    found: timedelta,
    planned: timedelta,
) -> AsyncIterator[None]:
    """A 30-minute reminder is found too early by so much, and planned anew meanwhile by so much.

    The context is what follows, with the workflow asleep once more.
    """
    half_an_hour = timedelta(minutes=30)
    await eventually(lambda: has_timer(handle))
    await stage.stop_worker()
    deliverer = HeldDeliverer(
        DeliveryOutcome(
            status=ReminderStatus.SCHEDULED,
            due_at=session.starts_at + found - half_an_hour,
            starts_at=session.starts_at + found,
        )
    )
    async with worker_for(stage, deliverer):
        due_in = session.starts_at - half_an_hour - stage.clock.now()
        passing = asyncio.create_task(
            stage.skipper.fast_forward(handle, due_in + timedelta(minutes=1))
        )
        await deliverer.reached.wait()
        await stage.catalogue.put_session(replace(session, starts_at=session.starts_at + planned))
        handed = await stage.handover.hand_over(await stage.planner.replan(session.id, user_id))
        assert handed.is_confirmed
        deliverer.go.set()
        await passing
        await eventually(lambda: has_timer(handle))
        yield
