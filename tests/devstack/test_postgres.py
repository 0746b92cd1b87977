"""The embedded PostgreSQL: its life, its deaths, and its databases."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from devstack import directories, postgres_files, process
from devstack.postgres import EmbeddedPostgres
from tests.devstack.owners import kill_an_owner

if TYPE_CHECKING:
    from collections.abc import Iterator


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")

OWNER = """
import pathlib, sys
from devstack import postgres, process
if sys.argv[2] == "without-death-signal":
    process.PR_SET_PDEATHSIG = 0
folder = None if sys.argv[1] == "-" else pathlib.Path(sys.argv[1])
server = postgres.EmbeddedPostgres(folder, durable=False)
server.start()
print(server.pid, server.log_file.parent, flush=True)
sys.stdin.read()
"""
"""A process that starts a server in the folder, says its pid and folder, and waits."""


def ask(server: EmbeddedPostgres, sql: str, database: str = "postgres") -> Any:
    """The first value of the answer."""

    async def query() -> Any:
        connection = await asyncpg.connect(server.url(database).replace("+asyncpg", ""))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(query())


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that `nobody` could reach too, unlike pytest's own: containers run us as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server that the tests share who do not harm it."""
    with EmbeddedPostgres(durable=False) as server:
        yield server


# ---------------------------------------------------------------- life


def test_data_survives_a_stop_and_a_kill(folder: Path) -> None:
    """What was committed is there after `kill` and `start`, and for the next owner after `stop`."""
    first = EmbeddedPostgres(folder / "data")
    first.start()
    url, pid = first.url(), first.pid
    ask(first, "CREATE TABLE kept AS SELECT 42 AS x")
    first.kill()
    assert first.pid is None
    assert pid is not None
    assert not process.is_alive(pid)

    first.start()
    assert first.url() == url
    assert ask(first, "SELECT x FROM kept") == 42
    first.stop()
    first.stop()

    with EmbeddedPostgres(folder / "data") as second:
        assert ask(second, "SELECT x FROM kept") == 42
        assert ask(second, "SHOW fsync") == "on"


def test_a_temporary_server_leaves_nothing() -> None:
    """After `stop`, even of a killed server, neither its files nor its shared memory are left."""
    other = EmbeddedPostgres(durable=False)
    other.start()
    folder = other.log_file.parent
    lines = (folder / "cluster" / "postmaster.pid").read_text().splitlines()
    segment = lines[6].split()[1]
    other.kill()
    other.stop()
    assert not folder.exists()
    if process.LINUX and postgres_files.unprivileged_account().uid is None:
        listed = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        assert segment not in [line.split()[1] for line in listed]


async def test_sessions_of_a_killed_postmaster_do_not_block_the_restart() -> None:
    """When only the postmaster was killed, `start` waits for its busy sessions to end."""
    busy = "SELECT count(*) FROM generate_series(1, 4000000)"
    seen = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1"
    with EmbeddedPostgres(durable=False) as server:
        url = server.url("postgres").replace("+asyncpg", "")
        worker, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
        query = asyncio.create_task(worker.fetchval(busy))
        while not await watcher.fetchval(seen, busy):
            assert not query.done()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert process.wait_until(lambda: server.pid is None, seconds=5)
        server.start()
        assert "pre-existing shared memory block" in server.log_file.read_text(encoding="utf-8")
        await asyncio.gather(query, return_exceptions=True)
        worker.terminate()
        watcher.terminate()
        again = await asyncpg.connect(url)
        assert await again.fetchval("SELECT 1") == 1
        await again.close()


def test_starting_twice_is_refused(server: EmbeddedPostgres) -> None:
    """A running server cannot be started."""
    with pytest.raises(RuntimeError, match="running already"):
        server.start()


def test_a_server_not_started_has_no_url() -> None:
    """Before `start` there is no socket to name; `stop` and `kill` do nothing."""
    server = EmbeddedPostgres()
    with pytest.raises(RuntimeError, match="has not been started"):
        server.url()
    server.kill()
    server.stop()


def test_a_failed_start_shows_the_log_and_releases_the_data(folder: Path) -> None:
    """The error ends with what PostgreSQL said; the same directory can be used again."""
    server = EmbeddedPostgres(folder, durable=False)
    with server:
        settings = folder / "cluster" / "postgresql.conf"
    good = settings.read_text(encoding="utf-8")
    settings.write_text(good + "\nnonsense = 1\n", encoding="utf-8")
    with pytest.raises(process.EmbeddedServerError, match='parameter "nonsense"'):
        server.start()
    settings.write_text(good, encoding="utf-8")
    with server:
        assert ask(server, "SELECT 1") == 1


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    """A kept cluster of another major version is left as it is, with a remedy."""
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("9\n", encoding="ascii")
    with pytest.raises(process.EmbeddedServerError, match="made by PostgreSQL 9, and this is"):
        EmbeddedPostgres(tmp_path).start()


def test_missing_binaries_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any PostgreSQL the error says how to get one."""
    monkeypatch.setattr(postgres_files, "_candidates", list)
    with pytest.raises(process.EmbeddedServerError, match=r"dev\.py setup"):
        postgres_files.find_binaries.__wrapped__()


def test_an_old_postgresql_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PostgreSQL that is too old is not used; the error says which one was found."""
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.9'\n")
    (tmp_path / "postgres").chmod(0o755)
    monkeypatch.setattr(postgres_files, "_candidates", lambda: [tmp_path])
    with pytest.raises(process.EmbeddedServerError, match="is version 13"):
        postgres_files.find_binaries.__wrapped__()


# ---------------------------------------------------------------- owners


