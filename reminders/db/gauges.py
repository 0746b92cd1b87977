"""How the ledger stands, in numbers, for those who watch it."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Text, bindparam, text

from reminders.db import records
from reminders.db.engine import Database
from reminders.db.installation import belongs_here, here
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.ports import Clock, Destination, Hold, LedgerState, Quota

_LATE = timedelta(minutes=1)
"""After this, a reminder that waits is overdue, and a frozen one in doubt."""
_WINDOW = timedelta(days=1)

_STATE = text(f"""
SELECT (SELECT count(*) FROM session_reminder_emails
         WHERE email_status = 'scheduled' AND due_at < :late) AS overdue,
       (SELECT coalesce(sum(cardinality(reminder_ids)), 0) FROM email_batches
         WHERE state = 'frozen' AND frozen_at < :late) AS in_doubt,
       (SELECT coalesce(sum(cardinality(b.reminder_ids)), 0) FROM email_batches b
         WHERE b.state = 'frozen' AND NOT {belongs_here("b")}) AS stranded,
       p.held_until, p.held_because, p.held_sender, clock_timestamp() AS database_now
  FROM (VALUES (1)) AS one LEFT JOIN provider_pace p ON p.held_until > clock_timestamp()
""").bindparams(  # noqa: S608 - composed of constants
    bindparam("delivery_mode", type_=Text()), bindparam("sink", type_=Text())
)

_QUOTAS = text(
    "SELECT quota, used, quota_limit, resets_at FROM provider_usage WHERE resets_at > :now"
)

# By status, so that the index on status and instant answers it alone.
_ROWS = text("""
SELECT s.status, (SELECT count(*) FROM session_reminder_emails r
                   WHERE r.email_status = s.status AND r.due_at BETWEEN :since AND :until) AS rows
  FROM unnest(CAST(:statuses AS text[])) AS s (status)
""")


class LedgerGauges:
    """`LedgerReader` on PostgreSQL."""

    def __init__(
        self, database: Database, clock: Clock, destination: Destination | None = None
    ) -> None:
        """Read a database.

        Args:
            database: Migrated.
            clock: Decides what is late.
            destination: Where the e-mails of this process go; absent means to the attendees.
        """
        self._database = database
        self._clock = clock
        self._here = here(destination or Destination())

    async def state(self) -> LedgerState:
        """See `LedgerReader.state`."""
        now = self._clock.now()
        async with self._database.autocommit() as connection:
            one = (await connection.execute(_STATE, {"late": now - _LATE, **self._here})).one()
            answered = self._clock.now()
            quotas = await connection.execute(_QUOTAS, {"now": now})
            rows = await connection.execute(
                _ROWS,
                {
                    "since": now - _WINDOW,
                    "until": now + _WINDOW,
                    "statuses": [status.value for status in ReminderStatus],
                },
            )
            hold = None
            if one.held_until is not None:
                hold = Hold(
                    until=one.held_until,
                    reason=records.reason(one.held_because) or StatusReason.MISCONFIGURED,
                    sender=one.held_sender,
                )
            return LedgerState(
                overdue=one.overdue,
                in_doubt=one.in_doubt,
                stranded=one.stranded,
                hold=hold,
                quotas={
                    row.quota: Quota(used=row.used, limit=row.quota_limit, resets_at=row.resets_at)
                    for row in quotas
                },
                clock_skew=_skew(one.database_now, now, answered),
                rows={ReminderStatus(row.status): row.rows for row in rows},
            )


def _skew(database: datetime, asked: datetime, answered: datetime) -> timedelta:
    """How far PostgreSQL's clock is ahead of ours; zero as far as the answer's way explains it."""
    if database < asked:
        return database - asked
    return max(database - answered, timedelta())
