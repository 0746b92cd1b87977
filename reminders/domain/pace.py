"""How fast requests may follow each other, whoever posts them.

Pure. The provider counts by the second, and says "at most so many in each". So that many may go at
once, as long as no second of any clock sees more: when a crowd is due, its first requests do not
wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

_MOST = 20
"""Requests at once; beyond it the window shrinks instead."""
_MARGIN = 1.05
"""Requests that leave a window apart arrive a little closer together now and then."""


@dataclass(frozen=True, slots=True)
class Pace:
    """At most so many requests in any window of time."""

    requests: int
    window: timedelta

    @property
    def aside(self) -> timedelta:
        """Between two requests that nobody waits for: most of a window is left to the others."""
        return self.window / min(self.requests, 4)

    @classmethod
    def of(cls, per_second: float, *, apart: timedelta = timedelta()) -> Self:
        """The pace of a rate.

        Args:
            per_second: What the provider takes; may be less than one.
            apart: What must lie between two requests at the least; with it none go at once.
        """
        if apart:
            return cls(1, max(apart, timedelta(seconds=1 / per_second)))
        requests = max(1, min(int(per_second), _MOST))
        margin = _MARGIN if requests > 1 else 1.0
        return cls(requests, timedelta(seconds=requests / per_second * margin))
