"""A workflow that only sleeps, then runs an activity that does nothing; it can be told another instant."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import activity, workflow

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from reminders.clock import SystemClock
    from reminders.domain.contracts import DeliverReminderInput, DeliveryOutcome
    from reminders.domain.model import ReminderStatus

NOTHING = UUID(int=0)


class EmptyActivities(DeliveryActivities):
    """The worker's activities; delivering does nothing."""

    def __init__(self) -> None:
        """Without anything to deliver through."""

    @activity.defn
    async def deliver_reminder(self, reminder: DeliverReminderInput) -> DeliveryOutcome:
        """Say when this ran, as `due_at`. May run twice: nothing is done."""
        now = SystemClock().now()
        return DeliveryOutcome(status=ReminderStatus.SENT, due_at=now, starts_at=reminder.starts_at)


@workflow.defn
class EmptyWorkflow:
    """Sleeps until an instant, runs one activity, and ends with the instant at which that ran.

    **Workflow Id**: `floor:{number}`.
    """

    @workflow.init
    def __init__(self, due_at: datetime) -> None:
        """Remember when it is to wake."""
        self._due_at = due_at

    @workflow.run
    async def run(self, due_at: datetime) -> datetime:
        """Sleep, then do nothing."""
        while (due_at := self._due_at) > workflow.now():
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda asleep=due_at: self._due_at != asleep,  # type: ignore[misc]
                    timeout=due_at - workflow.now(),
                )
        outcome = await workflow.execute_activity_method(
            EmptyActivities.deliver_reminder,
            DeliverReminderInput(reminder_id=NOTHING, due_at=due_at, starts_at=due_at),
            start_to_close_timeout=timedelta(seconds=30),
        )
        return outcome.due_at or due_at

    @workflow.update
    async def move(self, due_at: datetime) -> datetime:
        """Sleep until another instant."""
        self._due_at = due_at
        return due_at
