"""Who waits, and until when: what is told when a crowd's e-mails are out, and who comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta


class Calm:
    """Lets tellings wait until nothing goes out any more, or have waited long enough.

    Ends come after e-mails: what became of a crowd's reminders is told once all of them are out.
    """

    def __init__(self, *, quiet: timedelta, longest: timedelta) -> None:
        """Nothing waits.

        Args:
            quiet: For how long nothing must have gone out.
            longest: After this they do not wait any longer.
        """
        self._quiet = quiet.total_seconds()
        self._longest = longest.total_seconds()
        self._waiting: list[Callable[[], None]] = []
        self._soon: asyncio.TimerHandle | None = None
        self._at_last: asyncio.TimerHandle | None = None

    def wait(self, tell: Callable[[], None]) -> None:
        """Have something told later, within this event loop."""
        self._waiting.append(tell)
        if self._at_last is None:
            self._at_last = asyncio.get_running_loop().call_later(self._longest, self.end)

    def look(self, *, busy: bool) -> None:
        """Note whether there is anything that still goes out; to be called at every change."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._waiting and not busy:
            self._soon = asyncio.get_running_loop().call_later(self._quiet, self.end)

    def end(self) -> None:
        """Tell all that wait."""
        for timer in (self._soon, self._at_last):
            if timer is not None:
                timer.cancel()
        self._soon = self._at_last = None
        waiting, self._waiting = self._waiting, []
        for tell in waiting:
            tell()


_EVERY = timedelta(milliseconds=100)
"""Ten a second from one worker: an attempt costs Temporal several writes, and brings nothing."""
_LONGEST = timedelta(minutes=1)
"""Those who would have to wait longer come together with the first again."""


class Turns:
    """When those are to come again who can only wait: one after the other, however many there are.

    Gives out turns, from the soonest that is worth it up to a minute from now.
    """

    def __init__(self) -> None:
        self._last = 0.0

    def next(self, *, soonest: timedelta) -> timedelta:
        """How long from now the next one is to come.

        Args:
            soonest: Before this nobody needs to come.
        """
        now = asyncio.get_running_loop().time()
        first = now + soonest.total_seconds()
        turn = max(first, self._last + _EVERY.total_seconds())
        self._last = turn if turn - now <= max(soonest, _LONGEST).total_seconds() else first
        return timedelta(seconds=self._last - now)


_TICK = 0.001
"""Seconds; clocks are no finer."""


class Bookings:
    """Lets batches be decided no sooner than just before they can be posted.

    What is frozen has its place in the pace, and whoever comes later is behind it; what still waits
    unfrozen can be overtaken by a smaller session, a move or a cancel.
    """

    def __init__(self, *, at_once: int, ahead: timedelta) -> None:
        """Nothing is booked.

        Args:
            at_once: Batches that are decided at once, as long as the provider waits for us.
            ahead: For how long the pace may be booked before nothing more is decided. While it is
                booked at all, batches are decided one after the other.
        """
        self._at_once = at_once
        self._ahead = ahead.total_seconds()
        self._until = 0.0
        self._deciding = 0
        self._decided = asyncio.Event()

    async def room(self) -> None:
        """Wait until another batch may be decided."""
        await asyncio.sleep(0)  # whoever was let in before has begun
        loop = asyncio.get_running_loop()
        while True:
            booked = self._until - loop.time()
            is_free = self._deciding < (1 if booked > 0 else self._at_once)
            if is_free and booked <= self._ahead:
                return
            self._decided.clear()
            wait = booked - self._ahead if is_free else booked
            with suppress(TimeoutError):  # a remainder of nothing would be waited for forever
                await asyncio.wait_for(
                    self._decided.wait(), max(wait, _TICK) if booked > 0 else None
                )

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Count a batch as long as it has no place in the pace."""
        self._deciding += 1
        try:
            yield
        finally:
            self._deciding -= 1
            self._decided.set()

    def book(self, wait: timedelta) -> None:
        """Note that a request's turn comes after so long, and no other's before it."""
        self._until = max(self._until, asyncio.get_running_loop().time() + wait.total_seconds())
