"""`POST /emails` and `POST /emails/batch`: idempotent, and all or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from pydantic_core import to_json

from devstack.provider.exchange import Answer, ApiError, Call
from devstack.provider.instants import micros
from devstack.provider.limits import Quotas
from devstack.provider.options import ProviderOptions
from devstack.provider.outcome import EVENTS, ORIGINS, outcome_of, worst
from devstack.provider.rows import NewEmail, NewRequest, Suppression
from devstack.provider.store import Store
from devstack.provider.validation import Batch, parse_batch, parse_email
from devstack.provider.webhooks import Webhooks

BATCH_PATH = "/emails/batch"
MAX_KEY = 256
"""Characters of an idempotency key."""

_UUID_FIELDS = 0xF << 76 | 0x3 << 62
_UUID_7 = 0x7 << 76 | 0x2 << 62
"""Version and variant bits (RFC 9562 §4)."""


class Sending:
    """Accepts e-mails."""

    def __init__(
        self,
        store: Store,
        quotas: Quotas,
        webhooks: Webhooks,
        options: ProviderOptions,
        *,
        now: Callable[[], datetime],
    ) -> None:
        """Take what it writes to and what it asks."""
        self._store = store
        self._quotas = quotas
        self._webhooks = webhooks
        self._allow_example = options.allow_example
        self._now = now
        self._in_flight: set[tuple[str, str]] = set()

    async def send(self, call: Call, wait: Callable[[], Awaitable[None]]) -> Answer:
        """Accept the request's e-mails, or say what its idempotency key answered before.

        A key is taken from the moment the request has arrived; only an accepted request keeps it.

        Args:
            call: The request.
            wait: Takes as long as the request shall take.

        Raises:
            ApiError: If the request is refused; nothing of it is accepted then.
        """
        key = call.header(b"idempotency-key")
        if key is None:
            await wait()
            return self._accept(call, None, hashlib.sha256(call.body).digest())
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
            fingerprint = hashlib.sha256(call.body).digest()
            known = self._store.remembered(f"POST {call.path}", key, self._now())
            if known is None:
                return self._accept(call, key, fingerprint)
        finally:
            self._in_flight.discard(scope)
        if known.fingerprint != fingerprint:
            raise ApiError(
                409,
                "invalid_idempotent_request",
                "Same idempotency key used with a different request payload.",
            )
        return Answer(200, known.answer, emails=known.emails, replayed=True)

    def _accept(self, call: Call, key: str | None, fingerprint: bytes) -> Answer:
        batch, permissive = self._parse(call)
        now = self._now()
        recipients = sum(len(mail.addresses) for mail in batch.mails)
        self._quotas.check(recipients, now)
        accepted_at = micros(now)
        emails: list[NewEmail] = []
        events: list[tuple[str, str]] = []
        suppressions: dict[str, Suppression] = {}
        for mail in batch.mails:
            outcomes = {a: outcome_of(a, self._store.suppressions) for a in mail.addresses}
            outcome = worst(outcomes.values())
            email_id = _new_id(accepted_at)
            emails.append(NewEmail(email_id, mail, outcome))
            events.extend((email_id, type_) for type_ in EVENTS[outcome])
            for address, own in outcomes.items():
                if own in ORIGINS:
                    suppressions[address] = Suppression(address, ORIGINS[own], accepted_at)
        ids = [{"id": email.id} for email in emails]
        content: object = ids[0] if call.path != BATCH_PATH else {"data": ids}
        if permissive:
            content = {"data": ids, "errors": batch.errors}
        answer = Answer(200, to_json(content), emails=len(emails))
        planned = self._webhooks.plan(events, accepted_at)
        self._store.accept(
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
            events=planned,
            suppressions=suppressions.values(),
        )
        self._quotas.add(recipients, now)
        self._webhooks.queued(len(planned))
        return answer

    def _parse(self, call: Call) -> tuple[Batch, bool]:
        """The request's e-mails, and whether it asked for permissive validation."""
        if call.path != BATCH_PATH:
            return Batch([parse_email(call.body, allow_example=self._allow_example)], []), False
        mode = call.header(b"x-batch-validation") or "strict"
        if mode not in ("strict", "permissive"):
            raise ApiError(400, "validation_error", "The `x-batch-validation` header is not valid.")
        permissive = mode == "permissive"
        batch = parse_batch(call.body, permissive=permissive, allow_example=self._allow_example)
        return batch, permissive


def _new_id(accepted_at: int) -> str:
    """A UUID that begins with the time, as version 7 does (RFC 9562 §5.7).

    Random ones would scatter the hundred of a batch over the whole of the store's index.
    """
    number = accepted_at // 1000 << 80 | int.from_bytes(os.urandom(10))
    return str(UUID(int=number & ~_UUID_FIELDS | _UUID_7))
