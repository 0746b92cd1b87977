"""One API request and its answer, without the ceremony of a framework.

The two sending routes are called by benchmarks thousands of times on the cores that the system
under test needs, so the API is a plain ASGI callable; only the pages use Starlette.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

MAX_BODY = 64 * 1024 * 1024
"""Bytes; Resend allows 40 MB an e-mail and says nothing of a whole request."""

JSON = b"application/json; charset=utf-8"

Headers = list[tuple[bytes, bytes]]


class DisconnectedError(Exception):
    """The client went away before it had sent its request."""


class DroppedError(Exception):
    """An injected fault: this request gets no answer."""

    def __init__(self, *, hang: bool) -> None:
        """Say whether the connection stays open, silent, or is cut."""
        super().__init__()
        self.hang = hang


class ApiError(Exception):
    """A refusal, as Resend's error table has it."""

    def __init__(
        self, status: int, name: str, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        """Take the three members of the error body, and headers of its own."""
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message
        self.headers = headers


@dataclass(slots=True)
class Call:
    """A request to the API, body included."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """A header's value; the name in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: Headers = field(default_factory=list)
    name: str = ""
    """Of the error, for the log; empty when there is none."""
    emails: int = 0
    """How many were accepted by this request."""
    replayed: bool = False
    """Whether an idempotency key made this the answer of an earlier request."""


def json_answer(content: object, *, status: int = 200) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, to_json(content))


def error_answer(error: ApiError) -> Answer:
    """The body every refusal has: `statusCode`, `name`, `message`."""
    body = {"statusCode": error.status, "name": error.name, "message": error.message}
    return Answer(error.status, to_json(body), headers=list(error.headers), name=error.name)


async def read_call(scope: Scope, receive: Receive) -> Call:
    """The whole request.

    Raises:
        DisconnectedError: If the client went away before the end of its body.
        ApiError: 413 if the body is larger than `MAX_BODY`.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise ApiError(413, "validation_error", "The request body is too large.")
        chunks.append(chunk)
        more = message.get("more_body", False)
    query = scope["query_string"]
    return Call(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
        headers=dict(scope["headers"]),
        body=chunks[0] if len(chunks) == 1 else b"".join(chunks),
    )


async def send_answer(send: Send, answer: Answer) -> None:
    """Write the answer in one piece."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
