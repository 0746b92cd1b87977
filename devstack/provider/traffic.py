"""What was asked of the API since the start: counts, and the newest requests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from devstack.provider.exchange import Answer, Call, DroppedError
from devstack.provider.instants import rfc3339

MAX_REQUESTS = 10_000
"""Requests remembered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    at: int
    method: str
    path: str
    idempotency_key: str | None
    bytes: int
    status: int
    name: str
    emails: int
    replayed: bool
    microseconds: int


class Traffic:
    """Counts and remembers API requests; the pages and `/_/` are none."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._newest: deque[_Request] = deque(maxlen=MAX_REQUESTS)
        self._by_status: Counter[str] = Counter()
        self._by_name: Counter[str] = Counter()
        self._replayed = 0

    def note(self, call: Call, reply: Answer | DroppedError, *, at: int, microseconds: int) -> None:
        """Remember a request and what it got.

        Args:
            call: The request.
            reply: What it got; a dropped one has status 0.
            at: When it had arrived, microseconds since 1970.
            microseconds: Until its answer was ready.
        """
        if isinstance(reply, Answer):
            status, name = reply.status, reply.name
            emails, replayed = reply.emails, reply.replayed
        else:
            status, name = 0, "hung" if reply.hang else "dropped"
            emails, replayed = 0, False
        self._by_status[str(status)] += 1
        if name:
            self._by_name[name] += 1
        self._replayed += replayed
        self._newest.append(
            _Request(
                at=at,
                method=call.method,
                path=call.path,
                idempotency_key=call.header(b"idempotency-key"),
                bytes=len(call.body),
                status=status,
                name=name,
                emails=emails,
                replayed=replayed,
                microseconds=microseconds,
            )
        )

    def clear(self) -> None:
        """Forget everything."""
        self._newest.clear()
        self._by_status.clear()
        self._by_name.clear()
        self._replayed = 0

    def stats(self) -> dict[str, object]:
        """Counts since the start or the last reset."""
        return {
            "requests": self._by_status.total(),
            "replayed": self._replayed,
            "refused_429": self._by_status["429"],
            "by_status": dict(sorted(self._by_status.items())),
            "by_name": dict(sorted(self._by_name.items())),
        }

    def newest(self, limit: int) -> list[dict[str, object]]:
        """The newest requests, oldest of them first."""
        return [
            {
                "at": rfc3339(request.at),
                "method": request.method,
                "path": request.path,
                "idempotency_key": request.idempotency_key,
                "bytes": request.bytes,
                "status": request.status,
                "name": request.name or None,
                "emails": request.emails,
                "replayed": request.replayed,
                "milliseconds": request.microseconds / 1000,
            }
            for request in list(self._newest)[-limit:]
        ]
