"""The wire between an operation and PostgreSQL, which can be cut at a statement of one's choice."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

from sqlalchemy import make_url


class Cut(Enum):
    """Where the wire breaks."""

    BEFORE = "the statement never arrives"
    DURING = "it is done, and the answer is swallowed"


class Wire:
    """A proxy on this machine; `url` leads through it."""

    def __init__(self, url: str) -> None:
        """Lead to this server, whose socket is a file."""
        self._to = make_url(url)
        self._server: asyncio.Server | None = None
        self._armed: Cut | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Hang up."""
        assert self._server
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The same database, through the wire."""
        assert self._server
        port = self._server.sockets[0].getsockname()[1]
        through = self._to.set(host="127.0.0.1", port=port, query={})
        return through.render_as_string(hide_password=False)

    def cut(self, how: Cut) -> None:
        """Break at whatever the client sends next."""
        self._armed = how

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        query = self._to.query
        path = f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}"
        from_server, to_server = await asyncio.open_unix_connection(path)
        backwards = asyncio.create_task(_copy(from_server, writer))
        try:
            while data := await reader.read(65_536):
                how, self._armed = self._armed, None
                if how is Cut.BEFORE:
                    break
                if how is Cut.DURING:
                    backwards.cancel()
                    await asyncio.gather(backwards, return_exceptions=True)
                    to_server.write(data)
                    await from_server.read(1)  # it has done what it was asked for
                    break
                to_server.write(data)
                await to_server.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            backwards.cancel()
            for end in (writer, to_server):
                end.transport.abort()
            self._tasks.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on until the server hangs up, and then hang up too."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()
