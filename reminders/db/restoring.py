"""Brings a ledger that was restored from a backup up to what has happened since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Text, Uuid, bindparam, text

from reminders.db import records
from reminders.db.audit import Action, Event, record
from reminders.db.engine import Database
from reminders.model import Reminder, ReminderStatus, StatusReason
from reminders.ports import Clock

VERSIONS_AHEAD = 1_000_000_000
"""How far plan versions go ahead: beyond any that a lost ledger can have given out."""

_PENDING = text("""
SELECT * FROM session_reminder_emails
 WHERE email_status IN ('scheduled', 'sending') AND id > :after
 ORDER BY id LIMIT :limit
""").bindparams(bindparam("after", type_=Uuid()))

_MARK = text("""
UPDATE session_reminder_emails
   SET email_status = :status, status_reason = :reason, sent_at = :sent_at, batch_id = NULL,
       last_error = :error, updated_at = now()
 WHERE id = :id AND email_status IN ('scheduled', 'sending')
""").bindparams(
    bindparam("id", type_=Uuid()),
    bindparam("status", type_=Text()),
    bindparam("reason", type_=Text()),
    bindparam("error", type_=Text()),
    bindparam("sent_at", type_=DateTime(timezone=True)),
)

# Posting the body of a restored batch could be a second e-mail: its reminders may have been
# released since, and sent with another batch.
_END_BATCHES = text("""
UPDATE email_batches SET state = 'settled', body = NULL, settled_at = :now WHERE state = 'frozen'
""").bindparams(bindparam("now", type_=DateTime(timezone=True)))

_GO_AHEAD = text("SELECT setval('plan_versions', nextval('plan_versions') + :ahead)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What became of a reminder that the restored ledger has as pending."""

    reminder_id: UUID
    status: ReminderStatus
    reason: StatusReason | None = None
    sent_at: datetime | None = None


class RestoredLedger:
    """A ledger that was restored, while no worker runs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Mend this database."""
        self._database = database
        self._clock = clock

    async def pending(self, *, after: UUID | None, limit: int) -> Sequence[Reminder]:
        """Rows that wait or were in flight at the backup, a page at a time, by ascending id."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                _PENDING, {"after": after or UUID(int=0), "limit": limit}
            )
            return tuple(records.reminder(row) for row in found.mappings())

    async def mark(self, found: Sequence[Found]) -> None:
        """Record what became of reminders; those that are no longer pending are left alone."""
        if not found:
            return
        rows: list[dict[str, Any]] = [
            {
                "id": f.reminder_id,
                "status": f.status,
                "reason": f.reason,
                "sent_at": f.sent_at,
                "error": (
                    "asked for before the ledger was restored; the answer is lost"
                    if f.reason is StatusReason.OUTCOME_UNKNOWN
                    else None
                ),
            }
            for f in found
        ]
        async with self._database.transaction() as connection:
            await connection.execute(_MARK, rows)

    async def go_on(
        self, *, actor: str, reason: str | None = None, details: dict[str, Any]
    ) -> None:
        """End what was frozen, have new plans overrule those of workflows, and write it down."""
        async with self._database.transaction() as connection:
            await connection.execute(_END_BATCHES, {"now": self._clock.now()})
            await connection.execute(_GO_AHEAD, {"ahead": VERSIONS_AHEAD})
            await record(
                connection,
                Event(action=Action.LEDGER_RESTORED, actor=actor, reason=reason, details=details),
            )
