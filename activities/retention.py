"""The activity that forgets what is only needed for a while."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity

from activities.failures import as_application_errors
from reminders.domain.upkeep import Retention


@dataclass(frozen=True, slots=True)
class RetentionActivities:
    """Keeps tables from growing for ever."""

    retention: Retention

    @activity.defn
    async def forget_what_is_old(self) -> int:
        """Remove what nobody needs any more, and count it.

        May run twice, and at the same time as another: what is gone is gone. No error is final.
        """
        with as_application_errors():
            return await self.retention.forget()
