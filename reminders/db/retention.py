"""Forgets what is only needed for a while: provider events, and requests that have ended.

The ledger and the audit log are kept. A provider event is kept to know its repetition, which the
provider stops after a day and an operator may ask for during some more; a request that has ended
is a few ids without its body.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import CursorResult

from reminders.db.engine import Database
from reminders.db.sql import typed
from reminders.domain.ports import Clock

KEPT = timedelta(days=30)
AT_ONCE = 5_000
"""Rows of one statement: none holds its locks for long."""
ROUNDS = 20
"""Statements of one run for each table; the next run goes on."""

_FORGET = tuple(
    typed(sql)
    for sql in (
        """
        DELETE FROM webhook_events WHERE svix_id IN (
            SELECT svix_id FROM webhook_events
             WHERE received_at < CAST(:now AS timestamptz) - :kept
             LIMIT :limit FOR UPDATE SKIP LOCKED)
        """,
        """
        DELETE FROM email_batches WHERE id IN (
            SELECT id FROM email_batches
             WHERE state <> 'frozen' AND settled_at < CAST(:now AS timestamptz) - :kept
             LIMIT :limit FOR UPDATE SKIP LOCKED)
        """,
    )
)


@dataclass(frozen=True, slots=True)
class PostgresRetention:
    """`reminders.domain.ports.Retention` on PostgreSQL."""

    database: Database
    clock: Clock

    async def forget(self) -> int:
        """See `Retention.forget`."""
        parameters = {"now": self.clock.now(), "kept": KEPT, "limit": AT_ONCE}
        forgotten = 0
        async with self.database.autocommit() as connection:
            for statement in _FORGET:
                for _ in range(ROUNDS):
                    done: CursorResult[Any] = await connection.execute(statement, parameters)
                    forgotten += done.rowcount
                    if done.rowcount < AT_ONCE:
                        break
        return forgotten
