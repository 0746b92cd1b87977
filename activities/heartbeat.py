"""Heartbeats for activities that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity


@asynccontextmanager
async def heartbeating(
    details: Callable[[], Sequence[Any]] = tuple[Any, ...],
) -> AsyncIterator[None]:
    """Heartbeat at a third of the activity's heartbeat timeout while the context lasts.

    An activity shorter than that costs nothing. A worker that dies is noticed within one timeout,
    and a cancel reaches an activity that waits.

    Args:
        details: What the next attempt is to know, asked at every beat.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return

    async def beat(every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            activity.heartbeat(*details())

    beating = asyncio.create_task(beat(timeout.total_seconds() / 3))
    try:
        yield
    finally:
        beating.cancel()
