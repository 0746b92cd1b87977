"""What the provider takes: how fast requests may follow each other, and how many e-mails in all.

Pure. The provider counts by the second, and says "at most so many in each". So that many may go at
once, as long as no second of any clock sees more: when a crowd is due, its first requests do not
wait for each other. A crowd that lasts leaves gaps: from its third window on its requests are spread
over the window, so that whoever falls due in its middle does not wait for the next one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

MOST = 20
"""Requests at once; beyond it the window shrinks instead."""
TOGETHER = 3
"""Requests of a crowd that lasts which may go at once: one that is late holds up no other."""
REMEMBERED = 2 * MOST
"""Turns that are kept: two windows, by which a crowd that lasts is told from one that is soon out."""
_MARGIN = 1.1
"""Requests that leave a window apart arrive closer together, the more so if a process is busy."""


@dataclass(slots=True)
class Pace:
    """At most so many requests in any window of time. Whoever has it keeps it as it is now."""

    requests: int
    window: timedelta
    ceiling: float = field(default=math.inf, compare=False)
    """Requests a second that are never exceeded, whatever the provider takes."""
    apart: timedelta = field(default=timedelta(), compare=False)
    """What lies between two requests at the least."""

    @property
    def aside(self) -> timedelta:
        """Between two requests that nobody waits for: most of a window is left to the others."""
        return self.window / min(self.requests, 4)

    @classmethod
    def of(
        cls, per_second: float, *, is_ceiling: bool = True, apart: timedelta = timedelta()
    ) -> Self:
        """The pace of a rate.

        Args:
            per_second: Requests; may be less than one.
            is_ceiling: Whether it is never exceeded, or only kept until the provider has said what
                it takes (see `learn`).
            apart: What must lie between two requests at the least; with it none go at once.
        """
        pace = cls(1, timedelta(seconds=1), per_second if is_ceiling else math.inf, apart)
        pace.learn(per_second)
        return pace

    def learn(self, per_second: float) -> bool:
        """Keep to what the provider says it takes; whether that is another pace than before."""
        before = self.requests, self.window
        rate = min(per_second, self.ceiling)
        if self.apart:
            self.window = max(self.apart, timedelta(seconds=1 / rate))
        else:
            self.requests = max(1, min(int(rate), MOST))
            margin = _MARGIN if self.requests > 1 else 1.0
            self.window = timedelta(seconds=self.requests / rate * margin)
        return before != (self.requests, self.window)


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
