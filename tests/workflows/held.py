"""A replanner that waits until it is let, for what happens in the middle of a pass."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

from temporalio.worker import Worker

from activities.session_change import SessionChangeActivities
from reminders.errors import DatabaseUnavailableError, RetryDeliveryError
from reminders.ports import ReplannedPage
from tests.stage import Stage


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
            raise RetryDeliveryError(retry_after=timedelta(hours=23))
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
