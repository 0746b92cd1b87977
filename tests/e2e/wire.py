"""A wire between the workers and the provider that can be cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 65_536


class Wire:
    """Relays TCP to the provider, on a port that is known before anything runs."""

    def __init__(self) -> None:
        """Take a port; nothing is relayed before `laid`."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: set[asyncio.StreamWriter] = set()
        self._mended = asyncio.Event()
        self._mended.set()
        self.is_silent = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @asynccontextmanager
    async def laid(self, provider_url: str) -> AsyncIterator[None]:
        """Relay to this provider, until the context ends; may be laid again afterwards."""
        there = urlsplit(provider_url)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._connections.add(writer)
            try:
                if not self._mended.is_set():
                    if not self.is_silent:
                        return
                    await self._mended.wait()  # swallowed: neither refused nor answered
                    return
                up, down = await asyncio.open_connection(there.hostname, there.port)
                self._connections.add(down)
                await asyncio.gather(self._copy(reader, down), self._copy(up, writer))
            except OSError:
                pass  # the provider is down: so is the wire
            finally:
                writer.transport.abort()
                self._connections.discard(writer)

        server = await asyncio.start_server(relay, sock=self._listener.dup())
        try:
            yield
        finally:
            server.close()
            self.cut()
            await server.wait_closed()
            self.mend()

    def cut(self, *, silently: bool = False) -> None:
        """Break every connection, and let no new one through.

        Args:
            silently: Nobody is told: what is sent is swallowed, as by a broken router.
        """
        self.is_silent = silently
        self._mended.clear()
        if not silently:
            self._abort_all()

    def mend(self) -> None:
        """Let new connections through; those of before are gone."""
        self._mended.set()
        self._abort_all()

    def close(self) -> None:
        """Give the port back."""
        self._listener.close()

    def _abort_all(self) -> None:
        for writer in self._connections:
            writer.transport.abort()
        self._connections.clear()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(_CHUNK):
                if not self._mended.is_set():
                    continue  # cut silently: it never arrives
                sink.write(chunk)
                await sink.drain()
        sink.transport.abort()
