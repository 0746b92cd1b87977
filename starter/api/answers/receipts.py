"""What was called off."""

from __future__ import annotations

from typing import Self

from starter.api.answers.base import Out
from starter.services.receipts import CancelReceipt


class CancelReceiptOut(Out):
    """What calling off did: counts of reminders."""

    cancelled: int
    already_sent: int
    in_flight: int
    """Handed to the provider already; the delivery resolves them."""

    @classmethod
    def of(cls, receipt: CancelReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(**called_off(receipt))


def called_off(receipt: CancelReceipt) -> dict[str, int]:
    """The counts that every receipt of a cancelling has."""
    return {
        "cancelled": receipt.cancelled,
        "already_sent": receipt.already_sent,
        "in_flight": receipt.in_flight,
    }
