"""What is told by `NOTIFY`: heard by one worker of an installation at a time, on a connection of its own.

Of several workers the one that holds an advisory lock listens, so that nothing is done twice. When
its connection ends, another takes its place within seconds. What was told in between nobody has
heard; whoever takes over says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import text

from reminders.db.connections import Session
from reminders.db.engine import Database

logger = logging.getLogger(__name__)

LISTENER = 0x5E55_10E4
"""Key of the advisory lock, in each database."""
TRIED_EVERY = timedelta(seconds=2)
"""How often a worker tries to take over, or to connect again."""
NOT_HERE = timedelta(minutes=5)
"""How often it is seen whether there is a pooler still."""
ALIVE_EVERY = timedelta(seconds=15)
"""How often it is seen that the server still answers on the connection."""
_ANSWERS_WITHIN = 5.0

_IS_HEARD = text("""
SELECT EXISTS (
    SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
     WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
       AND l.classid = 0 AND l.objid = :key AND l.objsubid = 1)
""")


class Channel:
    """A channel of PostgreSQL's, listened to for as long as the worker runs."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    async def is_heard(self) -> bool:
        """Whether some worker listens.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        found: bool = await self._database.scalar(_IS_HEARD, {"key": LISTENER})
        return found

    async def listen(self, heard: Callable[[str], None], missed: Callable[[], None]) -> None:
        """Listen for ever, and connect again whenever that ends.

        Args:
            heard: Takes what somebody told.
            missed: Called when something may have been told that nobody has heard.
        """
        while True:
            pause = TRIED_EVERY
            try:
                async with self._database.session() as session:
                    if self._database.is_pooled:
                        logger.warning(
                            "a pooler is in front of PostgreSQL: %s cannot be listened to; the sweep"
                            " finds what is told there",
                            self._name,
                        )
                        pause = NOT_HERE
                    else:
                        await self._wait_for_turn(session)
                        await self._listen(session, heard, missed)
            except Exception as error:  # noqa: BLE001 - whatever it is, the sweep goes on meanwhile
                logger.warning(
                    "%s is not listened to at present: %s", self._name, type(error).__name__
                )
            await asyncio.sleep(pause.total_seconds())

    async def _wait_for_turn(self, session: Session) -> None:
        """Wait until no other worker listens."""
        while not await session.fetchval(  # noqa: ASYNC110 - the lock is not of this process
            f"SELECT pg_try_advisory_lock({LISTENER})"
        ):
            await asyncio.sleep(TRIED_EVERY.total_seconds())

    async def _listen(
        self, session: Session, heard: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        """Listen until the connection ends."""
        ended = asyncio.Event()
        session.add_termination_listener(lambda _session: ended.set())
        await session.add_listener(self._name, lambda *told: heard(str(told[-1])))
        logger.info("%s is listened to", self._name)
        missed()  # whatever was told while nobody listened
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), ALIVE_EVERY.total_seconds())
            except TimeoutError:
                await session.fetchval("SELECT 1", timeout=_ANSWERS_WITHIN)
