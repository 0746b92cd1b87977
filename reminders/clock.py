"""What time it is, for whoever is handed a `Clock`; workflows use `workflow.now()`.

Everything is judged by PostgreSQL's clock, which all processes of an installation share: what is
due, what is too late, when something was sent. A machine's own clock stamps logs, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from reminders.domain.errors import ReminderError
from reminders.domain.ports import Clock

logger = logging.getLogger(__name__)

HEARD_EVERY = timedelta(seconds=10)
"""How often PostgreSQL is asked what time it is."""
FIRST = timedelta(seconds=1)
"""How long it is waited for the first answer."""
WRONG = timedelta(seconds=2)
"""A machine's clock that is further off is worth a line in the log."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)


def ticks() -> float:
    """Seconds since the machine was started, those included in which it slept, if it counts them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SharedClock:
    """PostgreSQL's clock, as it was last heard; the machine's own until it was heard at all.

    It is never ahead of PostgreSQL's, so that nothing goes out before its instant, and behind by no
    more than an answer is under way. Whoever sets the machine's clock changes nothing.
    """

    def __init__(self, machine: Clock | None = None, ticks: Callable[[], float] = ticks) -> None:
        """Not heard of yet.

        Args:
            machine: The machine's own clock.
            ticks: Seconds since some moment, which go on whatever becomes of the machine's clock.
        """
        self._machine = machine or SystemClock()
        self._ticks = ticks
        self._heard: tuple[datetime, float] | None = None
        self._is_wrong = False
        self._asked = asyncio.Event()

    def now(self) -> datetime:
        """The present instant, in UTC."""
        return self._machine.now() if self._heard is None else self._at(self._ticks())

    def _at(self, tick: float) -> datetime:
        assert self._heard is not None  # noqa: S101 - both callers have looked
        there, heard = self._heard
        return there + timedelta(seconds=tick - heard)

    def hear(self, there: datetime, *, asked: float) -> None:
        """Take notice of what PostgreSQL's clock says, just now.

        What it says is at least as old as the answer was under way, and at most as the question
        was too: an estimate within these bounds is kept, since it may come from a quicker answer.

        Args:
            there: PostgreSQL's `clock_timestamp()`.
            asked: Our ticks when the question was put.
        """
        answered = self._ticks()
        latest = there + timedelta(seconds=answered - asked)
        if self._heard is None or not there <= self._at(answered) <= latest:
            self._heard = there, answered
        ahead = self._machine.now() - self._at(answered)
        if (is_wrong := abs(ahead) > WRONG) and not self._is_wrong:
            logger.warning(
                "this machine's clock is %.0f s %s PostgreSQL's, which is what counts; synchronise it",
                abs(ahead).total_seconds(),
                "ahead of" if ahead > timedelta() else "behind",
            )
        self._is_wrong = is_wrong

    async def listen(self, ask: Callable[[], Awaitable[datetime]]) -> None:
        """Ask every few seconds, for ever; who does not answer is asked again.

        Args:
            ask: What time PostgreSQL has.
        """
        while True:
            asked = self._ticks()
            try:
                self.hear(await ask(), asked=asked)
            except ReminderError:
                pass  # PostgreSQL is away, as everybody else says by then
            except Exception:
                logger.exception("asking PostgreSQL what time it is failed unexpectedly")
            self._asked.set()
            await asyncio.sleep(HEARD_EVERY.total_seconds())

    @asynccontextmanager
    async def listening(self, ask: Callable[[], Awaitable[datetime]]) -> AsyncIterator[None]:
        """Listen until the end of the block, which begins when there was an answer, or soon."""
        task = asyncio.create_task(self.listen(ask))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), FIRST.total_seconds())
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
