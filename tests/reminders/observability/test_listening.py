"""Sockets that servers listen on."""

from __future__ import annotations

import asyncio
import socket

import pytest

from reminders.observability.listening import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_answers_without_delay(host: str) -> None:
    """What asyncio accepts there has Nagle's algorithm off: no answer waits for others to follow."""
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        of = writer.get_extra_info("socket")
        accepted.set_result(of.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(connected, sock=listen(host, 0)) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(host, port)
        assert await asyncio.wait_for(accepted, 5)
        writer.close()


def test_a_port_that_is_taken_is_refused() -> None:
    """Nothing is left open."""
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])
