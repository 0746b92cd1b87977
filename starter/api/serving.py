"""An application on an address: a port that is ours, and a stop in order."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from reminders.domain.errors import ConfigurationError
from reminders.observability.listening import listen

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


class Server(uvicorn.Server):
    """Stops in order when it is told to, and lets that count as success.

    Uvicorn's own handlers raise the signal once more at the end, which kills the process.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Serve an application."""
        super().__init__(
            uvicorn.Config(
                app,
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
