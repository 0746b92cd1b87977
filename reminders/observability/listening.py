"""Sockets that servers listen on."""

from __future__ import annotations

import socket


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket whose connections answer without delay.

    The protocol has to be named: asyncio turns Nagle's algorithm off only for sockets that say they
    are TCP, and `socket.create_server` leaves that open. Without it every answer on a connection
    that is kept alive waits 40 ms for an acknowledgement.

    Args:
        host: An address of this machine, IPv4 or IPv6.
        port: 0 is any free one.

    Raises:
        OSError: If it cannot be listened on.
        OverflowError: If the port is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener
