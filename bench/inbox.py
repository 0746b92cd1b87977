"""What the stand-in for Resend accepted, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from bench import measure
from reminders.clock import SystemClock

POLL_SECONDS = 0.1
AFTERWARDS = timedelta(seconds=2)
"""How long is watched for duplicates."""

_clock = SystemClock()


class Inbox:
    """Reads the stand-in."""

    def __init__(self, url: str) -> None:
        """Read the one at this address."""
        self._http = httpx.AsyncClient(base_url=url, trust_env=False)

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def clear(self) -> None:
        """Forget all e-mails and requests."""
        (await self._http.delete("/_/emails")).raise_for_status()

    async def count(self) -> int:
        """E-mails accepted so far."""
        return int((await self._stats())["accepted"])

    async def requests(self) -> int:
        """Requests so far, refused ones too."""
        return int((await self._stats())["requests"])

    async def accepted(self) -> list[dict[str, Any]]:
        """Every e-mail that was accepted, in that order."""
        emails: list[dict[str, Any]] = []
        since = 0
        while True:
            page = (await self._http.get("/_/accepted", params={"since_seq": since})).json()
            emails += page["data"]
            since = page["next_seq"]
            if not page["has_more"]:
                return emails

    async def filled(self, n: int, *, until: datetime, look: Callable[[int], object]) -> None:
        """Wait until there are so many e-mails, but no longer than until an instant.

        Args:
            n: How many.
            until: When to give up.
            look: Called with the number so far, ten times a second.
        """
        while _clock.now() < until:
            accepted = await self.count()
            look(accepted)
            if accepted >= n:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = (await self._http.get("/_/stats")).json()
        return stats


def accepted_at(email: dict[str, Any]) -> datetime:
    """When the stand-in accepted an e-mail."""
    return datetime.fromisoformat(email["accepted_at"])


def arrivals(
    emails: Sequence[dict[str, Any]], identities: Sequence[Hashable], *, n: int, due_at: datetime
) -> dict[str, float | int]:
    """What there is to say about e-mails that were all due at one instant.

    Args:
        emails: As accepted.
        identities: Which reminder each of them is.
        n: How many there should be.
        due_at: The instant.

    Raises:
        MeasurementError: If there are none.
    """
    if not emails:
        message = "no e-mail was accepted at all"
        raise measure.MeasurementError(message)
    lags = [(accepted_at(email) - due_at).total_seconds() for email in emails]
    return {
        "last_lag_s": max(lags),
        "emails_per_second": len(set(identities)) / max(lags),
        "first_lag_s": min(lags),
        "p50_lag_s": measure.percentile(lags, 50),
        "p99_lag_s": measure.percentile(lags, 99),
        "lost": n - len(set(identities)),
        "duplicates": measure.repeats(identities),
    }


async def sleep_until(instant: datetime) -> None:
    """Sleep until then; not at all if it has passed."""
    await asyncio.sleep(max(0.0, (instant - _clock.now()).total_seconds()))