@pytest.mark.skipif(not process.LINUX, reason="only Linux has death signals")
def test_a_killed_owner_leaves_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `kill -9` of its owner the server ends, and the next start removes its files."""
    pid, folder = kill_an_owner(OWNER, None)
    assert process.wait_until(lambda: not process.is_alive(pid), seconds=10)
    monkeypatch.setattr(EmbeddedPostgres, "_launch", lambda _self: None)  # what precedes is enough
    with EmbeddedPostgres(durable=False):
        # Another server that starts at the same time, in another process, may be at it already.
        assert process.wait_until(lambda: not folder.exists(), seconds=10)


def test_an_orphan_is_ended_at_the_next_start(folder: Path) -> None:
    """A server whose owner was killed without the kernel's help is replaced; the data stays."""
    pid, _ = kill_an_owner(OWNER, folder, "without-death-signal")
    assert process.is_alive(pid)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert not process.is_alive(pid)
        assert ask(server, "SELECT 1") == 1


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    """Data that another live server has claimed is refused, naming the process."""
    claim = directories.ClaimedDirectory(tmp_path, lock="postgres.lock")
    with pytest.raises(directories.DirectoryInUseError, match=str(os.getpid())):
        EmbeddedPostgres(tmp_path).start()
    assert not (tmp_path / "cluster").exists()
    claim.release()


@pytest.mark.skipif(
    postgres_files.unprivileged_account().uid is not None, reason="`nobody` must do here, for root"
)
def test_a_closed_directory_is_enough(tmp_path: Path) -> None:
    """It works in a 0700 directory, for root too, over a half-made cluster, and opens nothing."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "data" / "cluster.new" / "base").mkdir(parents=True)
    with EmbeddedPostgres(closed / "data", durable=False) as server:
        assert ask(server, "SELECT 1") == 1
        socket = Path(server.url().partition("host=")[2].partition("&")[0])
        assert socket.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_mode & 0o777 == 0o700


@root_only
def test_root_without_user_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where namespaces are refused, `nobody` serves, with a copy of binaries out of its reach."""
    monkeypatch.setattr(postgres_files, "user_namespaces_allowed", lambda: False)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    binaries = postgres_files.find_binaries()
    package = binaries.parent.parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        (closed / folder.name).symlink_to(folder)
    reached = closed / binaries.relative_to(package.parent)
    monkeypatch.setattr(postgres_files, "find_binaries", lambda: reached)
    with EmbeddedPostgres(durable=False) as server:
        assert ask(server, "SELECT 1") == 1
        server.create_database("another")
        owner = (server.log_file.parent / "cluster").owner()
        assert owner == "nobody"
        server.kill()
        server.start()
        assert ask(server, "SELECT 1", "another") == 1


@root_only
def test_data_out_of_reach_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where `nobody` cannot get to the data, the error says what to do."""
    monkeypatch.setattr(postgres_files, "user_namespaces_allowed", lambda: False)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(process.EmbeddedServerError, match="choose another directory"):
        EmbeddedPostgres(closed / "data").start()


# ---------------------------------------------------------------- databases


def test_a_database_from_a_template(server: EmbeddedPostgres) -> None:
    """A copy has the template's tables, and a life of its own."""
    server.create_database("template")
    ask(server, "CREATE TABLE seeded AS SELECT 7 AS x", "template")
    server.create_database("copy", template="template")
    ask(server, "UPDATE seeded SET x = 8", "copy")
    assert ask(server, "SELECT x FROM seeded", "copy") == 8
    assert ask(server, "SELECT x FROM seeded", "template") == 7


def test_a_database_with_an_awkward_name(server: EmbeddedPostgres) -> None:
    """Quotes, spaces and slashes in a name are no trouble, neither in SQL nor in the URL."""
    name = "a \"b\" 'c'/d%e&f"
    server.create_database(name)
    assert ask(server, "SELECT current_database()", name) == name
    server.drop_database(name)


def test_creating_a_database_twice(server: EmbeddedPostgres) -> None:
    """`create_database` refuses an existing one, `ensure_database` says it was there."""
    assert server.ensure_database("twice") is True
    assert server.ensure_database("twice") is False
    with pytest.raises(process.EmbeddedServerError, match='"twice" already exists'):
        server.create_database("twice")


def test_ensuring_a_database_tells_other_errors(server: EmbeddedPostgres) -> None:
    """An error that is not about existing is not hidden."""
    with pytest.raises(process.EmbeddedServerError):
        server.ensure_database("")


def test_a_dropped_database_is_gone_with_its_sessions(server: EmbeddedPostgres) -> None:
    """Dropping ends whoever is connected, and may be repeated."""

    async def drop_while_connected() -> None:
        connection = await asyncpg.connect(server.url("dropped").replace("+asyncpg", ""))
        await asyncio.to_thread(server.drop_database, "dropped")
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()

    server.create_database("dropped")
    asyncio.run(drop_while_connected())
    server.drop_database("dropped")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        ask(server, "SELECT 1", "dropped")


def test_the_url_is_sqlalchemys(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine connects by the URL, in UTC, whatever `PG...` variables the user has."""
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGHOST", "/nowhere")
    server.ensure_database("engine")

    async def connect() -> tuple[str, str]:
        engine = create_async_engine(server.url("engine"))
        async with engine.connect() as connection:
            row = (
                await connection.execute(
                    text("SELECT current_setting('TimeZone'), current_setting('max_connections')")
                )
            ).one()
        await engine.dispose()
        return row[0], row[1]

    assert asyncio.run(connect()) == ("UTC", "200")


def test_nothing_listens_on_tcp(server: EmbeddedPostgres) -> None:
    """The only way in is the socket file."""
    assert ask(server, "SHOW listen_addresses") == ""
