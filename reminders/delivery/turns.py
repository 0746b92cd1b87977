"""When those are to come again who can only wait: one after the other, however many there are."""

from __future__ import annotations

import asyncio
from datetime import timedelta

_EVERY = timedelta(milliseconds=100)
"""Ten a second from one worker: an attempt costs Temporal several writes, and brings nothing."""
_LONGEST = timedelta(minutes=1)
"""Those who would have to wait longer come together with the first again."""


class Turns:
    """Gives out turns, from the soonest that is worth it up to a minute from now."""

    def __init__(self) -> None:
        """Nobody waits yet."""
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
