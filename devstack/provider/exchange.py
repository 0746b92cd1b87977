"""What every part of the stand-in speaks in: a request, its answer, its refusal; instants; options.

The two sending routes are called by benchmarks thousands of times on the cores that the system
under test needs, so the API is a plain ASGI callable; only the pages use Starlette.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

MAX_BODY = 64 * 1024 * 1024
"""Bytes; Resend allows 40 MB an e-mail and says nothing of a whole request."""

JSON = b"application/json; charset=utf-8"

RETRY_SCHEDULE = tuple(timedelta(seconds=s) for s in (0.2, 1, 2, 5, 10, 30, 60))
"""Waits between attempts at a webhook: as many as Resend's (5 s to 10 h), but compressed."""

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderOptions:
    """How the stand-in behaves; the defaults are Resend's where it has any."""

    rate: int = 10
    """Requests a second for the whole team; 0 means unlimited."""
    latency: timedelta = timedelta(milliseconds=20)
    """How long each API request takes at least."""
    daily_quota: int | None = None
    """Recipients a UTC day; `None` is a paid plan, which has no daily quota."""
    api_keys: tuple[str, ...] = ()
    """Keys that are accepted; with none at all, every one that starts with `re_`."""
    allow_example: bool = False
    """Accept `@example.com` and `@test.com`, which Resend refuses."""
    webhook_url: str | None = None
    """Where events are posted; `None` keeps them."""
    webhook_secret: str | None = None
    """`whsec_` and base64; signs the events."""
    webhook_retries: tuple[timedelta, ...] = RETRY_SCHEDULE
    """Waits before the second, third, ... attempt; then the event is given up."""


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
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        chunks.append(message.get("body", b""))
        if sum(map(len, chunks)) > MAX_BODY:
            raise ApiError(413, "validation_error", "The request body is too large.")
        more = message.get("more_body", False)
    return Call(scope["method"], scope["path"], dict(scope["headers"]), b"".join(chunks))


async def send_answer(send: Send, answer: Answer) -> None:
    """Write the answer in one piece."""
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


# ---------------------------------------------------------------- instants
# As the stand-in stores and prints them: whole microseconds since 1970, UTC.

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(at: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z; exact, which a float would not be."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(us: int) -> datetime:
    """The aware UTC instant of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def rfc3339(us: int) -> str:
    """As webhooks and the observation routes write it: `2026-12-01T15:00:00.000001Z`."""
    return instant(us).isoformat(timespec="microseconds").replace("+00:00", "Z")
