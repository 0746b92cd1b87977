"""How many e-mails the provider still takes, of a day and of a month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """How much of a quota is used."""

    used: int
    limit: int | None
    """E-mails; `None` is unlimited."""
    resets_at: datetime

    @property
    def remaining(self) -> int | None:
        """E-mails that still fit; `None` is any number."""
        return None if self.limit is None else max(self.limit - self.used, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """The provider's quotas of the day and of the month."""

    daily: Quota
    monthly: Quota

    @property
    def tightest(self) -> Quota:
        """The quota with the least left; of two with as much, the one renewed later."""
        return min(
            (self.daily, self.monthly),
            key=lambda q: (
                float("inf") if q.remaining is None else q.remaining,
                -q.resets_at.timestamp(),
            ),
        )
