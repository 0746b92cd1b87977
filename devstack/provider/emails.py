"""`POST /emails` and `POST /emails/batch`, idempotent and all or nothing; and how mail is read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic_core import to_json

from devstack.provider.exchange import (
    Answer,
    ApiError,
    Call,
    ProviderOptions,
    instant,
    micros,
    rfc3339,
)
from devstack.provider.limits import Quotas, day_start, next_month_start
from devstack.provider.store import NewRequest, Store
from devstack.provider.validation import Mail, parse_batch, parse_email
from devstack.provider.webhooks import Webhooks, message_id

BATCH_PATH = "/emails/batch"
MAX_KEY = 256
"""Characters of an idempotency key."""

Outcome = Literal["delivered", "bounced", "complained", "suppressed"]

EVENTS: dict[Outcome, tuple[str, ...]] = {
    "delivered": ("email.sent", "email.delivered"),
    "bounced": ("email.sent", "email.bounced"),
    "complained": ("email.sent", "email.delivered", "email.complained"),
    "suppressed": ("email.suppressed",),
}
"""What becomes of an accepted e-mail, the worst last, and its webhook events in their order."""

ORIGINS: dict[Outcome, str] = {"bounced": "bounce", "complained": "complaint"}
"""Outcomes that put the address on the suppression list, and the origin it has there."""

_TEST_DOMAIN = "resend.dev"

_UUID_FIELDS = 0xF << 76 | 0x3 << 62
_UUID_7 = 0x7 << 76 | 0x2 << 62
"""Version and variant bits (RFC 9562 §4)."""


@dataclass(slots=True)
class Emails:
    """Accepts e-mails, and shows them."""

    store: Store
    quotas: Quotas
    webhooks: Webhooks
    options: ProviderOptions
    now: Callable[[], datetime]
    _in_flight: set[tuple[str, str]] = field(default_factory=set)

    async def send(self, call: Call, wait: Callable[[], Awaitable[None]]) -> Answer:
        """Accept the request's e-mails, or say what its idempotency key answered before.

        A key is taken from the moment the request has arrived; only an accepted request keeps it.

        Args:
            call: The request.
            wait: Takes as long as the request shall take.

        Raises:
            ApiError: If the request is refused; nothing of it is accepted then.
        """
        fingerprint = hashlib.sha256(call.body).digest()
        key = call.header(b"idempotency-key")
        if key is None:
            await wait()
            return self._accept(call, None, fingerprint)
        if not 1 <= len(key) <= MAX_KEY:
            raise ApiError(
                400, "invalid_idempotency_key", f"The key must be between 1-{MAX_KEY} chars."
            )
        # Keys are kept apart by endpoint; the team is the same for all of them.
        scope = (call.path, key)
        if scope in self._in_flight:
            raise ApiError(
                409,
                "concurrent_idempotent_requests",
                "Same idempotency key used while original request is still in progress.",
            )
        self._in_flight.add(scope)
        try:
            await wait()
            known = self.store.remembered(f"POST {call.path}", key, self.now())
            if known is None:
                return self._accept(call, key, fingerprint)
        finally:
            self._in_flight.discard(scope)
        known_fingerprint, answer, emails = known
        if known_fingerprint != fingerprint:
            raise ApiError(
                409,
                "invalid_idempotent_request",
                "Same idempotency key used with a different request payload.",
            )
        return Answer(200, answer, emails=emails, replayed=True)

    def _accept(self, call: Call, key: str | None, fingerprint: bytes) -> Answer:
        is_batch = call.path == BATCH_PATH
        mode = (call.header(b"x-batch-validation") or "strict") if is_batch else "strict"
        if mode not in ("strict", "permissive"):
            raise ApiError(400, "validation_error", "The `x-batch-validation` header is not valid.")
        permissive, allow = mode == "permissive", self.options.allow_example
        if is_batch:
            mails, errors = parse_batch(call.body, permissive=permissive, allow_example=allow)
        else:
            mails, errors = [parse_email(call.body, allow_example=allow)], []
        now = self.now()
        recipients = sum(len(mail.addresses) for mail in mails)
        self.quotas.check(recipients, now)
        accepted_at = micros(now)
        emails: list[tuple[str, Mail, str]] = []
        events: list[tuple[str, str]] = []
        suppressions: dict[str, str] = {}
        for mail in mails:
            outcomes = {a: _outcome(a, self.store.suppressions) for a in mail.addresses}
            # An e-mail is known by the worst that became of it.
            worst = max(outcomes.values(), key=list(EVENTS).index)
            email_id = _new_id(accepted_at)
            emails.append((email_id, mail, worst))
            events += [(email_id, type_) for type_ in EVENTS[worst]]
            suppressions |= {a: ORIGINS[own] for a, own in outcomes.items() if own in ORIGINS}
        ids = [{"id": email_id} for email_id, _, _ in emails]
        content: object = {"data": ids} if is_batch else ids[0]
        if permissive:
            content = {"data": ids, "errors": errors}
        answer = Answer(200, to_json(content), emails=len(emails))
        self.store.accept(
            NewRequest(
                endpoint=f"POST {call.path}",
                idempotency_key=key,
                fingerprint=fingerprint,
                accepted_at=accepted_at,
                recipients=recipients,
                answer=answer.body,
                body=call.body,
            ),
            emails,
            events=self.webhooks.plan(events, accepted_at),
            suppressions=suppressions,
        )
        self.quotas.add(recipients, now)
        self.webhooks.wake()
        return answer

    def read(self, email_id: str) -> Answer:
        """`GET /emails/{id}`: an e-mail with its parts.

        Raises:
            ApiError: 404.
        """
        email = self.store.email(email_id)
        if email is None:
            raise ApiError(404, "not_found", "Email not found")
        parts, envelope = self.store.parts(email), email.envelope
        # Not quite ISO 8601: `2026-12-01 15:00:00.000001+00`.
        created_at = instant(email.accepted_at).isoformat(sep=" ", timespec="microseconds")
        return Answer(
            200,
            to_json(
                {
                    "object": "email",
                    "id": email.id,
                    "to": envelope["to"],
                    "from": envelope["from"],
                    "created_at": created_at.removesuffix(":00"),
                    "subject": envelope["subject"],
                    "bcc": envelope["bcc"] or None,
                    "cc": envelope["cc"] or None,
                    "reply_to": envelope["reply_to"] or None,
                    "last_event": email.last_event,
                    "scheduled_at": None,
                    "message_id": message_id(email.id),
                    "html": parts.get("html"),
                    "text": parts.get("text"),
                    "tags": envelope["tags"],
                }
            ),
        )

    def usage(self) -> Answer:
        """`GET /usage`: what is used of the team's limits."""
        now = self.now()
        today, this_month = self.quotas.used(now)
        tomorrow = rfc3339(micros(day_start(now) + timedelta(days=1)))
        next_month = rfc3339(micros(next_month_start(now)))
        return Answer(
            200,
            to_json(
                {
                    "object": "usage",
                    "emails": {
                        "daily": _quota(today, self.quotas.daily, tomorrow),
                        "monthly": _quota(this_month, None, next_month),
                    },
                    "contacts": {"used": 0, "limit": 1000},
                    "segments": {"used": 0, "limit": 3},
                    "broadcasts": {"used": 0, "limit": None},
                    "ai_credits": {"used": 0, "limit": 0, "next_increase_at": None},
                    "automation_runs": {"used": 0, "limit": 0, "resets_at": next_month},
                    "domains": {"used": 1, "limit": None},
                    # There is no word for "unlimited" in the real answer.
                    "rate_limit": {"limit": self.options.rate or 1_000_000, "duration": "1000ms"},
                }
            ),
        )


def _quota(used: int, limit: int | None, resets_at: str) -> dict[str, object]:
    return {"used": used, "limit": limit, "sent": used, "received": 0, "resets_at": resets_at}


def _outcome(address: str, suppressed: Collection[str]) -> Outcome:
    """What becomes of mail to a bare, lower-case address: test addresses stand for outcomes."""
    if address in suppressed:
        return "suppressed"
    local, _, domain = address.rpartition("@")
    if domain != _TEST_DOMAIN:
        return "delivered"
    # Labels work with all test addresses but `suppressed` (send-test-emails).
    match local.partition("+")[0]:
        case "bounced":
            return "bounced"
        case "complained":
            return "complained"
    return "suppressed" if local == "suppressed" else "delivered"


def _new_id(accepted_at: int) -> str:
    """A UUID that begins with the time, as version 7 does (RFC 9562 §5.7).

    Random ones would scatter the hundred of a batch over the whole of the store's index.
    """
    number = accepted_at // 1000 << 80 | int.from_bytes(os.urandom(10))
    return str(UUID(int=number & ~_UUID_FIELDS | _UUID_7))
