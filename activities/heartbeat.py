"""Heartbeats for activities that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from temporalio import activity

BEATS = 2
"""Within a heartbeat timeout."""


@asynccontextmanager
async def heartbeating(
    details: Callable[[], Sequence[Any]] = tuple[Any, ...],
    *,
    quiet_for: timedelta = timedelta(),
) -> AsyncIterator[None]:
    """Heartbeat `BEATS` times within the activity's heartbeat timeout while the context lasts.

    An activity shorter than that costs nothing. A worker that dies is noticed within one timeout,
    and a cancel reaches an activity that waits.

    Args:
        details: What the next attempt is to know, asked at every beat.
        quiet_for: Beginning of the heartbeat timeout in which nothing is to be said: a crowd that
            waits for its instant would only keep the server busy.
    """
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return

    loop = asyncio.get_running_loop()
    # A workflow of a later release may have a shorter timeout than that.
    quiet = min(max(quiet_for, timedelta()), timeout * 0.9)
    every_seconds = (timeout - quiet).total_seconds() / BEATS
    timer: asyncio.TimerHandle

    def beat() -> None:
        nonlocal timer
        activity.heartbeat(*details())
        timer = loop.call_later(every_seconds, beat)

    timer = loop.call_later(quiet.total_seconds() + every_seconds, beat)
    try:
        yield
    finally:
        timer.cancel()
