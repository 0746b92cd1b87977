"""Tells a configured URL what became of each e-mail, signed as Svix signs it.

At least once and in no promised order, as the real thing: whoever listens has to drop what it
knows by `svix-id` and order by `created_at`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from pydantic_core import to_json

from devstack.provider.exchange import ProviderOptions, micros, rfc3339
from devstack.provider.faults import Faults
from devstack.provider.store import NewEvent, QueuedEvent, Store, StoredEmail

CONCURRENCY = 16
"""Posts under way at once."""
PAUSE = timedelta(seconds=1)
"""How long the delivery rests after a failure of its own, a full disk for example."""
DISORDER = timedelta(milliseconds=250)
"""How long `webhook_out_of_order` keeps the first event back, unless the fault says."""

TIMEOUT = timedelta(seconds=15)
"""How long the other side may take (docs.svix.com/retries)."""
MAX_IDLE = 32
"""Connections kept for the next event."""

Post = Callable[[str, Mapping[str, str], bytes], Awaitable[int]]
"""Posts headers and body to a URL; see `HttpPost`."""
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_log = logging.getLogger(__name__)

_DETAILS: dict[str, tuple[str, dict[str, object]]] = {
    "email.bounced": (
        "bounce",
        {
            "type": "Permanent",
            "subType": "General",
            "message": "The recipient's email provider sent a hard bounce message.",
            "diagnosticCode": ["smtp; 550 5.1.1 user unknown"],
        },
    ),
    "email.suppressed": (
        "suppressed",
        {
            "type": "OnAccountSuppressionList",
            "message": "The recipient is on the account's suppression list.",
        },
    ),
}


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `svix-signature` of a body.

    Source:
        docs.svix.com/receiving/verifying-payloads/how-manual
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


class Webhooks:
    """Queues events with the e-mails, and delivers them.

    Attributes:
        url: Where to; `None` queues nothing.
    """

    def __init__(
        self,
        store: Store,
        faults: Faults,
        options: ProviderOptions,
        *,
        now: Callable[[], datetime],
        post: Post | None = None,
    ) -> None:
        """Deliver where the options say; see `configure`."""
        self._store = store
        self._faults = faults
        self._options = options
        self._now = now
        self._own_post = HttpPost()
        self._post: Post = post or self._own_post
        self._wake = asyncio.Event()
        self._counts: Counter[str] = Counter(delivered=0, failed_attempts=0, given_up=0)
        self.restore()

    def configure(self, url: str | None, secret: str | None) -> None:
        """Post to this URL from now on; `None` stops."""
        self.url = url
        self._secret = secret or ""
        self._wake.set()

    def restore(self) -> None:
        """Post where the start said."""
        self.configure(self._options.webhook_url, self._options.webhook_secret)

    def plan(self, events: Iterable[tuple[str, str]], accepted_at: int) -> list[NewEvent]:
        """Events to be written with the e-mails: `(email id, type)`, in order of their happening."""
        if self.url is None:
            return []
        disorder = self._faults.draw_webhook("webhook_out_of_order")
        wait = DISORDER
        if disorder is not None and disorder.latency_ms:
            wait = timedelta(milliseconds=disorder.latency_ms)
        late = accepted_at + wait // timedelta(microseconds=1)
        planned: list[NewEvent] = []
        position = 0
        previous = ""
        for email_id, type_ in events:
            position = position + 1 if email_id == previous else 0
            previous = email_id
            due_at = late if disorder is not None and position == 0 else accepted_at
            # A millisecond apart, so that `created_at` has their order.
            created_at = accepted_at + 1000 * position
            planned.append(NewEvent(f"msg_{uuid4().hex}", email_id, type_, created_at, due_at))
        return planned

    def wake(self) -> None:
        """Say that planned events were written."""
        self._wake.set()

    def stats(self) -> dict[str, object]:
        """What became of the events since the start, and how many wait."""
        return {"url": self.url, "pending": self._store.pending_events(), **self._counts}

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            self._wake.clear()
            due = None
            if self.url is not None:
                try:
                    if await self.deliver_due():
                        continue
                    due = self._store.next_event_due_at()
                except Exception:  # noqa: BLE001 - one bad event must not end all deliveries
                    _log.exception("the delivery of webhooks failed")
                    due = self._now() + PAUSE
            wait = None if due is None else max(0.0, (due - self._now()).total_seconds())
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def deliver_due(self) -> int:
        """Attempt the events whose time has come, a bounded number; how many."""
        events = self._store.due_events(self._now(), CONCURRENCY)
        if not events or self.url is None:
            return 0
        taken = await asyncio.gather(*(self._attempt(event, self.url) for event in events))
        now, retries = self._now(), self._options.webhook_retries
        done: list[QueuedEvent] = []
        again: list[tuple[QueuedEvent, datetime]] = []
        for event, ok in zip(events, taken, strict=True):
            if ok:
                self._counts["delivered"] += 1
                done.append(event)
                continue
            self._counts["failed_attempts"] += 1
            if event.attempts < len(retries):
                again.append((event, now + retries[event.attempts]))
            else:
                self._counts["given_up"] += 1
                done.append(event)
        self._store.settle_events(done, again)
        return len(events)

    async def close(self) -> None:
        """Close the connections."""
        await self._own_post.close()

    async def _attempt(self, event: QueuedEvent, url: str) -> bool:
        email = self._store.email(event.email_id)
        if email is None:
            # The store was emptied while the event waited.
            return True
        body = to_json(payload(event, email))
        timestamp = micros(self._now()) // 1_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "Svix-Webhooks/1.0",
            "svix-id": event.message_id,
            "svix-timestamp": str(timestamp),
            "svix-signature": sign(self._secret, event.message_id, timestamp, body),
        }
        if self._faults.draw_webhook("webhook_twice") is not None:
            await self._post(url, headers, body)
        status = await self._post(url, headers, body)
        return 200 <= status < 300


def payload(event: QueuedEvent, email: StoredEmail) -> dict[str, Any]:
    """The body of a webhook; `tags` is an object here, and a list everywhere else."""
    envelope = email.envelope
    data: dict[str, Any] = {
        "email_id": email.id,
        "message_id": message_id(email.id),
        "created_at": rfc3339(email.accepted_at),
        "from": envelope["from"],
        "to": envelope["to"],
        "subject": envelope["subject"],
    }
    if envelope["tags"]:
        data["tags"] = {tag["name"]: tag["value"] for tag in envelope["tags"]}
    if event.type in _DETAILS:
        name, details = _DETAILS[event.type]
        data[name] = details
    return {"type": event.type, "created_at": rfc3339(event.created_at), "data": data}


def message_id(email_id: str) -> str:
    """The Message-ID header the e-mail would have."""
    return f"<{email_id}@mail.invalid>"


# ---------------------------------------------------------------- over HTTP


class HttpPost:
    """Posts events over HTTP/1.1 on kept connections, as cheaply as it can be done.

    Two events for each e-mail are the greater part of the stand-in's work, on cores that the
    system under test needs: a general client costs ten times as much as this does.
    """

    def __init__(self) -> None:
        self._idle: list[tuple[str, _Connection]] = []

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post once; the status that came back, 0 when none did."""
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
    """Status, and how many bytes follow; `None` when only the end of the connection says."""
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    status = int(first.partition(" ")[2][:3])
    headers = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("connection") == "close":
        return status, None
    if status == 204:
        return status, 0
    return status, int(headers["content-length"]) if "content-length" in headers else None
