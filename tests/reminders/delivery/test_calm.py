"""Calm: ends are told once nothing more goes out, or after a while."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from reminders.delivery.calm import Calm

MS = timedelta(milliseconds=1)
NEVER = timedelta(hours=1)


async def test_they_are_told_once_nothing_more_goes_out() -> None:
    """In the order in which they ended, and not before the last is out."""
    calm, told = Calm(quiet=MS, longest=NEVER), asyncio.Queue[int]()
    for n in range(3):
        calm.wait(lambda n=n: told.put_nowait(n))  # type: ignore[misc]
        calm.look(busy=True)
    await asyncio.sleep(0.02)
    assert told.empty()
    calm.look(busy=False)
    assert [0, 1, 2] == [await asyncio.wait_for(told.get(), 5) for _ in range(3)]


async def test_what_comes_meanwhile_is_waited_for() -> None:
    """Between two batches of a crowd nothing is told."""
    calm, told = Calm(quiet=20 * MS, longest=NEVER), asyncio.Event()
    calm.wait(told.set)
    calm.look(busy=False)
    calm.look(busy=True)
    await asyncio.sleep(0.05)
    assert not told.is_set()


async def test_nobody_is_kept_for_ever() -> None:
    """A crowd that takes long is told batch by batch, and what waits at the end at once."""
    calm, told, left = Calm(quiet=NEVER, longest=MS), asyncio.Event(), asyncio.Event()
    calm.wait(told.set)
    calm.look(busy=True)
    await asyncio.wait_for(told.wait(), 5)
    Calm(quiet=NEVER, longest=NEVER).end()
    calm.wait(left.set)
    calm.end()
    assert left.is_set()
