"""An application on an address: a port that is ours, and a stop in order."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from reminders.domain.errors import ConfigurationError
from reminders.observability.listening import listen

_PREFIX = re.compile(r"(?:/[\w.~-]+)+", re.ASCII)
GRACE_SECONDS = 10
"""How long requests may take to end at a shutdown; longer than any call to Temporal is given."""


def listener(name: str, host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        name: Of the variable that the address is in.
        host: Without brackets.
        port: 0 is any free one.

    Raises:
        ConfigurationError: If the address is taken, or none of this machine.
    """
    try:
        return listen(host, port)
    except OSError as error:
        msg = f"{name} {host}:{port} cannot be listened on: {error.strerror}"
        raise ConfigurationError(msg) from error


def url(listening: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def behind_proxies(app: ASGIApp, trusted: str) -> ASGIApp:
    """An application that takes from proxies under which address it was asked for, and by whom.

    `X-Forwarded-For` and `-Proto` as uvicorn reads them, and `X-Forwarded-Prefix`: the path below
    which a proxy shows us, and which it takes away. From anybody else they mean nothing.

    Args:
        app: It.
        trusted: Addresses or networks of the proxies, comma-separated; `*` is everybody.
    """
    inner: Any = app  # uvicorn and Starlette have types of their own for the same thing
    proxied: Any = ProxyHeadersMiddleware(inner, trusted_hosts=trusted)

    async def prefixed(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] == "http" and client and client[0] in proxied.trusted_hosts:
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if _PREFIX.fullmatch(prefix):
                root = prefix + scope.get("root_path", "")
                scope = {**scope, "root_path": root, "path": prefix + scope["path"]}
        await proxied(scope, receive, send)

    return prefixed


class Server(uvicorn.Server):
    """Stops in order when it is told to, and lets that count as success.

    Uvicorn's own handlers raise the signal once more at the end, which kills the process.
    """

    def __init__(self, app: ASGIApp, trusted: str = "127.0.0.1") -> None:
        """Serve an application.

        Args:
            app: It.
            trusted: Addresses of the proxies before it, comma-separated; see `behind_proxies`.
        """
        super().__init__(
            uvicorn.Config(
                behind_proxies(app, trusted),
                proxy_headers=False,  # done there
                log_config=None,  # everything goes through `observability.logs`
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first signal; at the second SIGINT at once."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self.handle_exit, name, None)
        yield
