"""Whether the provider takes e-mails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from reminders.db.provider import QuotaReading
from reminders.domain.model import (
    StatusReason,
)
from reminders.domain.ports import Hold
from starter.api.answers.base import Out


class QuotaOut(Out):
    """A quota of the provider, as it was told last."""

    name: str
    """`daily` or `monthly`."""
    used: int
    limit: int | None
    """E-mails; null is unlimited."""
    resets_at: datetime
    checked_at: datetime
    sent_since: int
    """Reminders that the provider has accepted since then; they come on top of `used`."""


class DeliveryStateOut(Out):
    """Whether the provider takes e-mails at present."""

    held_because: StatusReason | None
    """`quota` or `misconfigured`: nothing is posted; null when all is well."""
    held_sender: str | None
    """Fingerprint of the key and sender that are refused, which each worker logs at its start: those
    that post with others go on. Null when all workers are held, or none."""
    held_until: datetime | None
    """When it is tried again by itself."""
    quotas: list[QuotaOut]
    """Empty while the provider has not told, as to a key that may only send."""

    @classmethod
    def of(cls, hold: Hold | None, quotas: Sequence[QuotaReading]) -> Self:
        """The shared state as JSON."""
        return cls(
            held_because=hold.reason if hold else None,
            held_sender=hold.sender if hold else None,
            held_until=hold.until if hold else None,
            quotas=[QuotaOut.model_validate(q, from_attributes=True) for q in quotas],
        )


class ResumedOut(Out):
    """Delivery goes on."""

    held_because: StatusReason | None
    """What it was held for; null if it was not."""
