"""The connection pool, and what its failures mean."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import CursorResult, Executable, RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from reminders.budget import answer_of
from reminders.clock import SharedClock
from reminders.db import url as urls
from reminders.db.connections import COMMAND_SECONDS, PATIENT_SECONDS, Connections, Session
from reminders.db.failures import Meaning, failure_of, refusal
from reminders.domain.errors import (
    DatabaseRefusedError,
    DatabaseUnavailableError,
    PlatformOwnedError,
)

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_Given = Mapping[str, Any] | None
"""A statement's parameters by name."""

OUR_SCHEMA = "session_reminders"
"""Where everything of ours is when the platform's tables are its own (existing mode)."""

_TIME = text("SELECT pg_catalog.clock_timestamp()")
_STATE = text("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean")


class Database:
    """PostgreSQL, as the stores see it.

    Close it with `aclose()`; it belongs to the event loop it is first used in.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        host_schema: str | None = None,
        clock: SharedClock | None = None,
        command_seconds: float = COMMAND_SECONDS,
    ) -> None:
        """Prepare a pool; nothing is connected yet.

        Args:
            url: `postgresql://` or `postgresql+asyncpg://`.
            pool_size: Connections held at the most.
            host_schema: Where an existing platform keeps its sessions, users and enrollments,
                which are only read; absent means that these tables are ours.
            clock: Is told what time the server has, whenever something is connected.
            command_seconds: For one statement; what takes longer is cancelled.

        Raises:
            InvalidInputError: If the URL cannot be used; names the parameter.
        """
        server = urls.read(url)
        # Parallel workers would gain nothing for statements as short as ours, and a function of the
        # platform's that is wrongly `PARALLEL SAFE` fails in them.
        settings = {} if host_schema is None else {"max_parallel_workers_per_gather": "0"}
        # Found in our schema only: our tables, and the views of ours over the platform's.
        search_path = server.schema if host_schema is None else OUR_SCHEMA
        self._connections = Connections(
            server,
            search_path=search_path,
            settings=settings,
            clock=clock,
            command_seconds=command_seconds,
        )
        self._url, self._clock = url, clock
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+asyncpg://",  # `Connections` knows how to connect
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # frozen e-mails are among them; errors end up in logs
            pool_timeout=10,
            # What the other side has closed is noticed without asking, see `Connections`.
            pool_pre_ping=False,
        )
        self._connections.watch(self._engine.sync_engine)
        self.host_schema = host_schema

    @asynccontextmanager
    async def patient(self) -> AsyncIterator[Database]:
        """The same, for statements that may take an hour: an index over millions of rows."""
        database = Database(
            self._url,
            pool_size=1,
            host_schema=self.host_schema,
            clock=self._clock,
            command_seconds=PATIENT_SECONDS,
        )
        try:
            yield database
        finally:
            await database.aclose()

    def require_owned(self) -> None:
        """See that sessions, users and enrollments are ours to write.

        Raises:
            PlatformOwnedError: If they are an existing platform's.
        """
        if self.host_schema is not None:
            raise PlatformOwnedError

    @property
    def engine(self) -> AsyncEngine:
        """The engine itself, for migrations and tests."""
        return self._engine

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler is in front of the server, as far as is known: once something was connected.

        What needs a session of its own, such as `LISTEN`, cannot be had then.
        """
        return self._connections.is_pooled

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, or rolled back by an exception.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; nothing was committed unless the
                connection broke during the commit itself.
            DatabaseRefusedError: If an operator has to act first; nothing was committed.
        """
        with _in_our_words():
            async with (
                answer_of("PostgreSQL"),
                self._engine.begin() as connection,
                _dropped_when_late(connection),
            ):
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement is its own transaction: one round trip each.

        Behind a pooler all of them are one transaction, committed at the end.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
            DatabaseRefusedError: If an operator has to act first.
        """
        with _in_our_words():
            async with (
                answer_of("PostgreSQL"),
                self._engine.connect() as connection,
                _dropped_when_late(connection),
            ):
                if not self.is_pooled:
                    await connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
                await connection.commit()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection of its own, outside of the pool, for what lasts; closed at the end.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
            DatabaseRefusedError: If an operator has to act first.
        """
        with _in_our_words():
            session = await self._connections.open()
        try:
            yield session
        finally:
            session.terminate()

    async def rows(self, statement: Executable, parameters: _Given = None) -> Sequence[RowMapping]:
        """The rows of one statement, by column; its own transaction."""
        return await self._asked(statement, parameters, lambda found: found.mappings().all())

    async def row(self, statement: Executable, parameters: _Given = None) -> RowMapping | None:
        """The first row of one statement, by column, if there is any; its own transaction."""
        return await self._asked(statement, parameters, lambda found: found.mappings().first())

    async def tuples(self, statement: Executable, parameters: _Given = None) -> Sequence[Any]:
        """The rows of one statement, by position and name; its own transaction."""
        return await self._asked(statement, parameters, lambda found: found.all())

    async def scalar(self, statement: Executable, parameters: _Given = None) -> Any:  # noqa: ANN401 - whatever it selects
        """The first value of one statement, if there is any; its own transaction."""
        return await self._asked(statement, parameters, lambda found: found.scalar())

    async def execute(self, statement: Executable, parameters: _Given = None) -> int:
        """How many rows one statement changed; its own transaction."""
        return await self._asked(statement, parameters, lambda found: found.rowcount)

    async def _asked(
        self, statement: Executable, parameters: _Given, read: Callable[[CursorResult[Any]], _T]
    ) -> _T:
        """What is read of one statement's result; it is put once more if others had to go first."""
        try:
            async with self.autocommit() as connection:
                return read(await connection.execute(statement, parameters))
        except DatabaseUnavailableError as error:
            failure = failure_of(error.__cause__) if error.__cause__ else None
            if failure is None or failure.meaning is not Meaning.AGAIN:
                raise
        async with self.autocommit() as connection:
            return read(await connection.execute(statement, parameters))

    async def time(self) -> datetime:
        """What PostgreSQL's clock says.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        told: datetime = await self.scalar(_TIME)
        return told

    async def see_writable(self) -> None:
        """See that the server takes writes; if not, no connection of now is used again.

        Raises:
            DatabaseUnavailableError: If it is away, a replica, or read-only.
        """
        [[is_replica, is_read_only]] = await self.tuples(_STATE)
        if is_replica or is_read_only:
            # Sessions remember what was the default when they began.
            self._connections.outdate()
            what = "it is a replica" if is_replica else "transactions are read-only"
            raise DatabaseUnavailableError(f"PostgreSQL takes no writes at present ({what})")

    async def aclose(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


@asynccontextmanager
async def _dropped_when_late(connection: AsyncConnection) -> AsyncIterator[None]:
    """Do not wait once more for a server that has not answered in time."""
    try:
        yield
    except TimeoutError:
        await connection.invalidate()
        raise


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn the many ways in which a server can fail into two errors; let mistakes pass."""
    try:
        yield
    except Exception as error:
        known = refusal(error)
        if known is None:
            raise
        if isinstance(known, DatabaseRefusedError):
            logger.error("%s", known)  # noqa: TRY400 - the traceback says no more
        raise known from error
