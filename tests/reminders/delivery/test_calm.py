"""Who waits: ends until nothing more goes out, batches until the pace has room for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from reminders.delivery.calm import Bookings, Calm

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


async def has_room(bookings: Bookings, *, within: float) -> bool:
    """Whether another batch may be decided in a moment."""
    try:
        await asyncio.wait_for(bookings.room(), within)
    except TimeoutError:
        return False
    return True


async def test_several_are_decided_at_once_while_the_provider_waits_for_us() -> None:
    """And as soon as one of them is done another one."""
    bookings = Bookings(at_once=2, ahead=MS)
    with bookings.deciding():
        assert await has_room(bookings, within=1)
        with bookings.deciding():
            assert not await has_room(bookings, within=0.02)
        assert await has_room(bookings, within=1)


async def test_nothing_is_decided_long_before_it_can_be_posted() -> None:
    """What comes meanwhile goes first; one after the other, once it is near."""
    bookings = Bookings(at_once=2, ahead=500 * MS)
    bookings.book(1000 * MS)
    bookings.book(MS)
    began_at = asyncio.get_running_loop().time()
    assert not await has_room(bookings, within=0.02)
    assert await has_room(bookings, within=5)
    assert asyncio.get_running_loop().time() - began_at > 0.49
    with bookings.deciding():
        assert not await has_room(bookings, within=0.02)
        assert await has_room(bookings, within=5)
    assert asyncio.get_running_loop().time() - began_at > 0.99
