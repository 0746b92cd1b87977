"""Heartbeats for activities that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity


@asynccontextmanager
async def heartbeating() -> AsyncIterator[None]:
    """Heartbeat at a third of the activity's heartbeat timeout while the context lasts.

    An activity shorter than that costs nothing. A worker that dies is noticed within one timeout,
    and a cancel reaches an activity that waits.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return

    async def beat(every_seconds: float) -> None:
        while True:
            await asyncio.sleep(every_seconds)
            activity.heartbeat()

    beating = asyncio.create_task(beat(timeout.total_seconds() / 3))
    try:
        yield
    finally:
        beating.cancel()
