"""The routes under `/_/`: what tests ask, and how they make the stand-in misbehave.

Never rate limited, never counted, no key needed: they are not Resend's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.provider.exchange import rfc3339
from devstack.provider.faults import Fault, Faults
from devstack.provider.limits import Quotas, Traffic
from devstack.provider.store import Store, StoredEmail
from devstack.provider.webhooks import Webhooks

PAGE = 1000
"""E-mails or requests in an answer, at most."""


class WebhookTarget(BaseModel):
    """Where events go from now on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What can be seen and steered from outside."""

    store: Store
    quotas: Quotas
    traffic: Traffic
    webhooks: Webhooks
    faults: Faults

    def routes(self) -> list[Route]:
        """The routes, for Starlette."""
        return [
            Route("/_/health", self._health),
            Route("/_/accepted", self._accepted),
            Route("/_/stats", self._stats),
            Route("/_/requests", self._requests),
            Route("/_/emails", self._reset, methods=["DELETE"]),
            Route("/_/faults", self._list_faults, methods=["GET"]),
            Route("/_/faults", self._add_faults, methods=["POST"]),
            Route("/_/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_/webhook", self._set_webhook, methods=["PUT"]),
            Route("/_/webhook", self._restore_webhook, methods=["DELETE"]),
        ]

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _accepted(self, request: Request) -> Response:
        """E-mails in the order of acceptance, after `since_seq`; with html and text if `bodies=1`."""
        since = _whole(request, "since_seq", 0)
        limit = min(max(_whole(request, "limit", PAGE), 1), PAGE)
        emails = self.store.emails_after(since, limit + 1)
        page = emails[:limit]
        data = [accepted(email) for email in page]
        if request.query_params.get("bodies") == "1":
            # A batch's body is parsed once for all of its e-mails.
            for request_id, group in groupby(zip(page, data, strict=True), _request_of):
                body = self.store.body(request_id)
                for email, row in group:
                    parts: Any = body[email.position] if isinstance(body, list) else body
                    row |= {"html": parts.get("html"), "text": parts.get("text")}
        return _json(
            {
                "data": data,
                "has_more": len(emails) > limit,
                "next_seq": page[-1].seq if page else since,
            }
        )

    async def _stats(self, _request: Request) -> Response:
        return _json(
            {
                **self.traffic.stats(),
                "accepted": self.store.count(),
                "batch_sizes": self.store.batch_sizes(),
                "webhooks": self.webhooks.stats(),
            }
        )

    async def _requests(self, request: Request) -> Response:
        limit = min(max(_whole(request, "limit", PAGE), 1), PAGE)
        return _json({"data": self.traffic.newest(limit)})

    async def _reset(self, _request: Request) -> Response:
        """Forget e-mails, keys, counts and suppressions; faults and the webhook stay."""
        self.store.clear()
        self.quotas.forget()
        self.traffic.clear()
        return Response(status_code=204)

    async def _list_faults(self, _request: Request) -> Response:
        return _json({"data": self.faults.listing()})

    async def _add_faults(self, request: Request) -> Response:
        """Put one fault in force, or a list of them."""
        try:
            ids = self.faults.add(*parse_faults(await request.body()))
        except ValueError as error:
            return _json({"error": str(error)}, status=422)
        return _json({"ids": ids}, status=201)

    async def _clear_faults(self, _request: Request) -> Response:
        return _json({"cleared": self.faults.clear()})

    async def _set_webhook(self, request: Request) -> Response:
        try:
            target = WebhookTarget.model_validate_json(await request.body())
        except ValidationError as error:
            return _json({"error": str(error)}, status=422)
        self.webhooks.configure(target.url, target.secret)
        return Response(status_code=204)

    async def _restore_webhook(self, _request: Request) -> Response:
        self.webhooks.restore()
        return Response(status_code=204)


def accepted(email: StoredEmail) -> dict[str, Any]:
    """An accepted e-mail as tests want it: `tags` as an object."""
    envelope = email.envelope
    return {
        "seq": email.seq,
        "id": email.id,
        "request": email.request_id,
        "position": email.position,
        "accepted_at": rfc3339(email.accepted_at),
        "endpoint": email.endpoint,
        "idempotency_key": email.idempotency_key,
        "last_event": email.last_event,
        **envelope,
        "tags": {tag["name"]: tag["value"] for tag in envelope["tags"]},
    }


def parse_faults(content: bytes) -> list[Fault]:
    """The faults of a request: one object, or a list of them.

    Raises:
        ValueError: If it is neither.
    """
    parsed = json.loads(content)
    items = parsed if isinstance(parsed, list) else [parsed]
    return [Fault.model_validate(item) for item in items]


def _request_of(pair: tuple[StoredEmail, dict[str, Any]]) -> int:
    return pair[0].request_id


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def _json(content: object, *, status: int = 200) -> Response:
    return Response(to_json(content), status_code=status, media_type="application/json")
