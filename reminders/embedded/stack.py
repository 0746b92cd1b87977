"""The whole system on this machine: every part a child of this process, one directory for all."""

from __future__ import annotations

import asyncio
import atexit
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from reminders.db import migrate
from reminders.db.engine import Database
from reminders.embedded import postgres, process, temporal
from reminders.embedded.ports import LOOPBACK, free_ports, is_free
from reminders.embedded.postgres import EmbeddedPostgres
from reminders.embedded.program import Program, answers, logs, mark
from reminders.embedded.provider import server as provider
from reminders.embedded.provider.server import EmbeddedProvider
from reminders.embedded.temporal import EmbeddedTemporal

DATABASE = "reminders"

API_PORT, TEMPORAL_PORT, TEMPORAL_UI_PORT, INBOX_PORT = FIXED_PORTS = (8000, 7233, 8233, 8025)
"""Where people expect these: uvicorn's, Temporal's own two, and MailHog's inbox."""

PORTS_TRIED = 100
"""How far from a fixed port a free one is looked for."""

TEST_INBOX = "inbox@example.com"

SOURCES = Path(__file__).resolve().parents[2]
"""Where `worker.py` is, in a checkout and in an installation."""

WORKER_IS_READY = "worker polls"
"""What a worker logs as soon as it polls."""

_PREFIX = "reminders-stack-"
_LOCK = "stack.lock"


class Part(Protocol):
    """Something of the stack that can die."""

    @property
    def pid(self) -> int | None:
        """Pid while it runs."""

    @property
    def log_file(self) -> Path:
        """All it had to say."""

    def start(self) -> None:
        """Start it, or start it again after `kill`."""

    def stop(self) -> None:
        """Stop it in order."""

    def kill(self) -> None:
        """`SIGKILL` it, as a crash would."""


def silently(_step: str) -> None:
    """Progress that nobody watches."""


