"""Loopback ports: free ones, and those where people expect the parts of a local stack."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass
from typing import Self

from devstack.process import EmbeddedServerError

LOOPBACK = "127.0.0.1"

CANDIDATES = range(15_000, 32_000)
"""Below the ports that systems lend to outgoing connections (Linux 32768, macOS and IANA 49152).

A server that is killed and restarted wants its port back. Were it one of those, a client that
keeps trying to reconnect could be lent that very port, connect to itself, and hold it.
"""


PORTS_TRIED = 100
"""How far from an expected port a free one is looked for."""


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nothing listens on, at this moment.

    Between this and the server's own bind anybody may take one: callers try again.

    Raises:
        OSError: If there are not so many.
    """
    with contextlib.ExitStack() as held:
        found: list[int] = []
        # Not the global generator: test runners seed it, alike in several processes.
        for port in random.SystemRandom().sample(CANDIDATES, len(CANDIDATES)):
            if len(found) == count:
                return found
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server((LOOPBACK, port)))
                found.append(port)
    message = f"fewer than {count} free ports in {CANDIDATES}"
    raise OSError(message)


def is_free(port: int) -> bool:
    """Whether nothing listens on the port of 127.0.0.1."""
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """Where the parts listen; by default where people expect them."""

    api: int = 8000
    """Uvicorn's and everybody's."""
    temporal: int = 7233
    temporal_ui: int = 8233
    inbox: int = 8025
    """Where MailHog and its successors have theirs."""

    @classmethod
    def fixed(cls) -> Self:
        """The expected ones, or the next free one after each.

        Raises:
            EmbeddedServerError: If there is none anywhere near.
        """
        expected = cls()
        return cls(
            api=_next_free(expected.api),
            temporal=_next_free(expected.temporal),
            temporal_ui=_next_free(expected.temporal_ui),
            inbox=_next_free(expected.inbox),
        )

    @classmethod
    def free(cls) -> Self:
        """Any that are free."""
        api, temporal, temporal_ui, inbox = free_ports(4)
        return cls(api=api, temporal=temporal, temporal_ui=temporal_ui, inbox=inbox)


def _next_free(port: int) -> int:
    """The port, or the first free one after it.

    Raises:
        EmbeddedServerError: If there is none anywhere near.
    """
    for candidate in range(port, port + PORTS_TRIED):
        if is_free(candidate):
            return candidate
    message = f"the ports {port} to {port + PORTS_TRIED - 1} are all taken"
    raise EmbeddedServerError(message)
