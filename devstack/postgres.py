"""A PostgreSQL of one's own: for `dev.py`, the demo and the tests; no account, no container."""

from __future__ import annotations

import atexit
import os
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from devstack import accounts, directories, postgres_cluster, process
from devstack.postgres_binaries import environment, find_binaries, usable_binaries

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

PORT = 5432
"""Only names the socket file: there is no TCP listener."""

MAX_CONNECTIONS = 200

START_SECONDS = 60
"""Bound of a start; a crash recovery is part of it."""

STOP: process.Escalation = (
    (signal.SIGINT, 20),  # "fast": ends the sessions, writes a checkpoint
    (signal.SIGQUIT, 5),  # "immediate": no checkpoint, recovers at the next start
    (signal.SIGKILL, 5),
)

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

_PREFIX = "reminders-pg-"
_LOCK = "postgres.lock"


class EmbeddedPostgres:
    """A PostgreSQL server as a child of this process, reached through a private socket.

    ```python
    with EmbeddedPostgres(durable=False) as postgres:
        postgres.create_database("reminders")
        engine = create_async_engine(postgres.url("reminders"))
    ```

    It ends with this process, however that ends. `url` stays the same over `kill` and `start`; a
    `stop` ends it. One user, `postgres`, without a password: who can reach the socket (we, and
    root) is let in.

    Directories:
        `data_dir/cluster` is PostgreSQL's own, `data_dir/postgres.log` its log. Nothing else in
        `data_dir` is touched, so other servers may live there too.
    """

    def __init__(self, data_dir: Path | None = None, *, durable: bool = True) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where the data is kept; None is a temporary directory that `stop` removes.
            durable: Whether a commit survives a power failure. False is for tests: faster, and
                still safe against the death of any process.
        """
        self._data_dir = data_dir
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._home: directories.ClaimedDirectory | None = None
        self._data: directories.ClaimedDirectory | None = None

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start the server and return when it takes connections.

        An orphan of an earlier owner of the same data is ended first; after a crash the server
        recovers by itself.

        Raises:
            EmbeddedServerError: If there are no binaries, or the server does not come up within
                60 s; the message has the remedy or the end of the log.
            DirectoryInUseError: If another live process uses `data_dir`.
            RuntimeError: If it is running already.
        """
        if self.pid is not None:
            message = "this PostgreSQL is running already"
            raise RuntimeError(message)
        new = self._home is None
        try:
            if new:
                self._claim()
            self._launch()
        except BaseException:
            # A restart that fails keeps the data, as the kill before it did.
            self.stop() if new else self.kill()
            raise

    def stop(self) -> None:
        """Stop the server in order, and remove the data if it is temporary; idempotent."""
        if self._owner != os.getpid():
            return  # never started, or we are a fork of the process that did
        atexit.unregister(self.stop)
        if self._process is not None and not process.end(self._process, STOP[:-1]):
            process.kill_with_children(self._process)
        self._process = None
        self._owner = None
        if self._data is not None and self._data is not self._home:
            self._data.release()
        if self._home is not None:
            _discard(self._home)
        self._home = self._data = None

    def kill(self) -> None:
        """`SIGKILL` the server and all its processes, as a crash would; `start` starts it again.

        The data stays, also when it is temporary, until `stop`. Does nothing when not running.
        """
        if self._process is not None:
            process.kill_with_children(self._process)
            self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int | None:
        """Pid of the running server; None when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._claimed(self._data) / "postgres.log"

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
            name: Its name.
            template: A database to copy, to which nobody may be connected; None is an empty one.

        Raises:
            EmbeddedServerError: If it exists already, or the template does not or is in use.
        """
        options = [] if template is None else [f"--template={template}"]
        self._client("createdb", *options, name)

    def ensure_database(self, name: str) -> bool:
        """Create a database unless it exists.

        Args:
            name: Its name.

        Returns:
            Whether it was created now.

        Raises:
            EmbeddedServerError: If it cannot be created.
        """
        try:
            self.create_database(name)
        except process.EmbeddedServerError as error:
            if "already exists" in str(error):
                return False
            raise
        return True

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it; nothing happens when it does not exist.

        Args:
            name: Its name.

        Raises:
            EmbeddedServerError: If it cannot be dropped.
        """
        self._client("dropdb", "--if-exists", "--force", name)

    def _client(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's client programs against this server."""
        connection = (f"--host={self._socket_dir}", f"--port={PORT}", "--username=postgres")
        process.run(
            [
                find_binaries() / program,
                *connection,
                "--no-password",
                "--maintenance-db=postgres",
                *arguments,
            ],
            env=environment(),
        )

    # ------------------------------------------------------------ the start, step by step

    def _claim(self) -> None:
        """Claim the directories; remove abandoned ones and end their servers."""
        for left in directories.ClaimedDirectory.abandoned(_PREFIX, lock=_LOCK):
            _end_orphan(left.path)
            _discard(left)
        self._owner = os.getpid()
        self._home = directories.ClaimedDirectory.temporary(_PREFIX, lock=_LOCK)
        # Where there are no death signals, and for the temporary directories everywhere.
        atexit.register(self.stop)
        if self._data_dir is None:
            self._data = self._home
        else:
            self._data = directories.ClaimedDirectory(self._data_dir, lock=_LOCK)
            _end_orphan(self._data.path)

    def _launch(self) -> None:
        """Make the cluster if there is none, start the server on it, wait until it is ready."""
        data, cluster = self._claimed(self._data), self._cluster
        run_as = accounts.unprivileged_account(cluster if cluster.exists() else None)
        if run_as.uid is not None:
            for folder in {data, self._claimed(self._home)}:
                # The account must get through, and no more.
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
        binaries = usable_binaries(find_binaries(), run_as, self._claimed(self._home))
        socket_dir = self._socket_dir
        if not socket_dir.exists():
            socket_dir.mkdir(mode=0o700)
        accounts.give(socket_dir, run_as)
        if cluster.exists():
            postgres_cluster.check_version(cluster, binaries)
            accounts.give(cluster, run_as)
        else:
            postgres_cluster.make(data, binaries, run_as, durable=self._durable)

        settings = {**SETTINGS, **({} if self._durable else NOT_DURABLE)}
        settings["unix_socket_directories"] = str(socket_dir)
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        command: list[str | Path] = [binaries / "postgres", "-D", cluster, *options]
        deadline = time.monotonic() + START_SECONDS
        while not self._comes_up(command, run_as, deadline):
            time.sleep(process.POLL_SECONDS)

    def _comes_up(self, command: list[str | Path], run_as: process.RunAs, deadline: float) -> bool:
        """Start the server once and wait until postmaster.pid, written by *it*, says `ready`.

        Args:
            command: Program and arguments.
            run_as: The account to run it under.
            deadline: When to give up, by `time.monotonic()`.

        Returns:
            Whether it is ready; False when sessions of a killed server on the same data have not
            noticed yet that they should end, and it is worth another try.

        Raises:
            EmbeddedServerError: If it ended otherwise, or is not ready in time.
        """
        with self.log_file.open("ab") as log:
            accounts.share_with_owner(log.fileno(), self._claimed(self._data))
            logged_before = log.tell()
            self._process = server = process.spawn(
                command,
                output=log.fileno(),
                death_signal=signal.SIGINT,
                run_as=run_as,
                env=environment(),
            )

        def ready() -> bool:
            return postgres_cluster.is_ready(self._cluster, server.pid)

        process.wait_until(
            lambda: server.poll() is not None or ready(), seconds=deadline - time.monotonic()
        )
        if server.poll() is None and ready():
            return True
        logged = process.tail(self.log_file, since=logged_before)
        if server.poll() is None:
            fate = f"was not ready within {START_SECONDS} s"
        elif "pre-existing shared memory block" in logged and time.monotonic() < deadline:
            return False
        else:
            fate = f"ended at its start with code {server.returncode}"
        message = f"the embedded PostgreSQL {fate}; the end of {self.log_file}:\n{logged}"
        raise process.EmbeddedServerError(message)

    @property
    def _cluster(self) -> Path:
        return self._claimed(self._data) / "cluster"

    @property
    def _socket_dir(self) -> Path:
        return self._claimed(self._home) / "s"

    @staticmethod
    def _claimed(directory: directories.ClaimedDirectory | None) -> Path:
        if directory is None:
            message = "this PostgreSQL has not been started"
            raise RuntimeError(message)
        return directory.path


def _end_orphan(data: Path) -> None:
    """End the server that a killed owner of this directory left, where the kernel did not."""
    cluster = data / "cluster"
    process.stop_stale(
        cluster / "postmaster.pid", program="postgres", argument=cluster, escalation=STOP
    )


def _discard(home: directories.ClaimedDirectory) -> None:
    """Remove a temporary directory and, if its server was killed, the server's shared memory."""
    postgres_cluster.forget_shared_memory(home.path / "cluster")
    home.release(remove=True)
