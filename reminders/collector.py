"""Python's collector, kept from stopping a worker just when reminders are due.

A full collection looks through all that lives, and nothing else runs meanwhile. Where thousands of
reminders wait for their instant that takes long enough to make them late.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter

SOON = timedelta(seconds=3)
"""Longer than a collection takes."""
_LEAST = 4.0
"""Seconds between two. A workflow that is put out of the cache is garbage of 0.2 MB, and a hundred and
forty of them a second while many enroll."""
_SHARE = 16
"""Between two there is so many times what the last one took."""
_POLL = 0.25
_PATIENCE = 60.0
"""Seconds after which one is due although something is under way: memory is bounded, too."""
_NEVER = 1_000_000


def keep_imports() -> None:
    """Leave what was imported out of all collections, and full ones to `collect_between`."""
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


async def collect_between(is_calm: Callable[[timedelta], bool]) -> None:
    """Collect now and then, in moments when nothing is due; never returns.

    Args:
        is_calm: Whether nothing is under way, nor due within so long.
    """
    loop = asyncio.get_running_loop()
    took = 0.0
    while True:
        await asyncio.sleep(max(_LEAST, _SHARE * took))
        until = loop.time() + _PATIENCE
        while not is_calm(SOON) and loop.time() < until:  # noqa: ASYNC110 - looked at, not told
            await asyncio.sleep(_POLL)
        began = perf_counter()
        gc.collect()
        took = perf_counter() - began
