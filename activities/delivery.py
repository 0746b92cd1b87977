"""The activities that deliver reminders. No I/O library is imported here: see `reminders.ports`."""

from __future__ import annotations

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeat import heartbeating
from reminders.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.ports import Deliverer


class DeliveryActivities:
    """Sends reminders, and closes those that are not to be sent."""

    def __init__(self, deliverer: Deliverer) -> None:
        """Deliver through this; the worker hands over its delivery pipeline."""
        self._deliverer = deliverer

    @activity.defn
    async def deliver_reminder(self, reminder: DeliverReminderInput) -> DeliveryOutcome:
        """Send one reminder, if it is still wanted, and record what became of it.

        May run twice, and on two workers at once: the ledger freezes each e-mail before it is
        posted, and the provider accepts a frozen request once. Final errors are
        `ReminderNotFoundError`; everything else is worth another attempt until the session starts.
        """
        with as_application_errors():
            async with heartbeating():
                run_id = activity.info().workflow_run_id or ""
                return await self._deliverer.deliver(reminder, run_id=run_id)

    @activity.defn
    async def close_reminders(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Mark reminders that still wait as cancelled or failed.

        A reminder frozen in a request is resolved first, so this is retried until it is: when a
        run has ended, nothing of it can go out any more. May run twice: only rows that still wait
        are touched. No error is final.
        """
        with as_application_errors():
            return await self._deliverer.close(request)
