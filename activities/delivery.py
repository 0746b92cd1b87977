"""The activities that deliver reminders. No I/O library is imported here: see `reminders.domain.ports`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeat import heartbeating
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.domain.delivery_errors import NotDueYetError
from reminders.domain.errors import ReminderNotFoundError
from reminders.domain.lead_in import APART
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import Deliverer

_ELSEWHERE = timedelta(seconds=1)
_SOON = timedelta(seconds=30)
"""So much later than a fresh attempt's death, or so long before the start, one is noticed in time."""


@dataclass(eq=False, slots=True)
class DeliveryActivities:
    """Sends reminders, and closes those that are not to be sent."""

    deliverer: Deliverer
    _early: dict[asyncio.Task[Any], float] = field(default_factory=dict, init=False)
    """Calls whose reminder is not due yet, and when it will be, by `loop.time()`."""
    _next_goes_back: float = field(default=0, init=False)
    """Not before then, by `loop.time()`."""
    _watch: asyncio.Task[None] | None = field(default=None, init=False)

    @activity.defn
    async def deliver_reminder(self, reminder: DeliverReminderInput) -> DeliveryOutcome:
        """Send one reminder, if it is still wanted, and record what became of it.

        May run twice, and on two workers at once: the ledger freezes each e-mail before it is
        posted, and the provider accepts a frozen request once. Final errors are
        `ReminderNotFoundError`; everything else is worth another attempt until the session starts.
        """
        info = activity.info()
        if self._goes_back(info, reminder):
            return DeliveryOutcome(status=ReminderStatus.SCHEDULED, due_at=reminder.due_at)
        early = reminder.due_at - info.started_time
        with as_application_errors(final=(ReminderNotFoundError,), useful_until=reminder.starts_at):
            async with heartbeating(quiet_for=early):
                with self._unless_worker_stops(early):
                    return await self.deliverer.deliver(reminder, run_id=info.workflow_run_id or "")

    @activity.defn
    async def close_reminders(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Mark reminders that still wait as cancelled or failed.

        A reminder frozen in a request is resolved first, so this is retried until it is: when a
        run has ended, nothing of it can go out any more. May run twice: only rows that still wait
        are touched. No error is final.
        """
        with as_application_errors(final=()):
            return await self.deliverer.close(request)

    def _goes_back(self, info: activity.Info, reminder: DeliverReminderInput) -> bool:
        """Whether the workflow is to schedule a reminder anew; of a crowd, as many as wake in time."""
        now = asyncio.get_running_loop().time()
        if now < self._next_goes_back or not _would_be_missed(info, reminder):
            return False
        self._next_goes_back = now + APART.total_seconds()
        return True

    @contextmanager
    def _unless_worker_stops(self, early: timedelta) -> Iterator[None]:
        """Break off what is not due yet when the worker is about to stop: another takes it over.

        Thousands may wait here, so one task watches for all of them.

        Raises:
            NotDueYetError: This worker is about to stop.
        """
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if early <= timedelta() or task is None:
            yield
            return
        self._early[task] = loop.time() + early.total_seconds()
        if self._watch is None or self._watch.done():
            self._watch = loop.create_task(self._hand_on())
        try:
            yield
        except asyncio.CancelledError:
            if task in self._early:
                raise
            task.uncancel()
            raise NotDueYetError(retry_after=_ELSEWHERE) from None
        finally:
            self._early.pop(task, None)

    async def _hand_on(self) -> None:
        await activity.wait_for_worker_shutdown()
        now = asyncio.get_running_loop().time()
        for task in [task for task, due in self._early.items() if due > now]:
            del self._early[task]
            task.cancel()


def _would_be_missed(info: activity.Info, reminder: DeliverReminderInput) -> bool:
    """Whether nobody would notice in time for another attempt that this worker has died.

    Time-outs grow with the lead-in, and further attempts have those of the first. Scheduled anew, the
    reminder gets some that suit what is left.
    """
    timeout = info.heartbeat_timeout or timedelta()
    left = reminder.starts_at - info.started_time
    early = max(reminder.due_at - info.started_time, timedelta())
    return left > _SOON and timeout > max(early * 1.1 + _SOON, left - _SOON)
