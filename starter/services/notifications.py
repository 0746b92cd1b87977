"""The platform's `NOTIFY`: a session, or one enrollment, whose rows have changed.

What arrives within a moment is gathered, so that a thousand rows of one statement are no thousand
times the same, and goes where the sweep's findings go. What cannot be looked at is tried again a
little later. What nobody notifies us of, the sweep finds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from reminders.db.channel import Channel
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import SessionNotFoundError
from reminders.domain.ports import Enrollment
from reminders.fan_out import fan_out
from starter.gateway import ReminderGateway
from starter.services.reconciler import EnrollmentReconciler
from starter.services.sweeps import Sweeps

logger = logging.getLogger(__name__)

_Key = TypeVar("_Key")

GATHERED_FOR = timedelta(milliseconds=200)
"""What a statement writes for many arrives at its commit, all at once."""
MOST = 5000
"""Enrollments and sessions that wait to be looked at; more are left to a sweep."""
AT_ONCE = 10
"""As in a sweep: connections are shared with delivery."""
AGAIN_AFTER = timedelta(seconds=2)
"""Then what could not be looked at is tried once more; each further time after twice as long."""
SWEEP_AGAIN_AFTER = timedelta(minutes=5)
"""A sweep that was running already may have been past what was missed."""
TRIES = 5
"""What cannot be looked at so often, within half a minute, is left to the sweep."""
_IDS = re.compile(r"\s*([0-9a-fA-F-]{36})(?:[\s:,/]+([0-9a-fA-F-]{36}))?\s*")


def ids_in(payload: str) -> tuple[UUID, UUID | None] | None:
    """Session, and user if one is named; `None` if the payload is no ids."""
    found = _IDS.fullmatch(payload)
    try:
        return found and (UUID(found[1]), UUID(found[2]) if found[2] else None)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Wait:
    """Until when something waits to be looked at."""

    failed: int = 0
    """How often that has failed."""
    until: float = 0.0
    """By `loop.time()`."""


@dataclass(slots=True)
class Notifications:
    """Follows what arrives, a little later and all at once."""

    channel: Channel
    reconciler: EnrollmentReconciler
    gateway: ReminderGateway
    sweeps: Sweeps
    _enrollments: dict[Enrollment, _Wait] = field(default_factory=dict)
    _sessions: dict[UUID, _Wait] = field(default_factory=dict)
    _is_sweep_wanted: bool = False
    _in_the_way: str | None = None
    """Run of the sweep that ran already when one was wanted; a later one will do."""
    _sweep_again: asyncio.TimerHandle | None = None
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen and follow until the end of the block."""
        tasks = [
            asyncio.create_task(self.channel.listen(self.hear, self.sweep)),
            asyncio.create_task(self._follow()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def hear(self, payload: str) -> None:
        """Take in a notification."""
        ids = ids_in(payload)
        if ids is None:
            logger.warning(
                "a notification has no id of a session, nor those of a session and a user"
            )
        elif len(self._enrollments) + len(self._sessions) >= MOST:
            self.sweep()
        elif ids[1] is None:
            self._sessions[ids[0]] = _Wait()
        else:
            self._enrollments[Enrollment(ids[0], ids[1])] = _Wait()
        self._stirred.set()

    def sweep(self) -> None:
        """Look through everything: a notification may have been missed."""
        self._in_the_way = None
        self._want_sweep()

    def _want_sweep(self) -> None:
        self._is_sweep_wanted = True
        self._stirred.set()

    async def _follow(self) -> None:
        while True:
            await self._stirred.wait()
            await asyncio.sleep(GATHERED_FOR.total_seconds())
            self._stirred.clear()
            is_sweep_wanted, self._is_sweep_wanted = self._is_sweep_wanted, False
            # A session that is planned anew takes everybody along who is still enrolled.
            await fan_out(self._look_at_session, _taken(self._sessions), at_once=AT_ONCE)
            await fan_out(self._look_at, _taken(self._enrollments), at_once=AT_ONCE)
            if is_sweep_wanted:
                await self._sweep()

    async def _sweep(self) -> None:
        """Start a sweep; if that fails, or one runs already, look again in a while."""
        try:
            found = await self.sweeps.start()
        except Exception as error:  # noqa: BLE001 - the next one of the Schedule does
            logger.warning("no sweep was started: %s", type(error).__name__)
        else:
            if found.started or self._in_the_way not in (None, found.run_id):
                return
            self._in_the_way = found.run_id
        if self._sweep_again is not None:
            self._sweep_again.cancel()
        self._sweep_again = asyncio.get_running_loop().call_later(
            SWEEP_AGAIN_AFTER.total_seconds(), self._want_sweep
        )

    async def _look_at_session(self, waiting: tuple[UUID, _Wait]) -> None:
        session_id, wait = waiting
        try:
            try:
                await self.gateway.replan(session_id, wait=None)
            except SessionNotFoundError:
                for one in await self.reconciler.queries.waiting(session_id, limit=MOST):
                    self._enrollments.setdefault(one, _Wait())
                self._stirred.set()
        except Exception as error:  # noqa: BLE001 - the sweep finds it
            if again := self._put_off(f"session {session_id}", wait, error):
                self._sessions.setdefault(session_id, again)

    async def _look_at(self, waiting: tuple[Enrollment, _Wait]) -> None:
        one, wait = waiting
        try:
            await self.reconciler.repair(one, SweepKind.LOST)
        except Exception as error:  # noqa: BLE001 - the sweep finds it
            whose = f"session {one.session_id}, user {one.user_id}"
            if again := self._put_off(whose, wait, error):
                self._enrollments.setdefault(one, again)

    def _put_off(self, what: str, wait: _Wait, error: Exception) -> _Wait | None:
        """Until when it waits to be looked at again, whatever else is told; not too often."""
        if wait.failed + 1 >= TRIES:
            logger.warning("%s is left to the sweep: %s", what, type(error).__name__)
            return None
        loop, seconds = asyncio.get_running_loop(), AGAIN_AFTER.total_seconds() * 2**wait.failed
        again = _Wait(wait.failed + 1, loop.time() + seconds)
        loop.call_later(seconds, self._stirred.set)
        return again


def _taken(waiting: dict[_Key, _Wait]) -> list[tuple[_Key, _Wait]]:
    """Those whose wait is over: taken out, and to be looked at."""
    now = asyncio.get_running_loop().time()
    over = [(key, wait) for key, wait in waiting.items() if wait.until <= now]
    for key, _ in over:
        del waiting[key]
    return over
