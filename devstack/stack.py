"""The whole system on this machine: every part a child of this process, one directory for all."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devstack import process
from devstack.ports import LOOPBACK, Ports
from devstack.postgres import EmbeddedPostgres
from devstack.program import Part, Program, Ready, answers, logs, mark
from devstack.provider.server import EmbeddedProvider
from devstack.server import Resident
from devstack.temporal import EmbeddedTemporal
from reminders.db import migrate
from reminders.db.engine import Database

DATABASE = "reminders"

TEST_INBOX = "inbox@example.com"

SOURCES = Path(__file__).resolve().parents[1]
"""Where `worker.py` is, in a checkout and in an installation."""

OWN = frozenset(
    {
        "DATABASE_URL",
        "RESEND_API_URL",
        "RESEND_API_KEY",
        "RESEND_WEBHOOK_SECRET",
        "API_ADDRESS",
        "PUBLIC_BASE_URL",
        "TOKEN_SECRET",
    }
)
"""Settings that say where the parts are and how they trust each other: nobody else may."""

WORKER_IS_READY = "worker polls"
"""What a worker logs as soon as it polls."""


class LocalStack(Resident):
    """PostgreSQL, Temporal, the Resend stand-in, workers and the API as children of this process.

    ```python
    with LocalStack() as stack:
        subprocess.run(["reminders", "doctor"], env={**os.environ, **stack.environment()})
        stack.worker.kill()
        stack.worker.start()
    ```

    Every address stays the same over a part's `kill` and `start`, and the others reconnect by
    themselves.

    Attributes:
        postgres: The database server.
        temporal: The Temporal server.
        provider: The stand-in for Resend, whose inbox has what was sent.
        workers: The workers, in the order of their logs.
        api: The HTTP API; absent if it was not asked for.
        parts: All of these by name, in the order of their start.
        progress: Called with the name of each part before it is started; may be set.

    Directories:
        All data is in `data_dir`, and every part's log is a `.log` in it.
    """

    kind = "stack"
    title = "stack"
    prefix = "reminders-stack-"

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
            fixed_ports: Whether to listen where people expect it, or on the next free ports;
                otherwise on any free ones.
            rate: Requests a second that the stand-in accepts; 0 is unlimited.
            latency_ms: How long the stand-in takes for a request at least.
            settings: Environment variables on top of `environment()`, for all programs.
        """
        super().__init__(data_dir)
        self._worker_count = workers
        self._with_api = with_api
        self._with_ui = with_ui
        self._fixed_ports = fixed_ports
        self._rate = rate
        self._latency_ms = latency_ms
        self._settings = dict(settings or {})
        self._webhook_secret = f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"
        self.progress = lambda _: None
        self._ports = Ports()
        self.parts: dict[str, Part] = {}

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
        return self._folder

    @property
    def api_url(self) -> str:
        """Base of the HTTP API."""
        return f"http://{LOOPBACK}:{self._ports.api}"

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
            "RESEND_WEBHOOK_SECRET": self._webhook_secret,
            "DELIVERY_MODE": "redirect",
            "VERIFIED_TEST_EMAIL": TEST_INBOX,
            "EMAIL_FROM": "Session Reminders <reminders@example.com>",
            "API_ADDRESS": f"{LOOPBACK}:{self._ports.api}",
        }
        if self._with_ui:
            found["TEMPORAL_UI_URL"] = self.temporal.ui_url
        if self._with_api:
            found |= {"PUBLIC_BASE_URL": self.api_url, "TOKEN_SECRET": self._token_secret()}
        return {**found, **self._settings}

    def _token_secret(self) -> str:
        """What signs links in e-mails, as long as the data is there: they outlive a restart."""
        kept = self.folder / "token-secret"
        if not kept.exists():
            kept.touch(mode=0o600)
            kept.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        return kept.read_text(encoding="utf-8")

    def exports(self) -> str:
        """The environment as lines that a shell can read."""
        return "".join(f"export {n}={shlex.quote(v)}\n" for n, v in self.environment().items())

    # ------------------------------------------------------------ start and stop, step by step

    @property
    def _is_running(self) -> bool:
        return self._data is not None

    @classmethod
    def end_orphan(cls, data: Path) -> None:
        """End the servers that a killed owner of this directory left."""
        for kind in (EmbeddedPostgres, EmbeddedTemporal, EmbeddedProvider):
            kind.end_orphan(data)

    def kill(self) -> None:
        """`SIGKILL` every part, as if the power failed."""
        for part in self.parts.values():
            part.kill()

    def _end(self, *, temporary: bool) -> None:
        """Stop everything, last started first."""
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

    def _launch(self) -> None:
        self._start_servers()
        self._start_programs()

    def _start_servers(self) -> None:
        """Start what the programs need, with the database migrated."""
        folder = self.folder
        self._ports = Ports.fixed() if self._fixed_ports else Ports.free()
        self.postgres = EmbeddedPostgres(folder)
        self._start("PostgreSQL", self.postgres)
        self.postgres.ensure_database(DATABASE)
        migrate_database(self.postgres.url(DATABASE))
        self.temporal = EmbeddedTemporal(
            folder,
            port=self._ports.temporal,
            ui_port=self._ports.temporal_ui,
            headless=not self._with_ui,
            time_skipping=False,
        )
        self._start("Temporal", self.temporal)
        self.provider = EmbeddedProvider(
            folder,
            port=self._ports.inbox,
            rate=self._rate,
            latency_ms=self._latency_ms,
            allow_example=True,
            webhook_url=f"{self.api_url}/webhooks/resend" if self._with_api else None,
            webhook_secret=self._webhook_secret if self._with_api else None,
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
            command = [
                *python,
                "-P",
                "-c",
                "import starter.cli.main; starter.cli.main.main()",
                "api",
            ]
            self.api = self._program("API", command, answers(f"{self.api_url}/healthz"))
            programs.append(self.api)
        self.progress(" and ".join(program.name for program in programs))
        for program in programs:
            self.parts[program.name] = program
            program.launch()
        for program in programs:
            program.wait_until_ready()

    def _program(self, name: str, command: list[str | Path], ready: Ready) -> Program:
        return Program(
            name, command, folder=self.folder, environment=self.environment(), ready=ready
        )

    def _start(self, name: str, part: Part) -> None:
        self.progress(name)
        part.start()
        self.parts[name] = part


def migrate_database(url: str) -> None:
    """Bring a database to the schema of this release."""

    async def upgrade() -> None:
        database = Database(url)
        try:
            await migrate.upgrade(database)
        finally:
            await database.aclose()

    # In a thread, because the caller may have an event loop running in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, upgrade()).result()
