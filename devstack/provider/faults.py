"""Misbehaviour on demand: what tests and people can ask the stand-in to do wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from itertools import count
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devstack.provider.exchange import Answer, ApiError, error_answer

Kind = Literal[
    "status",
    "slow",
    "drop_before_accept",
    "drop_after_accept",
    "webhook_twice",
    "webhook_out_of_order",
]

_NAMES = {
    400: "validation_error",
    401: "restricted_api_key",
    403: "invalid_api_key",
    404: "not_found",
    409: "concurrent_idempotent_requests",
    422: "validation_error",
    429: "rate_limit_exceeded",
    503: "service_unavailable",
}
_HTML = (
    "<html>\r\n<head><title>{status} {phrase}</title></head>\r\n<body>\r\n"
    "<center><h1>{status} {phrase}</h1></center>\r\n<hr><center>cloudflare</center>\r\n"
    "</body>\r\n</html>\r\n"
)
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Fault(BaseModel):
    """One kind of misbehaviour, for as many requests as it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    status: int | None = Field(default=None, ge=400, le=599)
    """Of `status`; 401, 403, 429, 500, 502, 503, ..."""
    name: str | None = None
    """The error's name; else the usual one of the status."""
    message: str = "An injected fault."
    html: bool = False
    """An HTML page instead of JSON, as a proxy answers."""
    accept: bool = False
    """Accept the e-mails all the same and only then answer with `status`."""
    retry_after: float | None = Field(default=None, ge=0)
    """Seconds; a 429 has 1 unless it says otherwise."""
    latency_ms: float = Field(default=0, ge=0)
    """Wait so long first, besides the stand-in's own latency."""
    hang: bool = False
    """A drop leaves the connection open and silent instead of cutting it."""
    probability: float = Field(default=1, gt=0, le=1)
    count: int | None = Field(default=None, ge=1)
    """Strike so many times; without it, until cleared."""
    path: str | None = None
    """Only requests to this very path."""
    containing: str | None = None
    """Only requests in whose body this stands, such as a recipient: as a firewall looks at them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.kind == "status") != (self.status is not None):
            message = "`status` belongs to the kind `status`, and it needs one"
            raise ValueError(message)
        if self.hang and not self.kind.startswith("drop_"):
            message = "`hang` belongs to the drop kinds"
            raise ValueError(message)
        return self

    def answer(self) -> Answer:
        """What a `status` fault answers."""
        status = self.status or 500
        if self.html:
            phrase = _PHRASES.get(status, "Error")
            page = _HTML.format(status=status, phrase=phrase).encode()
            return Answer(status, page, b"text/html; charset=utf-8", name="html")
        name = self.name or _NAMES.get(status, "application_error")
        answer = error_answer(ApiError(status, name, self.message))
        retry_after = self.retry_after
        if retry_after is None and status == 429:
            retry_after = 1
        if retry_after is not None:
            answer.headers.append((b"retry-after", f"{retry_after:g}".encode()))
        return answer


@dataclass(slots=True)
class _Active:
    id: int
    fault: Fault
    hits: int = 0

    @property
    def spent(self) -> bool:
        return self.fault.count is not None and self.hits >= self.fault.count


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        """Start with none."""
        # Not the global generator: test runners seed it.
        self._random = random.Random()
        self._ids = count(1)
        self._active: list[_Active] = []

    def add(self, *faults: Fault) -> list[int]:
        """Put faults in force, behind those that are; their ids."""
        added = [_Active(next(self._ids), fault) for fault in faults]
        self._active += added
        return [active.id for active in added]

    def clear(self) -> int:
        """Lift all faults; how many were lifted."""
        lifted = len(self._active)
        self._active = []
        return lifted

    def listing(self) -> list[dict[str, object]]:
        """Every fault with its id, how often it struck, and whether it still may."""
        return [
            {
                "id": active.id,
                "hits": active.hits,
                "active": not active.spent,
                **active.fault.model_dump(exclude_defaults=True),
            }
            for active in self._active
        ]

    def draw(self, path: str, body: bytes) -> tuple[timedelta, Fault | None]:
        """What befalls this request: all the delays that apply, and the first real fault."""
        delay = 0.0
        found: Fault | None = None
        for active in self._active:
            fault = active.fault
            if fault.kind.startswith("webhook_") or (found and fault.kind != "slow"):
                continue
            if self._strikes(active, path, body):
                delay += fault.latency_ms
                if fault.kind != "slow":
                    found = fault
        return timedelta(milliseconds=delay), found

    def draw_webhook(self, kind: Kind) -> Fault | None:
        """The fault of this kind that strikes the event, if one does."""
        for active in self._active:
            if active.fault.kind == kind and self._strikes(active):
                return active.fault
        return None

    def _strikes(self, active: _Active, path: str | None = None, body: bytes = b"") -> bool:
        fault = active.fault
        if active.spent:
            return False
        if path is not None and fault.path not in (None, path):
            return False
        if fault.containing is not None and fault.containing.encode() not in body:
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        active.hits += 1
        return True
