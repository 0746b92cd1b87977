"""What the team may do and has done: the rate limit, the quotas, and the requests since the start."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta

from devstack.provider.exchange import (
    Answer,
    ApiError,
    Call,
    DroppedError,
    Headers,
    micros,
    rfc3339,
)

MAX_REQUESTS = 10_000
"""Requests remembered."""


def day_start(now: datetime) -> datetime:
    """Midnight UTC, when the daily quota was renewed."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def next_month_start(now: datetime) -> datetime:
    """When the month's count begins anew."""
    return (day_start(now).replace(day=1) + timedelta(days=32)).replace(day=1)


class RateWindow:
    """So many requests in each second of the clock, and no burst beyond it."""

    def __init__(self, limit: int) -> None:
        """Take the requests a second; 0 means unlimited, and then there are no headers either."""
        self.limit = limit
        self._second = 0
        self._used = 0
        self._limit_header = (b"ratelimit-limit", b"%d" % limit)

    def take(self, now: datetime) -> bool:
        """Count a request; `False` when this second has had all of its own."""
        if not self.limit:
            return True
        self._roll(now)
        if self._used >= self.limit:
            return False
        self._used += 1
        return True

    def headers(self, now: datetime) -> Headers:
        """The `ratelimit-*` headers as they stand."""
        if not self.limit:
            return []
        self._roll(now)
        return [
            self._limit_header,
            (b"ratelimit-remaining", b"%d" % (self.limit - self._used)),
            # Seconds are whole, and the window never lasts longer than one.
            (b"ratelimit-reset", b"1"),
        ]

    def _roll(self, now: datetime) -> None:
        second = int(now.timestamp())
        if second != self._second:
            self._second = second
            self._used = 0


class Quotas:
    """Recipients accepted this UTC day, which may have a limit, and this UTC month."""

    def __init__(self, daily: int | None, *, accepted_since: Callable[[datetime], int]) -> None:
        """Take the day's limit, `None` for none, and how to count what was accepted since."""
        self.daily = daily
        self._accepted_since = accepted_since
        self._day: datetime | None = None
        self._used = (0, 0)

    def used(self, now: datetime) -> tuple[int, int]:
        """Recipients accepted today and this month."""
        day = day_start(now)
        if day != self._day:
            self._day = day
            self._used = (self._accepted_since(day), self._accepted_since(day.replace(day=1)))
        return self._used

    def check(self, recipients: int, now: datetime) -> None:
        """Refuse a request that does not fit into what is left of the day.

        Raises:
            ApiError: 429.
        """
        today, _ = self.used(now)
        if self.daily is not None and today + recipients > self.daily:
            raise ApiError(
                429, "daily_quota_exceeded", "You have reached your daily email sending quota."
            )

    def add(self, recipients: int, now: datetime) -> None:
        """Count recipients that were accepted."""
        if day_start(now) == self._day:
            # On another day `used` reads them from the store.
            today, this_month = self._used
            self._used = (today + recipients, this_month + recipients)

    def forget(self) -> None:
        """Count anew: the store was emptied."""
        self._day = None

    def headers(self, now: datetime) -> Headers:
        """The `x-resend-*-quota` headers: what is *used*; the daily one only where there is one."""
        today, this_month = self.used(now)
        headers: Headers = [(b"x-resend-monthly-quota", b"%d" % this_month)]
        if self.daily is not None:
            headers.append((b"x-resend-daily-quota", b"%d" % today))
        return headers


class Traffic:
    """Counts and remembers API requests; the pages and `/_/` are none."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._newest: deque[dict[str, object]] = deque(maxlen=MAX_REQUESTS)
        self._by_status: Counter[str] = Counter()
        self._by_name: Counter[str] = Counter()
        self._replayed = 0

    def note(
        self, call: Call, reply: Answer | DroppedError, *, began_at: datetime, ended_at: datetime
    ) -> None:
        """Remember a request and what it got; a dropped one has status 0."""
        if isinstance(reply, DroppedError):
            reply = Answer(0, b"", name="hung" if reply.hang else "dropped")
        self._by_status[str(reply.status)] += 1
        if reply.name:
            self._by_name[reply.name] += 1
        self._replayed += reply.replayed
        self._newest.append(
            {
                "at": rfc3339(micros(began_at)),
                "method": call.method,
                "path": call.path,
                "idempotency_key": call.header(b"idempotency-key"),
                "bytes": len(call.body),
                "status": reply.status,
                "name": reply.name or None,
                "emails": reply.emails,
                "replayed": reply.replayed,
                "milliseconds": (ended_at - began_at) / timedelta(milliseconds=1),
            }
        )

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
        return list(self._newest)[-limit:]
