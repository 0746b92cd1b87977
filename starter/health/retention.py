"""Whether Temporal answers, and keeps what has ended for as long as somebody may ask for it."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client  # noqa: TID251 - asks how the server is, starts nothing

from reminders import temporal
from reminders.db.sessions import Catalogue
from reminders.domain.errors import ServiceUnavailableError
from reminders.domain.ports import Clock
from starter.health.diagnosis import FoundError, Level

LEAST = timedelta(days=1)
"""As long as a backup is old at the most; `ledger-restored` reads what has ended since."""
RECOMMENDED = timedelta(days=7)
LOOKED_EVERY = timedelta(minutes=10)
"""How often sessions are looked at: the table may be large, and lack an index."""
_PATIENCE = 1.0
"""Seconds; Temporal is what is examined here, and PostgreSQL elsewhere."""


@dataclass(slots=True)
class RetentionCheck:
    """What `doctor` asks of the namespace."""

    client: Client
    catalogue: Catalogue
    clock: Clock
    _longest: timedelta = timedelta()
    """Of the coming sessions, as last looked at."""
    _looked_at: float = float("-inf")

    async def look(self) -> str:
        """Whether a run is kept for a day, and while the session that it was for takes place.

        A run ends with its last reminder, before the start. Until the session is over, it may be
        moved or its reminders asked for, and what its run did is to be seen.
        """
        namespace = self.client.namespace
        kept, longest = await temporal.retention(self.client), await self._longest_session()
        if kept >= max(LEAST, longest):
            return f"Temporal answers for namespace {namespace}"
        if kept < LEAST:
            why = "a ledger restored from last night's backup could not be brought up to date"
        else:
            why = (
                f"a coming session takes {_hours(longest)}, and its runs are gone before it is over"
            )
        days = math.ceil(max(RECOMMENDED, longest) / timedelta(days=1))
        raise FoundError(
            f"namespace {namespace} forgets runs {_hours(kept)} after their end: {why}",
            f"run `temporal operator namespace update --namespace {namespace} --retention {days}d`",
            Level.WARNING,
        )

    async def _longest_session(self) -> timedelta:
        if time.monotonic() - self._looked_at > LOOKED_EVERY.total_seconds():
            self._looked_at = time.monotonic()
            try:
                async with asyncio.timeout(_PATIENCE):
                    self._longest = await self.catalogue.longest(self.clock.now())
            except (TimeoutError, ServiceUnavailableError):
                pass  # what was known before counts, until the next look
        return self._longest


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):.0f} h"
