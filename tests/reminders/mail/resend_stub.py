"""A server on this machine that answers what a test says, and a mailer that speaks to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from reminders.domain.delivery_errors import DeliveryError
from reminders.domain.ports import Receipt
from reminders.mail.resend import ResendMailer
from tests.reminders.mail.cases import FixedClock, message

KEY = "re_secret_123"
CLOCK = FixedClock()
"""Monday, 23 November 2026, 18:15 UTC."""


@dataclass
class Request:
    """A request as it came over the wire."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    """A server that answers every request with the same bytes; `None` hangs up instead."""

    answer: bytes | None = b""
    answers_at_all: bool = True
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a new connection, and remember to wait for its end."""
        self.connections += 1
        self.serving.add(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode().strip().split("\r\n")
                headers = {k.lower(): v for k, v in (each.split(": ", 1) for each in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.requests.append(Request(line, headers, body))
                self.asked.set()
                if not self.answers_at_all:
                    await self.ended.wait()
                if self.answer is None:
                    return
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()


def answer(
    status: int,
    body: object,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> bytes:
    """An HTTP response; anything but bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def accepted(count: int) -> bytes:
    """Resend's answer to a batch of which everything is accepted."""
    return answer(200, {"data": [{"id": f"id-{i}"} for i in range(count)]})


def error(status: int, name: str, text: str = "No.", **headers: str) -> bytes:
    """Resend's answer when it refuses a request."""
    body = {"statusCode": status, "name": name, "message": text}
    return answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


@asynccontextmanager
async def stub(reply: bytes | None, *, answers_at_all: bool = True) -> AsyncIterator[Stub]:
    """A running stub server."""
    stub_server = Stub(reply, answers_at_all)
    server = await asyncio.start_server(stub_server.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stub_server.url = f"http://127.0.0.1:{port}"
    try:
        yield stub_server
    finally:
        stub_server.ended.set()
        server.close()
        await asyncio.gather(*stub_server.serving)


def mailer(url: str, *, api_key: str = KEY, seconds: float = 10) -> ResendMailer:
    """The adapter under test; speaks to the stub."""
    return ResendMailer(
        api_key=api_key, clock=CLOCK, api_url=url, total_timeout=timedelta(seconds=seconds)
    )


async def posted(reply: bytes | None, count: int = 1) -> tuple[Receipt, ...]:
    """What a post brings when the server answers like this."""
    async with stub(reply) as server, mailer(server.url) as mail:
        body = mail.encode([message(i) for i in range(count)])
        return await mail.post(body, idempotency_key="key-1")


async def failed(reply: bytes | None, count: int = 1) -> DeliveryError:
    """The error that a post ends with when the server answers like this."""
    with pytest.raises(DeliveryError) as caught:
        await posted(reply, count)
    # Histories keep the chain of causes, and the SDK's messages may quote addresses.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value
