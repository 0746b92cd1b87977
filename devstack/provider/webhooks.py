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
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic_core import to_json

from devstack.provider.faults import Faults
from devstack.provider.instants import micros, rfc3339
from devstack.provider.outbox import Outbox, QueuedEvent
from devstack.provider.posting import HttpPost, Post
from devstack.provider.rows import NewEvent, StoredEmail
from devstack.provider.store import Store

MAX_PENDING = 200_000
"""Events waiting at once; further ones are lost and counted, so that the file stays finite."""
CONCURRENCY = 16
"""Posts under way at once."""
PAUSE = timedelta(seconds=1)
"""How long the delivery rests after a failure of its own, a full disk for example."""
DISORDER = timedelta(milliseconds=250)
"""How long `webhook_out_of_order` keeps the first event back, unless the fault says."""

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
    """Queues events with the e-mails, and delivers them."""

    def __init__(
        self,
        store: Store,
        faults: Faults,
        *,
        url: str | None,
        secret: str | None,
        retries: tuple[timedelta, ...],
        now: Callable[[], datetime],
        post: Post | None = None,
    ) -> None:
        """Deliver to the URL, if there is one; see `configure`."""
        self._store = store
        self._outbox = Outbox(store)
        self._faults = faults
        self._retries = retries
        self._now = now
        self._own_post = HttpPost()
        self._post: Post = post or self._own_post
        self._wake = asyncio.Event()
        self._first = (url, secret)
        self._counts: Counter[str] = Counter(delivered=0, failed_attempts=0, given_up=0, lost=0)
        self.url = url
        self._secret = secret or ""

    def configure(self, url: str | None, secret: str | None) -> None:
        """Post to this URL from now on; `None` stops."""
        self.url = url
        self._secret = secret or ""
        self._wake.set()

    def restore(self) -> None:
        """Post where the start said."""
        self.configure(*self._first)

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
        room = MAX_PENDING - self._outbox.pending
        position = 0
        previous = ""
        for email_id, type_ in events:
            position = position + 1 if email_id == previous else 0
            previous = email_id
            if len(planned) >= room:
                self._counts["lost"] += 1
                continue
            due_at = late if disorder is not None and position == 0 else accepted_at
            # A millisecond apart, so that `created_at` tells their order.
            created_at = accepted_at + 1000 * position
            planned.append(NewEvent(f"msg_{uuid4().hex}", email_id, type_, created_at, due_at))
        return planned

    def queued(self, events: int) -> None:
        """Say that so many planned events were written."""
        if events:
            self._outbox.queued(events)
            self._wake.set()

    def forget(self) -> None:
        """The store was emptied."""
        self._outbox.forget()

    def stats(self) -> dict[str, object]:
        """What became of the events since the start, and how many wait."""
        return {"url": self.url, "pending": self._outbox.pending, **self._counts}

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            self._wake.clear()
            due = None
            if self.url is not None:
                try:
                    if await self.deliver_due():
                        continue
                    due = self._outbox.next_due()
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
        events = self._outbox.due(self._now(), CONCURRENCY)
        if not events or self.url is None:
            return 0
        taken = await asyncio.gather(*(self._attempt(event, self.url) for event in events))
        done: list[QueuedEvent] = []
        again: list[tuple[QueuedEvent, timedelta]] = []
        for event, ok in zip(events, taken, strict=True):
            if ok:
                self._counts["delivered"] += 1
                done.append(event)
                continue
            self._counts["failed_attempts"] += 1
            if event.attempts < len(self._retries):
                again.append((event, self._retries[event.attempts]))
            else:
                self._counts["given_up"] += 1
                done.append(event)
        self._outbox.settle(done, again, self._now())
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
