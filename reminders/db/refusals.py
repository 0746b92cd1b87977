"""That webhooks are refused: noted by the API, seen by whoever examines; when and why, no more."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reminders.db.engine import Database
from reminders.db.sql import typed
from reminders.domain.keys import ASKED_EVENT
from reminders.domain.model import WebhookRefusal

NOTED_EVERY = timedelta(minutes=1)
"""Anybody may call: however often they do, it is no more than one write in this time."""

_NOTE = typed("""
UPDATE provider_pace
   SET webhook_refused_at = clock_timestamp(), webhook_refused_because = :reason
 WHERE webhook_refused_at IS NULL OR webhook_refused_at < clock_timestamp() - :wait
""")
_LAST = typed(f"""
SELECT p.webhook_refused_because FROM provider_pace p
 WHERE p.webhook_refused_at >= :since
   AND NOT EXISTS (SELECT FROM webhook_events w WHERE w.received_at >= p.webhook_refused_at
                      AND NOT starts_with(w.svix_id, '{ASKED_EVENT}'))
""")  # noqa: S608 - composed of constants


@dataclass(slots=True)
class WebhookRefusals:
    """What all processes know of webhooks that were refused."""

    database: Database
    _noted_at: float = field(default=float("-inf"), init=False)

    async def note(self, why: WebhookRefusal) -> None:
        """One was refused; what others have noted a moment ago is not noted again.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if time.monotonic() - self._noted_at < NOTED_EVERY.total_seconds():
            return
        self._noted_at = time.monotonic()
        async with self.database.autocommit() as connection:
            await connection.execute(_NOTE, {"reason": why, "wait": NOTED_EVERY})

    async def last(self, *, since: datetime) -> WebhookRefusal | None:
        """Why one was refused since then; `None` if none was, or one has been taken in after it."""
        word = await self.database.scalar(_LAST, {"since": since})
        return WebhookRefusal(word) if word is not None else None
