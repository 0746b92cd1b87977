"""Posts webhook events over HTTP/1.1, as cheaply as it can be done.

Two events for each e-mail are the greater part of the stand-in's work, on cores that the system
under test needs: a general client costs ten times as much as this does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

TIMEOUT = timedelta(seconds=15)
"""How long the other side may take (docs.svix.com/retries)."""

MAX_IDLE = 32
"""Connections kept for the next event."""

_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Post(Protocol):
    """Posts an event."""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status that came back; 0 when none did."""


class HttpPost:
    """Posts on kept connections."""

    def __init__(self) -> None:
        """Make no connection yet."""
        self._idle: list[tuple[str, _Connection]] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post once."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        request = _request(parts, headers, body)
        try:
            async with asyncio.timeout(TIMEOUT.total_seconds()):
                kept = self._take(origin)
                if kept is not None:
                    # The other side may have closed it meanwhile: then a new one gets its chance.
                    status = await self._exchange(origin, kept, request)
                    if status:
                        return status
                return await self._exchange(origin, await _connect(parts), request)
        except (OSError, ValueError):
            # A TimeoutError is an OSError.
            return 0

    async def close(self) -> None:
        """Close the connections."""
        for _, (_, writer) in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()

    def _take(self, origin: str) -> _Connection | None:
        for index in range(len(self._idle) - 1, -1, -1):
            if self._idle[index][0] == origin:
                return self._idle.pop(index)[1]
        return None

    async def _exchange(self, origin: str, connection: _Connection, request: bytes) -> int:
        """Write the request and read the answer; 0 when there is none."""
        reader, writer = connection
        reusable = False
        try:
            writer.write(request)
            status, length = _head(await reader.readuntil(b"\r\n\r\n"))
            if length is not None:
                await reader.readexactly(length)
                reusable = len(self._idle) < MAX_IDLE
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            return 0
        else:
            return status
        finally:
            if reusable:
                self._idle.append((origin, connection))
            else:
                writer.close()


async def _connect(parts: SplitResult) -> _Connection:
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    return await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls
    )


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    lines = [f"POST {target} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _head(head: bytes) -> tuple[int, int | None]:
    """Status, and how many bytes follow; `None` when only the end of the connection tells."""
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    status = int(first.partition(" ")[2][:3])
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("connection") == "close":
        return status, None
    if status == 204:
        return status, 0
    return status, int(headers["content-length"]) if "content-length" in headers else None
