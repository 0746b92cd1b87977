"""A PostgreSQL of one's own: for `dev.py`, the demo and the tests; no account, no container."""

from __future__ import annotations

import signal
import stat
import time
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from devstack import postgres_files as files
from devstack import process
from devstack.directories import ClaimedDirectory
from devstack.process import EmbeddedServerError, Escalation
from devstack.server import Server

PORT = 5432
"""Only names the socket file: there is no TCP listener."""

MAX_CONNECTIONS = 200

SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": str(MAX_CONNECTIONS),
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In the data directory, not in /dev/shm: containers make that tiny, and a killed server
    # would leave its segments there for ever.
    "dynamic_shared_memory_type": "mmap",
}

NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedPostgres(Server):
    """A PostgreSQL server as a child of this process, reached through a private socket.

    ```python
    with EmbeddedPostgres(durable=False) as postgres:
        postgres.create_database("reminders")
        engine = create_async_engine(postgres.url("reminders"))
    ```

    `url` stays the same over `kill` and `start`; a `stop` ends it. One user, `postgres`, without a
    password: who can reach the socket (we, and root) is let in.

    Directories:
        `data_dir/cluster` is PostgreSQL's own, `data_dir/postgres.log` its log. Nothing of other
        servers in `data_dir` is touched. The socket is in a temporary directory.
    """

    kind = "postgres"
    title = "PostgreSQL"
    prefix = "reminders-pg-"
    start_seconds = 60
    """A crash recovery is part of it."""
    stop_signals: ClassVar[Escalation] = (
        (signal.SIGINT, 20),  # "fast": ends the sessions, writes a checkpoint
        (signal.SIGQUIT, 5),  # "immediate": no checkpoint, recovers at the next start
    )
    # It is quick, and would leave shared memory behind.
    kills_what_is_temporary = False

    def __init__(self, data_dir: Path | None = None, *, durable: bool = True) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where the data is kept; None is a temporary directory that `stop` removes.
            durable: Whether a commit survives a power failure. False is for tests: faster, and
                still safe against the death of any process.
        """
        super().__init__(data_dir)
        self._durable = durable
        self._home: ClaimedDirectory | None = None

    # ------------------------------------------------------------ databases

    def url(self, database: str = "reminders") -> str:
        """The SQLAlchemy URL of a database; without `+asyncpg` it is asyncpg's own.

        The port is spelt out, or asyncpg would take it from the user's `PGPORT`.

        Args:
            database: Its name; whether it exists is not checked.
        """
        socket = quote(str(self._socket_dir), safe="/")
        return (
            f"postgresql+asyncpg://postgres@/{quote(database, safe='')}?host={socket}&port={PORT}"
        )

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database.

        Args:
            name: Of the new one.
            template: A database to copy, to which nobody may be connected; None is an empty one.

        Raises:
            EmbeddedServerError: If it exists already, or the template does not or is in use.
        """
        options = [] if template is None else [f"--template={template}"]
        self._client("createdb", *options, name)

    def ensure_database(self, name: str) -> bool:
        """Create a database unless it exists; whether it was created now.

        Raises:
            EmbeddedServerError: If it cannot be created.
        """
        try:
            self.create_database(name)
        except EmbeddedServerError as error:
            if "already exists" in str(error):
                return False
            raise
        return True

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it; nothing happens when it does not exist.

        Raises:
            EmbeddedServerError: If it cannot be dropped.
        """
        self._client("dropdb", "--if-exists", "--force", name)

    def _client(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's client programs against this server."""
        connection = (f"--host={self._socket_dir}", f"--port={PORT}", "--username=postgres")
        process.run(
            [
                files.find_binaries() / program,
                *connection,
                "--no-password",
                "--maintenance-db=postgres",
                *arguments,
            ],
            env=files.environment(),
        )

    @property
    def _cluster(self) -> Path:
        return self._folder / "cluster"

    @property
    def _socket_dir(self) -> Path:
        return self._started(self._home).path / "s"

    # ------------------------------------------------------------ the start, step by step

    @staticmethod
    def _marks(data: Path) -> tuple[Path, str, Path]:
        return data / "cluster" / "postmaster.pid", "postgres", data / "cluster"

    def _claim(self) -> None:
        """Claim the directory, and a temporary one for the socket, whose name must be short."""
        super()._claim()
        self._home = self._data
        if self._data_dir is not None:
            self._home = ClaimedDirectory.temporary(self.prefix, lock=f"{self.kind}.lock")

    def _release(self) -> None:
        if self._home is not None and self._home is not self._data:
            self._discard(self._home)
        self._home = None
        super()._release()

    @staticmethod
    def _discard(directory: ClaimedDirectory) -> None:
        """Remove a temporary directory and, if its server was killed, the server's shared memory."""
        files.forget_shared_memory(directory.path / "cluster")
        directory.release(remove=True)

    def _launch(self) -> None:
        """Start the server, again while sessions of a killed one on the same data still end."""
        deadline = time.monotonic() + self.start_seconds
        while True:
            try:
                self._launch_once()
            except EmbeddedServerError as error:
                busy = "pre-existing shared memory block" in str(error)
                if not busy or time.monotonic() >= deadline:
                    raise
                time.sleep(process.POLL_SECONDS)
            else:
                return

    def _launch_once(self) -> None:
        """Make the cluster if there is none, start the server on it, wait until it is ready."""
        data, home, cluster = self._folder, self._started(self._home).path, self._cluster
        run_as = files.unprivileged_account(cluster if cluster.exists() else None)
        if run_as.uid is not None:
            for folder in {data, home}:
                # The account must get through, and no more.
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
        binaries = files.usable_binaries(files.find_binaries(), run_as, home)
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        files.give(self._socket_dir, run_as)
        if cluster.exists():
            files.check_version(cluster, binaries)
            files.give(cluster, run_as)
        else:
            files.make_cluster(data, binaries, run_as, durable=self._durable)
        settings = {**SETTINGS, **({} if self._durable else NOT_DURABLE)}
        settings["unix_socket_directories"] = str(self._socket_dir)
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        self._run(
            [binaries / "postgres", "-D", cluster, *options],
            lambda: files.is_ready(cluster, self.pid),
            death_signal=signal.SIGINT,
            run_as=run_as,
            env=files.environment(),
        )
