"""The activities that deliver reminders. No I/O library is imported here: see `reminders.domain.ports`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

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
from reminders.domain.ports import Deliverer

_ELSEWHERE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class DeliveryActivities:
    """Sends reminders, and closes those that are not to be sent."""

    deliverer: Deliverer

    @activity.defn
    async def deliver_reminder(self, reminder: DeliverReminderInput) -> DeliveryOutcome:
        """Send one reminder, if it is still wanted, and record what became of it.

        May run twice, and on two workers at once: the ledger freezes each e-mail before it is
        posted, and the provider accepts a frozen request once. Final errors are
        `ReminderNotFoundError`; everything else is worth another attempt until the session starts.
        """
        info = activity.info()
        early = reminder.due_at - info.started_time
        with as_application_errors(final=(ReminderNotFoundError,), useful_until=reminder.starts_at):
            async with heartbeating(quiet_for=early):
                delivery = asyncio.ensure_future(
                    self.deliverer.deliver(reminder, run_id=info.workflow_run_id or "")
                )
                if early > timedelta():
                    await _unless_worker_stops(delivery, early)
                return await delivery

    @activity.defn
    async def close_reminders(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Mark reminders that still wait as cancelled or failed.

        A reminder frozen in a request is resolved first, so this is retried until it is: when a
        run has ended, nothing of it can go out any more. May run twice: only rows that still wait
        are touched. No error is final.
        """
        with as_application_errors(final=()):
            return await self.deliverer.close(request)


async def _unless_worker_stops(delivery: asyncio.Future[DeliveryOutcome], early: timedelta) -> None:
    """Wait for what becomes of a reminder that came early, or hand it on before it is due.

    Nothing wakes at the due instant but the delivery itself: a crowd has enough to do then.

    Raises:
        NotDueYetError: This worker is about to stop.
    """
    clock = asyncio.get_running_loop().time
    due = clock() + early.total_seconds()
    stop = asyncio.ensure_future(activity.wait_for_worker_shutdown())
    try:
        try:
            await asyncio.wait((delivery, stop), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            delivery.cancel()
            if clock() < due:
                raise
            return  # it may be under way: what becomes of it is waited for
        if stop.done() and not delivery.done() and clock() < due:
            delivery.cancel()
            raise NotDueYetError(retry_after=_ELSEWHERE)
    finally:
        stop.cancel()
