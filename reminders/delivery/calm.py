"""Ends come after e-mails: what became of a crowd's reminders is told once all of them are out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta


class Calm:
    """Lets tellings wait until nothing goes out any more, or have waited long enough."""

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
