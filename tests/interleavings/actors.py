"""Operations that stop before every statement, and go on one at a time when they are told to.

An operation runs as itself, on connections of its own, in a task. A listener of SQLAlchemy makes it
wait before each statement and each COMMIT. Whether it then waits for a lock is not guessed from the
time it takes: PostgreSQL says by whom its backend is blocked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import await_only

from reminders.db.engine import Database
from reminders.domain.errors import ReminderError

DONE = "done"
PATIENCE = 0.01
"""Seconds after which PostgreSQL is asked whether somebody waits for a lock."""


class Halting(Database):
    """A database on which a statement by itself is two steps as well: done, and committed.

    In between it holds its locks, and nobody sees what it has written. That is so of every
    statement; here the moment is long enough for others to meet it.
    """

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """See `Database.autocommit`."""
        async with self.transaction() as connection:
            yield connection


class Actor:
    """One operation, step by step."""

    def __init__(self, name: str, database: Database) -> None:
        """Listen on a database that nobody else uses."""
        self.name = name
        self.database = database
        self.at: str | None = None
        """The statement before which it waits, or `DONE`; absent while it is on its way."""
        self.steps = 0
        self.result: Any = None
        self.error: ReminderError | None = None
        self._may_go = asyncio.Event()
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_on = False
        self.pids: set[int] = set()
        engine = database.engine.sync_engine
        event.listen(engine, "connect", self._connected)
        event.listen(engine, "before_cursor_execute", self._before)
        event.listen(engine, "commit", self._before_commit)

    async def begin(self, operation: Callable[[], Awaitable[Any]]) -> None:
        """Start it, up to its first statement."""
        self.at, self.steps, self.result, self.error = None, 0, None, None
        self._is_on = True
        self._arrived.clear()
        self._task = asyncio.ensure_future(self._run(operation))
        await self._arrived.wait()

    def release(self) -> None:
        """Let it take the step before which it waits."""
        assert self.at not in (None, DONE)
        self.at = None
        self._arrived.clear()
        self.steps += 1
        self._may_go.set()

    async def arrived(self, patience: float) -> bool:
        """Wait a little until it is at its next statement, or done."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._arrived.wait()
        return self.at is not None

    async def finish(self) -> None:
        """Let it run through, without stops."""
        self._is_on = False
        if self.at not in (None, DONE):
            self.release()
        if self._task is not None:
            await self._task

    async def _run(self, operation: Callable[[], Awaitable[Any]]) -> None:
        try:
            self.result = await operation()
        except ReminderError as error:
            self.error = error
        finally:
            self.at = DONE
            self._arrived.set()

    def _connected(self, connection: Any, _record: object) -> None:
        driver = connection.driver_connection
        self.pids.add(driver.get_server_pid())

    def _before(self, _c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        self._wait(" ".join(statement.split())[:70])

    def _before_commit(self, _connection: Any) -> None:
        self._wait("COMMIT")

    def _wait(self, label: str) -> None:
        if not self._is_on:
            return
        self.at = label
        self._may_go.clear()
        self._arrived.set()
        await_only(self._may_go.wait())


@dataclass(slots=True)
class Played:
    """One interleaving."""

    choices: list[int]
    """Which actor took each step."""
    options: list[list[int]]
    """Which ones could have."""
    script: list[str] = field(default_factory=list)

    @property
    def next(self) -> list[int] | None:
        """The choices of the next interleaving, in order; `None` after the last."""
        for n in range(len(self.choices) - 1, -1, -1):
            later = [o for o in self.options[n] if o > self.choices[n]]
            if later:
                return [*self.choices[:n], later[0]]
        return None


async def play(
    actors: list[Actor],
    operations: Sequence[Callable[[], Awaitable[Any]]],
    choices: Sequence[int],
    monitor: Database,
    *,
    choose: Callable[[list[int]], int] = min,
) -> Played:
    """Play one interleaving: these choices first, then who is chosen of those that can go on.

    Raises:
        AssertionError: If none can go on: they wait for each other.
    """
    played = Played([], [])
    for actor, operation in zip(actors, operations, strict=True):
        await actor.begin(operation)
    waiting: set[int] = set()
    """Actors that wait for a lock."""
    while True:
        ready = await _ready(actors, waiting, monitor, played)
        if not ready:
            return played
        wanted = choices[len(played.choices)] if len(played.choices) < len(choices) else None
        chosen = wanted if wanted in ready else choose(ready)
        assert chosen is not None
        actor = actors[chosen]
        played.choices.append(chosen)
        played.options.append(ready)
        played.script.append(f"{actor.name:>24}: {actor.at}")
        actor.release()
        if await _comes_to_wait(actor, monitor):
            waiting.add(chosen)
            played.script.append(f"{actor.name:>24}:     waits for a lock")
        # Whoever waited for what this step has let go is on its way now.
        for n in sorted(waiting - {chosen}):
            if not await _comes_to_wait(actors[n], monitor):
                waiting.discard(n)


async def _ready(
    actors: list[Actor], waiting: set[int], monitor: Database, played: Played
) -> list[int]:
    """Who can take a step; nobody once all are done.

    Raises:
        AssertionError: If those who are not done wait for each other.
    """
    while True:
        for n in sorted(waiting):
            if await actors[n].arrived(0):
                waiting.discard(n)
        ready = [n for n, a in enumerate(actors) if n not in waiting and a.at not in (None, DONE)]
        if ready or all(a.at == DONE for a in actors):
            return ready
        if not await _unblocked(actors, waiting, monitor):
            raise AssertionError("\n".join([*played.script, "they wait for each other"]))


async def _comes_to_wait(actor: Actor, monitor: Database) -> bool:
    """Whether an actor on its way comes to wait for a lock, and not to its next statement."""
    while not await actor.arrived(PATIENCE):
        if await _is_blocked(actor, monitor):
            return True
    return False


async def _is_blocked(actor: Actor, monitor: Database) -> bool:
    """Whether PostgreSQL says that one of an actor's connections waits for another."""
    found = await monitor.scalar(
        text(
            "SELECT count(*) FROM unnest(CAST(:pids AS int[])) p WHERE pg_blocking_pids(p) <> '{}'"
        ),
        {"pids": sorted(actor.pids)},
    )
    return bool(found)


async def _unblocked(actors: list[Actor], waiting: set[int], monitor: Database) -> bool:
    """Whether somebody who waited is on their way."""
    for n in waiting:
        if await actors[n].arrived(0.05) or not await _is_blocked(actors[n], monitor):
            return True
    return False
