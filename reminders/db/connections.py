"""How a connection is made, and what is true on it: our search path, with or without a pooler.

A pooler in transaction mode lends a server's session to whoever has a transaction. What is set or
prepared outside of one is gone at the next, or worse, somebody else's. So behind a pooler every
transaction sets what it needs for itself (`SET LOCAL`), nothing is prepared under a name, and no
statement runs outside of a transaction: its two messages could go to two servers.

A pooler shows by the number of the server process, which it makes up. A session pooler is treated
like one in transaction mode; that costs two round trips a statement, and is right in both.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import Dialect, Engine, ExceptionContext
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError

from reminders.clock import SharedClock, ticks
from reminders.db.failures import failure_of
from reminders.db.url import Server

logger = logging.getLogger(__name__)

COMMAND_SECONDS = 30
"""For one statement; what takes longer is cancelled."""
IDLE_IN_TRANSACTION = "60s"
"""A process that is stopped within one keeps its locks, and with them everybody's delivery."""
PATIENT_SECONDS = 3600
"""For one that reads or writes a whole ledger, while nobody waits for an answer."""

_WHO = """
SELECT pg_catalog.pg_backend_pid(),
       (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'),
       pg_catalog.clock_timestamp()
"""
_SOCKET = {
    "keepalives_idle": ("IPPROTO_TCP", "TCP_KEEPIDLE"),
    "keepalives_interval": ("IPPROTO_TCP", "TCP_KEEPINTVL"),
    "keepalives_count": ("IPPROTO_TCP", "TCP_KEEPCNT"),
    "tcp_user_timeout": ("IPPROTO_TCP", "TCP_USER_TIMEOUT"),
}
"""libpq's parameters, as the `socket` module calls them; a system has those that it has."""


GOODBYE_SECONDS = 0.2
"""For a server to end a connection that is given up: whoever gave it up has waited already."""


class Session(asyncpg.Connection):  # type: ignore[misc]  # the driver's metaclass has no types
    """A connection of the driver's whose transactions may begin with settings of their own."""

    in_each_transaction: str | None = None
    """SQL that follows every `BEGIN`, in the same message; absent where the session keeps it."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """As the driver's; a server that has fallen silent is not waited for, whoever gives it up."""
        await super().close(timeout=None if timeout is None else min(timeout, GOODBYE_SECONDS))

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - the driver's
        """As the driver's; the end of the connection if its transaction cannot begin as it must."""
        if self.in_each_transaction is None or not query.startswith("BEGIN"):
            status: str = await super().execute(query, *args, timeout=timeout)
            return status
        try:
            await super().execute(f"{query} {self.in_each_transaction}", timeout=timeout)
        except BaseException:
            self.terminate()  # nobody knows in which state the transaction is
            raise
        return "BEGIN"


class Connections:
    """Makes the connections of an engine, and drops those that are not to be used again."""

    def __init__(
        self,
        server: Server,
        *,
        search_path: str | None,
        settings: dict[str, str],
        clock: SharedClock | None = None,
        command_seconds: float = COMMAND_SECONDS,
    ) -> None:
        """Nothing is connected yet.

        Args:
            server: What `DATABASE_URL` says.
            search_path: Where our statements look for relations; absent means where the role does.
            settings: Of every session or transaction, besides.
            clock: Is told what time the server has, before anything else is asked.
            command_seconds: For one statement.
        """
        self._server = server
        self._command_seconds = command_seconds
        self._search_path = search_path
        idle = {"idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION}
        self._settings = {**idle, **server.settings, **settings}
        self._clock = clock
        self.is_pooled = server.is_pooled
        """Whether there is a pooler, as far as is known: known once something was connected."""
        self._are_outdated = False

    def watch(self, engine: Engine) -> None:
        """Have an engine connect through us."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "checkout", self._see_usable)
        event.listen(engine, "handle_error", self._judge)

    def outdate(self) -> None:
        """Use none of those that there are again, each once whoever has it gives it back."""
        self._are_outdated = True

    def _connect(self, dialect: Dialect, _record: object, _args: object, _options: object) -> Any:  # noqa: ANN401 - the dialect's adapter
        """A connection as the dialect wants it."""
        adapted = dialect.loaded_dbapi.connect(async_creator_fn=self.open)
        session: Session = adapted.driver_connection
        if session.in_each_transaction is None:
            names = (f"s{number}" for number in count())
            prepared: dict[str, object] = {"prepared_statement_name_func": partial(next, names)}
        else:
            # Nothing that is prepared may have a name, or be thought to be there later.
            prepared = {"prepared_statement_name_func": str, "prepared_statement_cache_size": 0}
        return dialect.loaded_dbapi.connect(async_creator_fn=partial(_itself, session), **prepared)

    async def open(self) -> Session:
        """A connection of the driver's, which whoever opens it closes."""
        session: Session = await asyncpg.connect(
            self._server.dsn,
            connection_class=Session,
            command_timeout=self._command_seconds,
            statement_cache_size=0,  # its own names would be the same for everybody at a pooler
            **self._server.options,
        )
        try:
            # The driver has no other way to its socket.
            keep_alive(session._transport.get_extra_info("socket"), self._server.keepalive)  # noqa: SLF001
            await self._begin(session)
        except BaseException:
            session.terminate()
            raise
        return session

    async def _begin(self, session: Session) -> None:
        """See who answers, and let our settings be true: for the session, or in each transaction."""
        asked = ticks()
        async with session.transaction():
            [pid, usual_path, there] = await session.fetchrow(_WHO)
        if self._clock is not None:
            self._clock.hear(there, asked=asked)
        if pid != session.get_server_pid() and not self.is_pooled:
            logger.info("a pooler is in front of PostgreSQL: nothing is kept beyond a transaction")
            self.is_pooled = True
        # Temporary tables last: otherwise one that somebody left in this session would be ours.
        path = f"{self._search_path or usual_path}, pg_temp"
        is_local = "true" if self.is_pooled else "false"
        settings = {**self._settings, "search_path": path}
        calls = (
            f"pg_catalog.set_config({_literal(name)}, {_literal(value)}, {is_local})"
            for name, value in settings.items()
        )
        statement = f"SELECT {', '.join(calls)};"
        if self.is_pooled:
            session.in_each_transaction = statement
        else:
            await session.execute(statement)

    def _see_usable(self, adapted: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401 - the dialect's adapter
        """Do not use a connection that the other side has closed; costs no round trip."""
        if self._are_outdated:
            self._are_outdated = False
            raise InvalidatePoolError
        if adapted.driver_connection.is_closed():
            raise DisconnectionError

    def _judge(self, context: ExceptionContext) -> None:
        """Give up a connection that went bad, and those as old as it."""
        failure = failure_of(context.original_exception)
        if failure is None:
            return
        if failure.betrays_pooler and not self.is_pooled:
            logger.info("a pooler is in front of PostgreSQL: nothing is kept beyond a transaction")
            self.is_pooled = True
        if failure.spoils:
            context.is_disconnect = True


async def _itself(session: Session) -> Session:
    return session


def _literal(value: str) -> str:
    """SQL; the setting `standard_conforming_strings` may be either."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def keep_alive(there: socket.socket | None, wanted: Mapping[str, int]) -> None:
    """Tell a socket how to notice that nobody is there any more."""
    if not wanted or there is None or there.family not in (socket.AF_INET, socket.AF_INET6):
        return
    there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, (level, option) in _SOCKET.items():
        if name in wanted and hasattr(socket, option):
            there.setsockopt(getattr(socket, level), getattr(socket, option), wanted[name])
