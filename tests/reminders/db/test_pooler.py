"""Behind a real PgBouncer: nothing is kept beyond a transaction, and nothing of others is met."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from devstack.postgres import EmbeddedPostgres
from reminders.db import migrate
from reminders.db.connections import Session
from reminders.db.engine import OUR_SCHEMA, Database
from reminders.domain.errors import DatabaseUnavailableError
from tests.reminders.db.pgbouncer import PgBouncer, binary

SERVERS = 3
"""Connections of the pooler's, which many clients share."""

pytestmark = pytest.mark.skipif(binary() is None, reason="PgBouncer is not installed")


@pytest.fixture(scope="module")
def bouncer(postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    """In transaction mode."""
    with PgBouncer(postgres, "transaction", default_pool_size=SERVERS) as bouncer:
        yield bouncer


@pytest.fixture
def name(database_url: str) -> str:
    """Of this test's own database."""
    return database_url.partition("@/")[2].partition("?")[0]


@pytest.fixture
async def pooled(bouncer: PgBouncer, name: str) -> AsyncIterator[Database]:
    """This test's own database, through the pooler."""
    database = Database(bouncer.url(name))
    yield database
    await database.aclose()


@pytest.fixture
async def somebody(bouncer: PgBouncer, name: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Clients of somebody else's, enough to have every one of the pooler's connections at once."""
    clients = [
        await asyncpg.connect(bouncer.url(name), statement_cache_size=0) for _ in range(SERVERS)
    ]
    yield clients
    for client in clients:
        await client.close()


async def _in_every_server(clients: list[asyncpg.Connection], command: str) -> None:
    """Run something in the session of each of the pooler's connections, and leave it so."""
    for client in clients:
        await client.execute("BEGIN")
    for client in clients:
        await client.execute(command)
    for client in clients:
        await client.execute("COMMIT")


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_is_noticed(mode: str, postgres: EmbeddedPostgres, name: str) -> None:
    """Whatever its mode; and a server without one is known for that."""
    with PgBouncer(postgres, mode) as bouncer:
        through, direct = Database(bouncer.url(name)), Database(postgres.url(name))
        assert [1, 1] == [await d.scalar(text("SELECT 1")) for d in (through, direct)]
        assert [True, False] == [through.is_pooled, direct.is_pooled]
        await through.aclose()
        await direct.aclose()


async def test_many_statements_share_few_servers(pooled: Database) -> None:
    """Each is answered as it was asked, on whatever server; no name of a statement is left there."""

    async def asked(number: int) -> bool:
        own = await pooled.scalar(text(f"SELECT CAST(:n AS int) + {number % 7}"), {"n": number})
        async with pooled.transaction() as connection:
            first = await connection.scalar(text("SELECT txid_current()"))
            again = await connection.scalar(text("SELECT txid_current()"))
        return bool(own == number + number % 7 and first == again)

    assert all(await asyncio.gather(*map(asked, range(120))))
    names = text("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''")
    assert {0} == {await pooled.scalar(names) for _ in range(SERVERS * 2)}


async def test_no_statement_meets_what_others_left(
    pooled: Database, somebody: list[asyncpg.Connection]
) -> None:
    """A search path and temporary tables of others change nothing, in owned mode."""
    ours = await pooled.scalar(text("SELECT id FROM reminder_installation"))
    await somebody[0].execute("CREATE SCHEMA platform; CREATE TABLE platform.sessions (id text)")
    await somebody[0].execute("CREATE TABLE platform.reminder_installation (id text)")
    await _in_every_server(somebody, "SET search_path TO platform")
    await _in_every_server(
        somebody, "CREATE TEMP TABLE IF NOT EXISTS reminder_installation (id text)"
    )
    read = text("SELECT id FROM reminder_installation")
    assert {ours} == set(await asyncio.gather(*(pooled.scalar(read) for _ in range(20))))


async def test_existing_mode_meets_its_own_views_only(
    bouncer: PgBouncer, postgres: EmbeddedPostgres
) -> None:
    """The platform has tables with our names, and neither sees the other's search path."""
    name = f"test_{uuid4().hex}"
    await asyncio.to_thread(postgres.create_database, name)
    clients = [
        await asyncpg.connect(bouncer.url(name), statement_cache_size=0) for _ in range(SERVERS)
    ]
    await clients[0].execute(
        "CREATE TABLE sessions (id uuid, title text, start_time timestamptz);"
        "CREATE TABLE users (id uuid, email text);"
        "CREATE TABLE enrollments (session_id uuid, user_id uuid);"
        "CREATE TABLE session_reminder_emails (theirs int)"
    )
    await _in_every_server(clients, "SET search_path TO public")
    database = Database(bouncer.url(name), host_schema="public")
    await migrate.upgrade(database)
    assert await migrate.current(database) == migrate.head()
    found = text("SELECT 'session_reminder_emails'::regclass::oid")
    ours = text(f"SELECT '{OUR_SCHEMA}.session_reminder_emails'::regclass::oid")
    async with database.autocommit() as connection:
        assert await connection.scalar(found) == await connection.scalar(ours)
    paths = await asyncio.gather(
        *(database.scalar(text("SELECT current_setting('search_path')")) for _ in range(20))
    )
    assert set(paths) == {f"{OUR_SCHEMA}, pg_temp"}
    seen = {await client.fetchval("SHOW search_path") for client in clients}
    assert seen == {"public"}, "what we set was left to the platform"
    await database.aclose()
    for client in clients:
        await client.close()


async def test_a_lock_lasts_as_long_as_its_transaction(pooled: Database) -> None:
    """Locks are of transactions, so none stays behind in a session that is somebody else's."""
    key = text("SELECT pg_advisory_xact_lock(5)")
    async with pooled.transaction() as connection:
        await connection.execute(key)
    held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert {0} == {await pooled.scalar(held) for _ in range(SERVERS * 2)}


async def test_a_full_pooler_is_away_until_it_is_not(postgres: EmbeddedPostgres, name: str) -> None:
    """Its words are understood, and afterwards everything works without a restart."""
    # A slow machine may take more than a second to open the pooler's own connection.
    with PgBouncer(postgres, "transaction", default_pool_size=1, query_wait_timeout=60) as bouncer:
        database = Database(bouncer.url(name))
        assert 1 == await database.scalar(text("SELECT 1"))
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            await bouncer.set("query_wait_timeout", 1)
            with pytest.raises(DatabaseUnavailableError, match=r"query_wait_timeout"):
                await database.scalar(text("SELECT 1"))
            await bouncer.set("query_wait_timeout", 60)
        assert 1 == await database.scalar(text("SELECT 1"))
        bouncer.kill()
        with pytest.raises(DatabaseUnavailableError):
            await database.scalar(text("SELECT 1"))
        bouncer.start()
        assert 1 == await database.scalar(text("SELECT 1"))
        await database.aclose()


async def test_a_pooler_that_cannot_be_noticed_betrays_itself(
    bouncer: PgBouncer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passes the server's own number on; then the first statement that is gone tells."""
    database = Database(bouncer.url(name))
    await database.scalar(text("SELECT 1"))
    database._connections.is_pooled = False
    await database.engine.dispose()
    real = Session.fetchrow

    async def disguised(self: Session, query: str, *args: object) -> object:
        _, *rest = await real(self, query, *args)
        return [self.get_server_pid(), *rest]

    monkeypatch.setattr(Session, "fetchrow", disguised)

    async def asked(number: int) -> int | None:
        try:
            result: int = await database.scalar(text(f"SELECT {number}::int"))
        except DatabaseUnavailableError:
            return None
        return result

    for _ in range(5):
        await asyncio.gather(*map(asked, range(30)))
        await asyncio.gather(*map(asked, range(30)))
    assert database.is_pooled
    assert list(range(10)) == [await asked(number) for number in range(10)]
    await database.aclose()
