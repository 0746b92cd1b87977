"""The stand-in as a child of this process: what tests, the demo and the local stack start."""

from __future__ import annotations

import sys
from pathlib import Path

from devstack.ports import LOOPBACK, free_ports
from devstack.server import Server

DEFAULT_KEY = "re_embedded_provider"


class EmbeddedProvider(Server):
    """A stand-in for Resend as a child of this process.

    ```python
    with EmbeddedProvider(rate=0) as provider:
        resend.api_url, resend.api_key = provider.url, provider.api_key
    ```

    `url` stays the same over `kill`, `stop` and `start`, and so does what it accepted, unless it
    was in a temporary directory that `stop` removed.

    Directories:
        `data_dir/provider.db` is the store, `data_dir/provider.log` the log. Nothing else in
        `data_dir` is touched, so other servers may live there too.
    """

    kind = "provider"
    title = "provider"
    prefix = "reminders-provider-"
    start_seconds = 60
    """Mostly imports, which a busy machine can take long over."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int | None = None,
        rate: int = 10,
        latency_ms: float = 20,
        daily_quota: int | None = None,
        api_key: str = DEFAULT_KEY,
        allow_example: bool = False,
        webhook_url: str | None = None,
        webhook_secret: str | None = None,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            data_dir: Where the e-mails are kept; None is a temporary directory that `stop` removes.
            port: TCP port; None is a free one.
            rate: Requests a second; 0 is unlimited.
            latency_ms: How long each request takes at least.
            daily_quota: Recipients a UTC day.
            api_key: The key that is accepted.
            allow_example: Whether `@example.com` and `@test.com` are accepted.
            webhook_url: Where events are posted.
            webhook_secret: `whsec_...`; needed with `webhook_url`.
        """
        super().__init__(data_dir)
        self.api_key = api_key
        self._port = port
        given = {
            "rate": rate,
            "latency-ms": latency_ms,
            "api-key": api_key,
            "daily-quota": daily_quota,
            "webhook-url": webhook_url,
            "webhook-secret": webhook_secret,
        }
        self._options = [f"--{name}={value}" for name, value in given.items() if value is not None]
        self._options += ["--allow-example"] if allow_example else []

    @property
    def url(self) -> str:
        """Base of the API, and the inbox page; known once it was started, or the port was given."""
        return f"http://{LOOPBACK}:{self._started(self._port)}"

    @staticmethod
    def _marks(data: Path) -> tuple[Path, str, Path]:
        return data / "provider.pid", Path(sys.executable).name, data / "provider.db"

    def _launch_once(self) -> None:
        folder, port = self._folder, self._port or free_ports(1)[0]
        ready = folder / "provider.ready"
        ready.unlink(missing_ok=True)
        # `-P`: whatever lies in the working directory cannot be imported by mistake.
        command: list[str | Path] = [sys.executable, "-P", "-m", "devstack.provider"]
        command += ["--port", str(port), "--data", folder / "provider.db", "--ready-file", ready]
        command += self._options
        self._run(command, ready.exists)
        self._port = port
