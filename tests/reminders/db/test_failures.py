"""What PostgreSQL, poolers and the driver say means one of four things, in one table."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import gaierror

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from devstack.postgres import EmbeddedPostgres
from reminders.db import connections
from reminders.db.engine import Database
from reminders.db.failures import Meaning, described, failure_of, refusal
from reminders.domain.errors import DatabaseRefusedError, DatabaseUnavailableError
from reminders.settings import Settings
from tests.stage import eventually

_ALIVE = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
AGAIN, AWAY, OURS, VALUE = Meaning.AGAIN, Meaning.AWAY, Meaning.OURS, Meaning.VALUE


def _said(state: str, words: str = "x") -> asyncpg.PostgresError:
    """What a server, or a pooler in its place, says."""
    error: asyncpg.PostgresError = asyncpg.PostgresError.new({"C": state, "M": words})
    return error


@pytest.mark.parametrize(
    ("state", "words", "meaning"),
    [
        ("08006", "connection failure", AWAY),
        ("08P01", "no more connections allowed (max_client_conn)", AWAY),
        ("08P01", "query_wait_timeout", AWAY),
        ("08P01", "server login failed: the database system is starting up", AWAY),
        ("08P01", "unsupported startup parameter: extra_float_digits", OURS),
        ("08P01", "no such database: nowhere", OURS),
        ("08P01", "no such user: nobody", OURS),
        (
            "08P01",
            'bind message supplies 2 parameters, but prepared statement "" requires 1',
            AGAIN,
        ),
        ("0A000", "cached plan must not change result type", AGAIN),
        ("22000", "invalid input for query argument $1", VALUE),
        ("22012", "division by zero", VALUE),
        ("23505", "duplicate key", VALUE),
        ("25000", "cannot start commands during a parallel operation", OURS),
        ("25006", "cannot execute INSERT in a read-only transaction", AWAY),
        ("25P02", "current transaction is aborted", AGAIN),
        ("25P03", "terminating connection due to idle-in-transaction timeout", AWAY),
        ("26000", 'prepared statement "s" does not exist', AGAIN),
        ("28P01", 'password authentication failed for user "u"', OURS),
        ("3D000", 'database "d" does not exist', OURS),
        ("3F000", 'schema "s" does not exist', OURS),
        ("40001", "could not serialize access", AGAIN),
        ("40P01", "deadlock detected", AGAIN),
        ("42501", "permission denied for view sessions", OURS),
        ("42P01", 'relation "sessions" does not exist', OURS),
        ("42P05", 'prepared statement "s" already exists', AGAIN),
        ("53100", "could not extend file", AWAY),
        ("53300", "sorry, too many clients already", AWAY),
        ("55P03", "canceling statement due to lock timeout", AGAIN),
        ("57014", "canceling statement due to statement timeout", AWAY),
        ("57P01", "terminating connection due to administrator command", AWAY),
        ("57P03", "the database system is starting up", AWAY),
        ("58000", "could not get connection from the pool - AllServersDown", AWAY),
        ("P0001", "raised by a function", VALUE),
        ("XX000", "Max client connections reached", AWAY),
        ("XX000", "MaxClientsInSessionMode: max clients reached", AWAY),
        ("XX000", "Tenant or user not found", OURS),
        ("XX000", "tuple concurrently updated", AWAY),
        ("XX001", "invalid page in block 0", OURS),
    ],
)
def test_what_a_server_says_has_a_meaning(state: str, words: str, meaning: Meaning) -> None:
    """By its SQLSTATE, and by the words of poolers, which have few of them."""
    error = _said(state, words)
    failure = failure_of(error)
    assert failure is not None
    assert meaning is failure.meaning
    known = refusal(error)
    if known is None:
        assert meaning is VALUE
    else:
        assert known.retryable, "a worker tries again, whoever has to act"
        assert state in str(known)
        assert "; " in str(known), "the remedy comes last"
        assert (known.status, known.exit_code) == ((500, 1) if meaning is OURS else (503, 4))


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (ConnectionRefusedError(), AWAY),
        (ConnectionResetError(), AWAY),
        (TimeoutError(), AWAY),
        (gaierror(-2, "Name or service not known"), AWAY),
        (PoolTimeoutError(), AWAY),
        (asyncpg.ConnectionDoesNotExistError("connection was closed"), AWAY),
        (asyncpg.InterfaceError("another operation is in progress"), AWAY),
        (asyncpg.InternalClientError("cannot switch to state"), AWAY),
        (asyncpg.TargetServerAttributeNotMatched("no host"), AWAY),
        (asyncpg.OutdatedSchemaCacheError("changed"), AGAIN),
        (asyncpg.exceptions.ClientConfigurationError("no certificate"), OURS),
        (ssl.SSLCertVerificationError("self-signed"), OURS),
        (ConnectionError("PostgreSQL server at x rejected SSL upgrade"), OURS),
    ],
)
def test_what_the_driver_says_has_a_meaning(error: Exception, meaning: Meaning) -> None:
    """A server that cannot be reached has no SQLSTATE."""
    failure = failure_of(error)
    assert failure is not None
    assert meaning is failure.meaning


@pytest.mark.parametrize(
    "error",
    [_said("42601", "syntax error"), KeyError("x")],
)
def test_a_mistake_of_ours_is_nothing_else(error: Exception) -> None:
    """It is not hidden behind a server that is said to be away."""
    assert failure_of(error) is None
    assert refusal(error) is None


def test_what_may_quote_a_row_is_not_repeated() -> None:
    """SQLSTATE and function are named; a message about values is not."""
    error = _said("P0001", "ana@hospital.example is no member")
    error.__dict__["context"] = "PL/pgSQL function host.check_it(uuid) line 3 at RAISE"
    assert described(error) == "SQLSTATE P0001, PL/pgSQL function host.check_it"
    assert "permission denied for view sessions" in described(
        _said("42501", "permission denied for view sessions")
    )


@asynccontextmanager
async def _administering(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    driver = await asyncpg.connect(postgres.url("postgres").replace("+asyncpg", ""))
    try:
        yield driver
    finally:
        await driver.close()


async def _pid(database: Database) -> int:
    pid: int = await database.scalar(text("SELECT pg_backend_pid()"))
    return pid


async def test_connections_of_a_read_only_phase_are_not_kept(
    database: Database, database_url: str, postgres: EmbeddedPostgres
) -> None:
    """A session remembers that it was read-only; once the server is well, so are we."""
    name = database_url.partition("@/")[2].partition("?")[0]
    write = text("UPDATE reminder_installation SET id = id")
    async with _administering(postgres) as administrator:
        await administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError, match=r"takes no writes.*25006"):
                async with database.transaction() as connection:
                    await connection.execute(write)
        with pytest.raises(DatabaseUnavailableError, match=r"takes no writes.*read-only"):
            await database.see_writable()
        await administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    async with database.transaction() as connection:
        await connection.execute(write)
    await database.see_writable()


async def test_one_in_use_during_a_read_only_phase_is_closed_after_it(
    database: Database, settings: Settings
) -> None:
    """Whoever has it may go on with it; nobody else gets it, and the collector finds nothing."""
    url = f"{settings.require_database_url()}&options=-c%20default_transaction_read_only%3Don"
    read_only = Database(url, pool_size=2)
    async with read_only.autocommit() as connection:
        used = await connection.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(DatabaseUnavailableError):
            await read_only.see_writable()
        assert used == await connection.scalar(text("SELECT pg_backend_pid()"))
    assert used not in [await _pid(read_only), await _pid(read_only)]

    async def is_gone() -> bool:
        return not await database.scalar(_ALIVE, {"pid": used})

    await eventually(is_gone)
    await read_only.aclose()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        gc.collect()
    assert not [str(f.message) for f in found if "connection" in str(f.message)]


async def test_a_connection_that_the_server_has_closed_is_not_used(
    database: Database, postgres: EmbeddedPostgres
) -> None:
    """After a restart the first call already works: the pool sees that its connections are gone."""
    pid = await _pid(database)
    async with _administering(postgres) as administrator:
        await administrator.execute("SELECT pg_terminate_backend($1, 5000)".replace("$1", str(pid)))
    await asyncio.sleep(0)  # the loop hears of it
    assert pid != await _pid(database)


async def test_a_statement_that_takes_too_long_is_said_to(database_url: str) -> None:
    """`statement_timeout` of the host's, and the connection is still good."""
    database = Database(f"{database_url}&statement_timeout=1s")
    with pytest.raises(DatabaseUnavailableError, match=r"too long.*57014"):
        await database.scalar(text("SELECT pg_sleep(5)"))
    assert 1 == await database.scalar(text("SELECT 1"))
    await database.aclose()


