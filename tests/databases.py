"""Databases of the template's schema, handed out clean and used again.

Making and dropping one costs more than most tests do. So a test's rows are deleted afterwards, and
only a database whose schema, rights or settings the test has changed, or that it has made large,
is dropped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import text

from devstack.postgres import EmbeddedPostgres
from reminders.db import migrate
from reminders.db.engine import Database

_ONE = text("UPDATE reminder_installation SET id = :id")
_TABLES = """
SELECT c.oid::regclass::text AS name
  FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
"""
_SEQUENCES = """
SELECT string_agg(format('SELECT setval(%L, 1, false);', c.oid::regclass), '')
  FROM pg_class c
 WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace
"""
_SHAPE = """
SELECT concat_ws(' ',
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_class WHERE oid >= 16384),
    (SELECT sum(attrelid::bigint * xmin::text::bigint) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_proc WHERE oid >= 16384),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_trigger),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_constraint),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_rewrite),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_policy),
    (SELECT sum(oid::bigint * xmin::text::bigint) FROM pg_namespace WHERE nspname !~ '^pg_toast'),
    (SELECT concat_ws(' ', datallowconn, datconnlimit, datacl) FROM pg_database
      WHERE datname = current_database()),
    (SELECT string_agg(setconfig::text, ' ') FROM pg_db_role_setting s
       JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()))
"""
_LARGEST = "SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND oid >= 16384"
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_LARGE = 2**20
"""Bytes of a table from which on dropping is cheaper than deleting, and kinder to who comes next."""


async def migrated(database: Database) -> None:
    """Bring a database to today's schema.

    All tests of a Temporal server share its namespace: they are one installation.
    """
    await migrate.upgrade(database)
    async with database.transaction() as connection:
        await connection.execute(_ONE, {"id": UUID(int=1)})
    await without_notices(database)


async def without_notices(database: Database) -> None:
    """Switch notices off: most tests count e-mails, and those about notices switch them on."""
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE reminder_configurations SET is_enabled = false WHERE minutes_before = 0")
        )


async def as_new(url: str) -> str:
    """The database with the notices on that are in a new installation, which guides speak of."""
    database = Database(url)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE reminder_configurations SET is_enabled = true"
                " WHERE reminder_type IN ('cancelled', 'moved')"
            )
        )
    await database.aclose()
    return url


class Databases:
    """Those of one server; for one process, and one event loop."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        """Copy this server's database `template`."""
        self._server = server
        self._clean: list[str] = []
        self._connections: dict[str, asyncpg.Connection] = {}
        self._shape: dict[str, str] = {}
        self._empty: str | None = None
        self._seeds: dict[str, list[Any]] = {}

    @asynccontextmanager
    async def one(self) -> AsyncIterator[str]:
        """URL of a clean database, which is nobody else's until the context ends."""
        name = self._clean.pop() if self._clean else await self._made()
        yield self._server.url(name)
        if await self._is_cleaned(name):
            self._clean.append(name)
        else:
            await self._dropped(name)

    @asynccontextmanager
    async def copy(self, template: str) -> AsyncIterator[str]:
        """URL of a copy of this database, which is dropped when the context ends."""
        name = await self._copied(template)
        yield self._server.url(name)
        await self._dropped(name)

    async def _copied(self, template: str) -> str:
        name = f"test_{uuid4().hex}"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def leave(self, name: str) -> None:
        """Give up the connection that cleans it, which costs more than cleaning, and may be broken.

        Whoever copies a database must be alone with it.
        """
        if connection := self._connections.pop(name, None):
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=5)

    async def aclose(self) -> None:
        """Give up all connections."""
        for name in list(self._connections):
            await self.leave(name)

    async def _dropped(self, name: str) -> None:
        await self.leave(name)
        await self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _made(self) -> str:
        name = await self._copied("template")
        connection = self._connections[name] = await self._connect(name)
        self._shape[name] = await connection.fetchval(_SHAPE)
        if self._empty is None:
            await self._learn(connection)
        return name

    async def _learn(self, connection: Any) -> None:
        """Which tables have rows from the start, and how to get back there."""
        tables = [row["name"] for row in await connection.fetch(_TABLES)]
        for table in tables:
            rows = await connection.fetch(f"SELECT * FROM {table}")
            if rows:
                self._seeds[table] = [tuple(row) for row in rows]
        deletes = "".join(f"DELETE FROM {table};" for table in tables)
        sequences = await connection.fetchval(_SEQUENCES)
        self._empty = f"SET session_replication_role = replica; {deletes}{sequences or ''}"

    async def _is_cleaned(self, name: str) -> bool:
        """Bring a database back to the template's state, if nothing but rows has changed."""
        try:
            connection = self._connections.get(name) or await self._connect(name)
            self._connections[name] = connection
            await connection.execute(_END_OTHERS)
            if (
                await connection.fetchval(_SHAPE) != self._shape[name]
                or await connection.fetchval(_LARGEST) > _LARGE
            ):
                return False
            async with connection.transaction():
                await connection.execute(self._empty)
                for table, rows in self._seeds.items():
                    await connection.copy_records_to_table(table, records=rows)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def _administer(self, statement: str) -> None:
        """PostgreSQL's own programs would do it, in a process each, a copy of all that we are."""
        connection = await self._connect("postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _connect(self, name: str) -> Any:
        url = self._server.url(name).replace("+asyncpg", "")
        return await asyncpg.connect(url, timeout=30)