class LocalStack:
    """PostgreSQL, Temporal, the Resend stand-in, workers and the API as children of this process.

    ```python
    with LocalStack() as stack:
        subprocess.run(["reminders", "doctor"], env={**os.environ, **stack.environment()})
        stack.worker.kill()
        stack.worker.start()
    ```

    They end with this process, however that ends. Every address stays the same over a part's
    `kill` and `start`, and the others reconnect by themselves.

    Attributes:
        postgres: The database server.
        temporal: The Temporal server.
        provider: The stand-in for Resend, whose inbox has what was sent.
        workers: The workers, in the order of their logs.
        api: The HTTP API; absent if it was not asked for.
        parts: All of these by name, in the order of their start.
        progress: Called with the name of each part before it is started.

    Directories:
        All data is in `data_dir`, and every part's log is a `.log` in it.
    """

    postgres: EmbeddedPostgres
    temporal: EmbeddedTemporal
    provider: EmbeddedProvider
    workers: list[Program]
    api: Program | None
    progress: Callable[[str], None]

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        workers: int = 1,
        with_api: bool = True,
        with_ui: bool = True,
        fixed_ports: bool = False,
        rate: int = 10,
        latency_ms: float = 20,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where everything is kept; None is a temporary directory that `stop` removes.
            workers: How many worker processes.
            with_api: Whether to start the HTTP API.
            with_ui: Whether Temporal's server brings its web UI.
            fixed_ports: Whether to listen on `FIXED_PORTS`, or the next free ones after each;
                otherwise on any free ones.
            rate: Requests a second that the stand-in accepts; 0 is unlimited.
            latency_ms: How long the stand-in takes for a request at least.
            settings: Environment variables on top of `environment()`, for all programs.
        """
        self._data_dir = data_dir
        self._worker_count = workers
        self._with_api = with_api
        self._with_ui = with_ui
        self._fixed_ports = fixed_ports
        self._rate = rate
        self._latency_ms = latency_ms
        self._settings = dict(settings or {})
        self.progress = silently
        self._api_port = 0
        self._owner: int | None = None
        self._home: process.ClaimedDirectory | None = None
        self.parts: dict[str, Part] = {}

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start everything and return when all of it is ready.

        Raises:
            EmbeddedServerError: If a part does not come up; the message has the end of its log.
            DirectoryInUseError: If another live process uses `data_dir`.
            RuntimeError: If it is running already.
        """
        if self._home is not None:
            message = "this stack is running already"
            raise RuntimeError(message)
        for left in process.ClaimedDirectory.abandoned(_PREFIX, lock=_LOCK):
            _end_orphans(left.path)
            left.release(remove=True)
        self._owner = os.getpid()
        if self._data_dir is None:
            self._home = process.ClaimedDirectory.temporary(_PREFIX, lock=_LOCK)
        else:
            self._home = process.ClaimedDirectory(self._data_dir, lock=_LOCK)
        # Where there are no death signals, and for the temporary directory everywhere.
        atexit.register(self.stop)
        try:
            self._start_servers()
            self._start_programs()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, last started first, and remove temporary data; idempotent."""
        if self._owner != os.getpid() or self._home is None:
            return  # never started, or we are a fork of the process that did
        atexit.unregister(self.stop)
        temporary = self._data_dir is None
        for part in self.parts.values():
            if isinstance(part, Program):
                part.ask_to_stop()
        for part in reversed(self.parts.values()):
            # An orderly stop takes seconds: not for data that goes anyway. PostgreSQL is quick,
            # and would leave shared memory behind.
            if temporary and part is not self.postgres:
                part.kill()
            part.stop()
        self.parts.clear()
        self._home.release(remove=temporary)
        self._home = None

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

    def check(self) -> None:
        """Notice a part that has died.

        Raises:
            EmbeddedServerError: If one has; the message has the end of its log.
        """
        for name, part in self.parts.items():
            if part.pid is None:
                log = process.tail(part.log_file)
                message = f"the {name} has ended; the end of {part.log_file}:\n{log}"
                raise process.EmbeddedServerError(message)

    # ------------------------------------------------------------ where things are

    @property
    def worker(self) -> Program:
        """The first worker."""
        return self.workers[0]

    @property
    def folder(self) -> Path:
        """Where data and logs are."""
        if self._home is None:
            message = "this stack has not been started"
            raise RuntimeError(message)
        return self._home.path

    @property
    def api_url(self) -> str:
        """Base of the HTTP API."""
        return f"http://{LOOPBACK}:{self._api_port}"

    @property
    def inbox_url(self) -> str:
        """The page on which people read what was sent."""
        return f"{self.provider.url}/inbox"

    def environment(self) -> dict[str, str]:
        """What a worker, the API, our commands and the `temporal` command need to find all this."""
        found = {
            "DATABASE_URL": self.postgres.url(DATABASE),
            "TEMPORAL_ADDRESS": self.temporal.address,
            "TEMPORAL_NAMESPACE": "default",
            # Otherwise the user's own profile would add its key and its certificates.
            "TEMPORAL_CONFIG_FILE": os.devnull,
            "RESEND_API_URL": self.provider.url,
            "RESEND_API_KEY": self.provider.api_key,
            "DELIVERY_MODE": "redirect",
            "VERIFIED_TEST_EMAIL": TEST_INBOX,
            "EMAIL_FROM": "Session Reminders <reminders@example.com>",
            "API_ADDRESS": f"{LOOPBACK}:{self._api_port}",
        }
        if self._with_ui:
            found["TEMPORAL_UI_URL"] = self.temporal.ui_url
        return {**found, **self._settings}

    def exports(self) -> str:
        """The environment as lines that a shell can read."""
        lines = (f"export {n}={shlex.quote(v)}\n" for n, v in self.environment().items())
        return "".join(lines)

    # ------------------------------------------------------------ the start, step by step

    def _start_servers(self) -> None:
        """Start what the programs need, with the database migrated."""
        folder = self.folder
        self._api_port, grpc_port, ui_port, inbox_port = self._ports()
        self.postgres = EmbeddedPostgres(folder)
        self._start("PostgreSQL", self.postgres)
        self.postgres.ensure_database(DATABASE)
        _migrate(self.postgres.url(DATABASE))
        self.temporal = EmbeddedTemporal(
            folder, port=grpc_port, ui_port=ui_port, headless=not self._with_ui
        )
        self._start("Temporal", self.temporal)
        self.provider = EmbeddedProvider(
            folder,
            port=inbox_port,
            rate=self._rate,
            latency_ms=self._latency_ms,
            allow_example=True,
        )
        self._start("Resend stand-in", self.provider)

    def _start_programs(self) -> None:
        """Start workers and API side by side."""
        self.workers, self.api = [], None
        python: list[str | Path] = [sys.executable, "-X", mark(self.folder)]
        for number in range(1, self._worker_count + 1):
            name = "worker" if number == 1 else f"worker-{number}"
            command = [*python, SOURCES / "worker.py"]
            self.workers.append(self._program(name, command, logs(WORKER_IS_READY)))
        programs = list(self.workers)
        if self._with_api:
            # `-P`: whatever lies in the working directory cannot be imported by mistake.
            command = [*python, "-P", "-c", "import starter.cli; starter.cli.main()", "api"]
            self.api = self._program("API", command, answers(f"{self.api_url}/healthz"))
            programs.append(self.api)
        self.progress(" and ".join(program.name for program in programs))
        for program in programs:
            self.parts[program.name] = program
            program.launch()
        for program in programs:
            program.wait_until_ready()

    def _program(
        self, name: str, command: list[str | Path], ready: Callable[[Program], bool]
    ) -> Program:
        return Program(
            name, command, folder=self.folder, environment=self.environment(), ready=ready
        )

    def _start(self, name: str, part: Part) -> None:
        self.progress(name)
        part.start()
        self.parts[name] = part

    def _ports(self) -> list[int]:
        """Ports for API, Temporal, its UI, and the inbox."""
        if not self._fixed_ports:
            return free_ports(len(FIXED_PORTS))
        return [_next_free(port) for port in FIXED_PORTS]


def _next_free(port: int) -> int:
    """The port, or the first free one after it.

    Raises:
        EmbeddedServerError: If there is none far and wide.
    """
    for candidate in range(port, port + PORTS_TRIED):
        if is_free(candidate):
            return candidate
    message = f"the ports {port} to {port + PORTS_TRIED - 1} are all taken"
    raise process.EmbeddedServerError(message)


def _migrate(url: str) -> None:
    """Bring the database to the schema of this release."""

    async def upgrade() -> None:
        database = Database(url)
        try:
            await migrate.upgrade(database)
        finally:
            await database.aclose()

    # In a thread, because the caller may have an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, upgrade()).result()


def _end_orphans(data: Path) -> None:
    """End the servers that a killed owner of this directory left, where the kernel did not."""
    for module in (postgres, temporal, provider):
        module._end_orphan(data)  # noqa: SLF001 - the one who knows where its pid is written
