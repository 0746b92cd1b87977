"""A real PgBouncer before an embedded PostgreSQL, as a child of the tests' process."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import asyncpg

from devstack import postgres_files as files
from devstack.postgres import PORT as POSTGRES_PORT
from devstack.postgres import EmbeddedPostgres
from devstack.server import Server

PORT = 6543
"""Only names the socket file."""


def binary() -> str | None:
    """Where PgBouncer is; `None` if it is not installed."""
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncer(Server):
    """PgBouncer, reached through a private socket; everybody is let in, as with its PostgreSQL."""

    kind = "pgbouncer"
    title = "PgBouncer"
    prefix = "reminders-bouncer-"
    start_seconds = 20
    stop_signals: ClassVar = ((signal.SIGTERM, 5.0),)

    def __init__(self, postgres: EmbeddedPostgres, mode: str, **settings: object) -> None:
        """Nothing is started yet.

        Args:
            postgres: Runs.
            mode: `session` or `transaction`.
            settings: Of PgBouncer, in place of these.
        """
        super().__init__()
        self._postgres = postgres
        self.settings: dict[str, object] = {
            "pool_mode": mode,
            "default_pool_size": 5,
            "max_client_conn": 100,
            "server_round_robin": 1,  # a transaction's server is hardly ever the one before's
            "server_login_retry": 1,
            "query_wait_timeout": 10,
            **settings,
        }

    def url(self, database: str, user: str = "postgres") -> str:
        """`DATABASE_URL` of a database through it."""
        return f"postgresql://{user}@/{database}?host={quote(str(self._folder))}&port={PORT}"

    async def set(self, name: str, value: int) -> None:
        """Change a setting while it runs, from its console."""
        console = await asyncpg.connect(self.url("pgbouncer"), statement_cache_size=0)
        await console.execute(f"SET {name} = {value}")
        console.terminate()

    @staticmethod
    def _marks(data: Path) -> tuple[Path, str, Path]:
        return data / "pgbouncer.pid", "pgbouncer", data / "pgbouncer.ini"

    def _listens(self) -> bool:
        """Whether it can be reached: its socket's file is there a moment before that."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._folder / f".s.PGSQL.{PORT}")) == 0

    def _launch_once(self) -> None:
        folder = self._folder
        fixed = {
            "listen_port": PORT,
            "unix_socket_dir": folder,
            "auth_type": "trust",
            "auth_file": folder / "users.txt",
            "admin_users": "postgres",
        }
        # Of one that was killed.
        (folder / f".s.PGSQL.{PORT}").unlink(missing_ok=True)
        (folder / "users.txt").write_text(
            "".join(f'"{name}" ""\n' for name in ("postgres", "session_reminders", "app"))
        )
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={self._postgres._socket_dir} port={POSTGRES_PORT}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in {**fixed, **self.settings}.items())
        )
        program = binary()
        assert program is not None
        self._run(
            [program, folder / "pgbouncer.ini"],
            self._listens,
            run_as=files.unprivileged_account(),
            env=files.environment(),
        )
