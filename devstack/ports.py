"""Free loopback ports."""

from __future__ import annotations

import contextlib
import random
import socket

LOOPBACK = "127.0.0.1"

CANDIDATES = range(15_000, 32_000)
"""Below the ports that systems lend to outgoing connections (Linux 32768, macOS and IANA 49152).

A server that is killed and restarted wants its port back. Were it one of those, a client that
keeps trying to reconnect could be lent that very port, connect to itself, and hold it.
"""


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nothing listens on, at this moment.

    Between this and the server's own bind anybody may take one: callers try again.

    Args:
        count: How many.

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
