"""The rate limit and the quotas of the team."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from devstack.provider.exchange import ApiError, Headers
from devstack.provider.instants import day_start, month_start


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
    """Recipients accepted this UTC day and this UTC month."""

    def __init__(
        self, daily: int | None, monthly: int | None, *, accepted_since: Callable[[datetime], int]
    ) -> None:
        """Take the limits, `None` for none, and how to count recipients accepted since an instant."""
        self.daily = daily
        self.monthly = monthly
        self._accepted_since = accepted_since
        self._day: datetime | None = None
        self._used = (0, 0)

    def used(self, now: datetime) -> tuple[int, int]:
        """Recipients accepted today and this month."""
        day = day_start(now)
        if day != self._day:
            self._day = day
            self._used = (self._accepted_since(day), self._accepted_since(month_start(now)))
        return self._used

    def check(self, recipients: int, now: datetime) -> None:
        """Refuse a request that does not fit into what is left.

        Raises:
            ApiError: 429, by the name of the quota.
        """
        today, this_month = self.used(now)
        if self.daily is not None and today + recipients > self.daily:
            raise ApiError(
                429, "daily_quota_exceeded", "You have reached your daily email sending quota."
            )
        if self.monthly is not None and this_month + recipients > self.monthly:
            raise ApiError(
                429, "monthly_quota_exceeded", "You have reached your monthly email sending quota."
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