async def test_a_process_that_stands_still_in_a_transaction_loses_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks would hold everybody up: a stopped process, or one whose host is gone."""
    monkeypatch.setattr(connections, "IDLE_IN_TRANSACTION", "200ms")
    database = Database(database_url)

    async def standing_still() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            await asyncio.sleep(2)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailableError):
        await standing_still()
    assert 1 == await database.scalar(text("SELECT 1"))
    await database.aclose()


async def test_a_deadlock_of_one_statement_is_not_felt(database: Database) -> None:
    """What was rolled back so that others go first is put once more."""
    async with database.transaction() as connection:
        await connection.execute(text("CREATE SEQUENCE tries"))
        await connection.execute(
            text(
                "CREATE FUNCTION once() RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
                " IF nextval('tries') = 1 THEN RAISE 'x' USING ERRCODE = '40P01'; END IF;"
                " RETURN 42; END $$"
            )
        )
    assert 42 == await database.scalar(text("SELECT once()"))


async def test_a_changed_view_is_not_felt(database: Database) -> None:
    """A plan from before `db upgrade` made the views anew is thrown away."""
    async with database.transaction() as connection:
        await connection.execute(text("CREATE VIEW v AS SELECT 1 AS a"))
    await database.rows(text("SELECT * FROM v"))
    async with database.transaction() as connection:
        await connection.execute(text("DROP VIEW v"))
        await connection.execute(text("CREATE VIEW v AS SELECT 'x'::text AS a"))
    assert "x" == await database.scalar(text("SELECT * FROM v"))


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("postgresql://postgres@127.0.0.1:1/none", DatabaseUnavailableError, "does not answer"),
        ("", DatabaseRefusedError, "does not exist.*3D000"),
    ],
)
async def test_a_connection_that_cannot_be_made_is_one_error(
    postgres: EmbeddedPostgres, url: str, kind: type[Exception], words: str
) -> None:
    """Whatever the driver calls it."""
    database = Database(url or postgres.url("nowhere"))
    with pytest.raises(kind, match=words):
        await database.scalar(text("SELECT 1"))
    await database.aclose()


async def test_a_full_server_is_away_until_it_is_not(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    """No connection is free for this role; when one is, nothing has to be restarted."""
    async with _administering(postgres) as administrator:
        await administrator.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
        database = Database(database_url.replace("postgres@", "crowded@"))
        with pytest.raises(DatabaseUnavailableError, match=r"no more connections.*53300"):
            await _pid(database)
        await administrator.execute("ALTER ROLE crowded CONNECTION LIMIT 5")
        assert await _pid(database)
        await database.aclose()
        await administrator.execute("DROP ROLE crowded")
