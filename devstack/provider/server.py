"""The stand-in as a child of this process: what tests, the demo and the local stack start."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack import directories, process
from devstack.ports import LOOPBACK, free_ports

START_SECONDS = 15

ATTEMPTS = 3
"""How many free ports are tried when somebody is quicker to take one."""

STOP: process.Escalation = ((signal.SIGTERM, 5), (signal.SIGKILL, 5))

KILL: process.Escalation = ((signal.SIGKILL, 5),)

DEFAULT_KEY = "re_embedded_provider"

_PREFIX = "reminders-provider-"
_LOCK = "provider.lock"


class EmbeddedProvider:
    """A stand-in for Resend as a child of this process.

    ```python
    with EmbeddedProvider(rate=0) as provider:
        resend.api_url, resend.api_key = provider.url, provider.api_key
    ```

    It ends with this process, however that ends. `url` stays the same over `kill`, `stop` and
    `start`, and so does what it accepted, unless it was in a temporary directory that `stop`
    removed.

    Directories:
        `data_dir/provider.db` is the store, `data_dir/provider.log` the log. Nothing else in
        `data_dir` is touched, so other servers may live there too.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int | None = None,
        rate: int = 10,
        latency_ms: float = 20,
        daily_quota: int | None = None,
        monthly_quota: int | None = None,
        api_key: str = DEFAULT_KEY,
        sending_keys: Iterable[str] = (),
        allow_example: bool = False,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
        webhook_retries: Iterable[float] | None = None,
        faults: Iterable[Mapping[str, Any]] = (),
        seed: int | None = None,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where the e-mails are kept; None is a temporary directory that `stop` removes.
            port: TCP port; None is a free one.
            rate: Requests a second; 0 is unlimited.
            latency_ms: How long each request takes at least.
            daily_quota: Recipients a UTC day.
            monthly_quota: Recipients a UTC month.
            api_key: The key with full access.
            sending_keys: Keys that may only send.
            allow_example: Whether `@example.com` and `@test.com` are accepted.
            webhook_url: Where events are posted.
            webhook_secret: `whsec_...`; needed with `webhook_url`.
            webhook_retries: Seconds between the attempts at an event.
            faults: In force from every start on, as `POST /_/faults` takes them.
            seed: Makes the faults' probabilities repeatable.
        """
        self.api_key = api_key
        self._data_dir = data_dir
        self._port = port
        self._port_is_given = port is not None
        self._faults = [dict(fault) for fault in faults]
        self._options = ["--rate", str(rate), "--latency-ms", str(latency_ms), "--api-key", api_key]
        for key in sending_keys:
            self._options += ["--sending-key", key]
        for name, value in (
            ("--daily-quota", daily_quota),
            ("--monthly-quota", monthly_quota),
            ("--webhook-url", webhook_url),
            ("--webhook-secret", webhook_secret),
            ("--seed", seed),
        ):
            if value is not None:
                self._options += [name, str(value)]
        if webhook_retries is not None:
            self._options += ["--webhook-retries", ",".join(map(str, webhook_retries))]
        if allow_example:
            self._options.append("--allow-example")
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: int | None = None
        self._data: directories.ClaimedDirectory | None = None

    def start(self) -> None:
        """Start it and return when it answers.

        An orphan of an earlier owner of the same data is ended first.

        Raises:
            EmbeddedServerError: If it does not come up; the message has the end of the log.
            DirectoryInUseError: If another live process uses `data_dir`.
            RuntimeError: If it is running already.
        """
        if self.pid is not None:
            message = "this provider is running already"
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
        """Stop it in order, and remove the data if it is temporary; idempotent."""
        if self._owner != os.getpid():
            return  # never started, or we are a fork of the process that did
        atexit.unregister(self.stop)
        temporary = self._data_dir is None
        if self._process is not None:
            process.end(self._process, KILL if temporary else STOP)
        self._process = None
        self._owner = None
        if self._data is not None:
            self._data.release(remove=temporary)
        self._data = None

    def kill(self) -> None:
        """`SIGKILL` it, as a crash would; `start` starts it again on the same port and data.

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
        """Pid of the running stand-in; None when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def url(self) -> str:
        """Base of the API, and the inbox page; known once it was started, or the port was given."""
        if self._port is None:
            message = "this provider has not been started"
            raise RuntimeError(message)
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def log_file(self) -> Path:
        """What it had to say, which is nothing unless it failed."""
        return self._folder / "provider.log"

    @property
    def _folder(self) -> Path:
        if self._data is None:
            message = "this provider has not been started"
            raise RuntimeError(message)
        return self._data.path

    @property
    def _store(self) -> Path:
        return self._folder / "provider.db"

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
        """Start it; when a port that was free is taken, try another."""
        for attempt in range(1, ATTEMPTS + 1):
            port = self._port or free_ports(1)[0]
            try:
                self._launch_on(port)
            except process.EmbeddedServerError as error:
                known = self._port_is_given or self._port is not None
                if known or "already in use" not in str(error).lower() or attempt == ATTEMPTS:
                    raise
            else:
                self._port = port
                return

    def _launch_on(self, port: int) -> None:
        """Start it on this port and wait until it answers."""
        folder = self._folder
        ready = folder / "provider.ready"
        ready.unlink(missing_ok=True)
        # `-P`: whatever lies in the working directory cannot be imported by mistake.
        command: list[str | Path] = [sys.executable, "-P", "-m", "devstack.provider"]
        command += ["--port", str(port), "--data", self._store, "--ready-file", ready]
        command += self._options
        if self._faults:
            faults = folder / "provider.faults.json"
            faults.write_text(json.dumps(self._faults), encoding="utf-8")
            command += ["--faults", faults]
        with self.log_file.open("ab") as log:
            logged_before = log.tell()
            # SIGKILL when we are gone: nobody would be there to insist, and the store stands it.
            self._process = server = process.spawn(command, output=log.fileno())
        (folder / "provider.pid").write_text(f"{server.pid}\n", encoding="ascii")
        process.wait_until(
            lambda: server.poll() is not None or ready.exists(), seconds=START_SECONDS
        )
        if server.poll() is None and ready.exists():
            return
        if server.poll() is None:
            fate = f"was not ready within {START_SECONDS} s"
            self.kill()
        else:
            fate = f"ended at its start with code {server.returncode}"
        message = (
            f"the embedded provider {fate}; the end of {self.log_file}:\n"
            f"{process.tail(self.log_file, since=logged_before)}"
        )
        raise process.EmbeddedServerError(message)


def _end_orphan(data: Path) -> None:
    """End the stand-in that a killed owner of this directory left, where the kernel did not."""
    process.stop_stale(
        data / "provider.pid",
        program=Path(sys.executable).name,
        argument=data / "provider.db",
        escalation=STOP,
    )
