"""The connection pool, and what its failures mean."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import Executable, RowMapping, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from reminders.budget import answer_of
from reminders.domain.errors import DatabaseUnavailableError, InvalidInputError, PlatformOwnedError

OUR_SCHEMA = "session_reminders"
"""Where everything of ours is when the platform's tables are its own (existing mode)."""

_DRIVER = "postgresql+asyncpg"
_AWAY = ("08", "53", "57P")
"""SQLSTATE classes of a server that is away: connection lost, out of resources, shutting down."""
_VALUE = "22"
"""SQLSTATE class of a value that cannot be read, cast or computed with: it lies in some row."""
_DEADLOCK = "40P01"
"""SQLSTATE of a transaction that was rolled back so that another could go on."""


class Database:
    """PostgreSQL, as the stores see it.

    Close it with `aclose()`; it belongs to the event loop it is first used in.
    """

    def __init__(self, url: str, *, pool_size: int = 10, host_schema: str | None = None) -> None:
        """Prepare a pool; nothing is connected yet.

        Args:
            url: `postgresql://` or `postgresql+asyncpg://`.
            pool_size: Connections held at the most.
            host_schema: Where an existing platform keeps its sessions, users and enrollments,
                which are only read; absent means that these tables are ours.

        Raises:
            InvalidInputError: If the URL names another database system.
        """
        self._engine: AsyncEngine = create_async_engine(
            asyncpg_url(url),
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # frozen e-mails are among them; errors end up in logs
            pool_timeout=10,
            # After a restart of PostgreSQL the first use of each pooled connection would fail.
            pool_pre_ping=False,
            connect_args={"timeout": 5, "command_timeout": 30},
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self.host_schema = host_schema
        if host_schema is not None:
            # First of all listeners: what is read of a new connection is read in this schema.
            event.listen(self._engine.sync_engine, "connect", _use_our_schema, insert=True)

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

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is committed at the end, or rolled back by an exception.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; nothing was committed unless the
                connection broke during the commit itself.
        """
        with _unavailable():
            async with answer_of("PostgreSQL"), self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement is its own transaction: one round trip each."""
        with _unavailable():
            async with answer_of("PostgreSQL"), self._autocommit.connect() as connection:
                yield connection

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[RowMapping]:
        """The rows of one statement, by column; its own transaction."""
        async with self.autocommit() as connection:
            return (await connection.execute(statement, parameters)).mappings().all()

    async def row(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> RowMapping | None:
        """The first row of one statement, by column, if there is any; its own transaction."""
        async with self.autocommit() as connection:
            return (await connection.execute(statement, parameters)).mappings().first()

    async def tuples(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Any]:
        """The rows of one statement, by position and name; its own transaction."""
        async with self.autocommit() as connection:
            return (await connection.execute(statement, parameters)).all()

    async def scalar(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - whatever it selects
        """The first value of one statement, if there is any; its own transaction."""
        async with self.autocommit() as connection:
            return await connection.scalar(statement, parameters)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._engine.dispose()


def _use_our_schema(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's adapter
    """Look for every table in our schema only, the platform's views among them.

    By a statement and not in the connection's options, which connection poolers refuse.
    """
    connection.run_async(lambda driver: driver.execute(f"SET search_path TO {OUR_SCHEMA}"))


def asyncpg_url(url: str) -> str:
    """The URL with the driver that we use.

    Raises:
        InvalidInputError: If the URL cannot be parsed or names another database system.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise InvalidInputError(
            "DATABASE_URL is no URL; write postgresql://user:password@host:5432/database",
            field="DATABASE_URL",
        ) from error
    if parsed.drivername not in ("postgresql", "postgres", _DRIVER):
        raise InvalidInputError(
            f"DATABASE_URL starts with {parsed.drivername}://; only PostgreSQL is supported",
            field="DATABASE_URL",
        )
    return parsed.set(drivername=_DRIVER).render_as_string(hide_password=False)


def is_about_a_value(error: Exception) -> bool:
    """Whether a statement, or the driver that reads its answer, stumbled over a value in some row."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OverflowError)
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_VALUE)


@contextmanager
def _unavailable() -> Iterator[None]:
    """Turn the many ways in which a server can be away into one error; let real mistakes pass."""
    try:
        yield
    except (OSError, PoolTimeoutError) as error:
        raise DatabaseUnavailableError from error
    except DBAPIError as error:
        state = str(getattr(error.orig, "sqlstate", None) or "")
        lost = error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)
        if lost or state.startswith(_AWAY):
            raise DatabaseUnavailableError from error
        if state == _DEADLOCK:
            msg = "PostgreSQL let another transaction go first; repeat the same call"
            raise DatabaseUnavailableError(msg) from error
        raise
