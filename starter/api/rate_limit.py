"""How often somebody may fail, or ask for what is costly; kept in this process, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from time import monotonic

LARGEST = 10_000
"""Callers that are remembered; whoever was seen longest ago is forgotten first."""


class RateLimit:
    """A bucket of permits for each caller: so many at once, then one every so often."""

    def __init__(
        self,
        *,
        burst: int,
        every: float,
        largest: int = LARGEST,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """All buckets are full.

        Args:
            burst: Permits of a caller who has not asked for long.
            every: Seconds until one more.
            largest: Callers that are remembered at the most.
            now: Seconds since whenever; tests bring their own.
        """
        self._burst = burst
        self._every = every
        self._largest = largest
        self._now = now
        self._empty_until: OrderedDict[str, float] = OrderedDict()
        """When each caller's bucket is full again, least recently seen first."""

    def take(self, caller: str) -> int | None:
        """Use up a permit.

        Returns:
            `None` if there was one, else the whole seconds until the next.
        """
        now = self._now()
        full_at = max(self._empty_until.get(caller, now), now)
        missing = full_at + self._every - now - self._burst * self._every
        if missing > 0:
            return max(ceil(missing), 1)
        self._empty_until[caller] = full_at + self._every
        self._empty_until.move_to_end(caller)
        if len(self._empty_until) > self._largest:
            self._empty_until.popitem(last=False)
        return None
