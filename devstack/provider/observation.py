"""The routes under `/_/`: what tests ask, and how they make the stand-in misbehave.

Never rate limited, never counted, no key needed: they are not Resend's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.provider.api import Api
from devstack.provider.faults import Fault, Faults
from devstack.provider.instants import micros, rfc3339
from devstack.provider.rows import StoredEmail, Suppression
from devstack.provider.store import Store
from devstack.provider.webhooks import Webhooks

PAGE = 1000
"""E-mails or requests in an answer, at most."""


class WebhookTarget(BaseModel):
    """Where events go from now on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str | None
    secret: str | None = None


class Observation:
    """What can be seen and steered from outside."""

    def __init__(
        self,
        store: Store,
        api: Api,
        webhooks: Webhooks,
        faults: Faults,
        *,
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts it looks at."""
        self._store = store
        self._api = api
        self._webhooks = webhooks
        self._faults = faults
        self._now = now

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
            Route("/_/faults/{id:int}", self._clear_faults, methods=["DELETE"]),
            Route("/_/webhook", self._set_webhook, methods=["PUT"]),
            Route("/_/webhook", self._restore_webhook, methods=["DELETE"]),
            Route("/_/suppressions", self._suppressions, methods=["GET"]),
            Route("/_/suppressions/{address}", self._suppress, methods=["PUT"]),
            Route("/_/suppressions/{address}", self._unsuppress, methods=["DELETE"]),
        ]

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _accepted(self, request: Request) -> Response:
        """E-mails in the order of acceptance, after `since_seq`; with html and text if `bodies=1`."""
        since = _whole(request, "since_seq", 0)
        limit = min(max(_whole(request, "limit", PAGE), 1), PAGE)
        emails = self._store.emails_after(since, limit + 1)
        page = emails[:limit]
        data = [accepted(email) for email in page]
        if request.query_params.get("bodies") == "1":
            # A batch's body is parsed once for all of its e-mails.
            for request_id, group in groupby(zip(page, data, strict=True), _request_of):
                body = self._store.body(request_id)
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
        totals = self._store.totals()
        for name in ("first_accepted_at", "last_accepted_at"):
            at = totals[name]
            totals[name] = rfc3339(at) if isinstance(at, int) else None
        return _json(
            {**self._api.traffic.stats(), **totals, "webhooks": self._webhooks.stats()},
        )

    async def _requests(self, request: Request) -> Response:
        limit = min(max(_whole(request, "limit", PAGE), 1), PAGE)
        return _json({"data": self._api.traffic.newest(limit)})

    async def _reset(self, _request: Request) -> Response:
        """Forget e-mails, keys, counts and suppressions; faults and the webhook stay."""
        self._store.clear()
        self._api.quotas.forget()
        self._api.traffic.clear()
        self._webhooks.forget()
        return Response(status_code=204)

    async def _list_faults(self, _request: Request) -> Response:
        return _json({"data": self._faults.listing()})

    async def _add_faults(self, request: Request) -> Response:
        """Put one fault in force, or a list of them."""
        try:
            ids = self._faults.add(*parse_faults(await request.body()))
        except ValueError as error:
            return _json({"error": str(error)}, status=422)
        return _json({"ids": ids}, status=201)

    async def _clear_faults(self, request: Request) -> Response:
        return _json({"cleared": self._faults.clear(request.path_params.get("id"))})

    async def _set_webhook(self, request: Request) -> Response:
        try:
            target = WebhookTarget.model_validate_json(await request.body())
        except ValidationError as error:
            return _json({"error": str(error)}, status=422)
        self._webhooks.configure(target.url, target.secret)
        return Response(status_code=204)

    async def _restore_webhook(self, _request: Request) -> Response:
        self._webhooks.restore()
        return Response(status_code=204)

    async def _suppressions(self, _request: Request) -> Response:
        data = [
            {"address": s.address, "origin": s.origin, "created_at": rfc3339(s.created_at)}
            for s in self._store.suppressions.values()
        ]
        return _json({"data": data})

    async def _suppress(self, request: Request) -> Response:
        address = request.path_params["address"].lower()
        self._store.suppress(Suppression(address, "manual", micros(self._now())))
        return Response(status_code=204)

    async def _unsuppress(self, request: Request) -> Response:
        found = self._store.unsuppress(request.path_params["address"].lower())
        return Response(status_code=204 if found else 404)


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
    """The faults of a request or a file: one object, or a list of them.

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
