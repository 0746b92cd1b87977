"""Many who enroll at once, and how many of them come first when somebody changes something."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

RUSH = 60
"""Who enroll at once, each time somebody else as soon as one is done."""
SOON = 3 * RUSH
"""Who may come first: those who were there before, and some while a change is on its way."""
AT_ONCE = 1.0
"""Seconds that a change takes at most: the median, as one may meet a machine with more to do."""
PATIENCE = 60.0
"""Seconds for a single one."""

Change = Callable[[int], Awaitable[object]]
"""A change, and how often it was made before."""


class Rush:
    """What happens all the time."""

    def __init__(self, one: Callable[[], Awaitable[object]]) -> None:
        """Do this."""
        self._one = one
        self._is_over = False
        self._done = 0

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Meanwhile `RUSH` are at it."""
        tasks = [asyncio.create_task(self._again_and_again()) for _ in range(RUSH)]
        try:
            await self._one()
            yield
        finally:
            self._is_over = True
            await asyncio.gather(*tasks)

    async def overtaking(self, change: Change) -> tuple[float, float]:
        """How many come first while a change waits, and how many seconds it takes.

        Both are the median of five.
        """
        came_first, took = [], []
        for nth in range(5):
            before, began = self._done, time.monotonic()
            async with asyncio.timeout(PATIENCE):
                await change(nth)
            took.append(time.monotonic() - began)
            came_first.append(self._done - before)
        return statistics.median(came_first), statistics.median(took)

    async def _again_and_again(self) -> None:
        while not self._is_over:
            await self._one()
            self._done += 1
