"""The observer of a pipeline that nobody watches."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

from reminders.domain.model import ReminderStatus, StatusReason


class Unobserved:
    """`DeliveryObserver` that does nothing."""

    def gathered(self, count: int) -> None:
        """See `DeliveryObserver.gathered`."""

    def frozen(self, count: int) -> None:
        """See `DeliveryObserver.frozen`."""

    def requesting(self) -> AbstractContextManager[None]:
        """See `DeliveryObserver.requesting`."""
        return nullcontext()

    def accepted(self, lag: timedelta) -> None:
        """See `DeliveryObserver.accepted`."""

    def ended(self, status: ReminderStatus, reason: StatusReason | None, count: int = 1) -> None:
        """See `DeliveryObserver.ended`."""
