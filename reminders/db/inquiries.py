"""Which accepted e-mails are silent, for `reminders.delivery.inquiry`, on PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from reminders.db.arrivals import PATIENCE
from reminders.db.engine import Database
from reminders.db.provider import ProviderEvents
from reminders.db.sql import HELD, typed
from reminders.domain.model import ProviderEvent
from reminders.domain.pace import MOST, Pace
from reminders.domain.ports import Clock

AGAIN = timedelta(hours=1)
"""How often the same e-mail is asked for."""
FORGOTTEN = timedelta(days=2)
"""When nobody asks any more."""

# A place is taken only if nobody waits for one, and only if there is somebody to ask for. One that is
# locked is asked for by another worker, or is moving on.
_NEXT = typed(f"""
WITH silent AS (
    SELECT r.id, r.resend_email_id FROM session_reminder_emails r
     WHERE r.email_status = 'sent' AND r.due_at >= :since AND r.sent_at < :late
       AND r.resend_email_id IS NOT NULL AND (r.asked_at IS NULL OR r.asked_at < :until)
     ORDER BY r.due_at, r.id LIMIT 1 FOR UPDATE SKIP LOCKED),
place AS (
    UPDATE provider_pace
       SET turns = (turns || clock_timestamp())[(cardinality(turns) + 2 - {MOST}) :]
     WHERE coalesce(turns[cardinality(turns)] + :quiet <= clock_timestamp(), true)
       AND ({HELD}) IS NOT TRUE
       AND EXISTS (SELECT FROM silent)
    RETURNING true AS free)
UPDATE session_reminder_emails r SET asked_at = :now
  FROM silent, place WHERE r.id = silent.id
RETURNING r.id, silent.resend_email_id
""")  # noqa: S608 - composed of constants


class Found(NamedTuple):
    """An e-mail to ask for."""

    reminder_id: UUID
    email_id: str


@dataclass(frozen=True, slots=True)
class PostgresInquiries:
    """`Silent` on PostgreSQL."""

    database: Database
    clock: Clock
    pace: Pace = field(kw_only=True)
    """That all workers keep together. Most of each window is left to them."""

    async def next(self) -> Found | None:
        """See `Silent.next`."""
        now = self.clock.now()
        row = await self.database.row(
            _NEXT,
            {
                "since": now - FORGOTTEN,
                "late": now - PATIENCE,
                "until": now - AGAIN,
                "quiet": self.pace.aside,
                "now": now,
            },
        )
        return Found(row["id"], row["resend_email_id"]) if row else None

    async def record(self, event: ProviderEvent) -> bool:
        """See `Silent.record`."""
        return await ProviderEvents(self.database).record(event)
