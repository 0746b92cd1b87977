"""Enrollments with failed reminders that could still be sent, a page at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import DateTime, Uuid, bindparam, select, text, tuple_

from reminders.db import records
from reminders.db.engine import Database
from reminders.db.tables import ReminderRow
from reminders.domain.model import Reminder
from reminders.domain.ports import Clock, Enrollment

_FIRST = UUID(int=0)

_FAILED = text("""
SELECT DISTINCT r.session_id, r.user_id
  FROM session_reminder_emails r
  JOIN sessions s ON s.id = r.session_id AND s.status = 'scheduled' AND s.start_time > :now
 WHERE r.email_status = 'failed'
   AND (CAST(:session_id AS uuid) IS NULL OR r.session_id = :session_id)
   AND (r.session_id, r.user_id) > (:after_session, :after_user)
   AND NOT EXISTS (
       SELECT FROM session_reminder_emails n
        WHERE n.session_id = r.session_id AND n.user_id = r.user_id
          AND n.reminder_type = r.reminder_type AND n.generation > r.generation)
 ORDER BY r.session_id, r.user_id LIMIT :limit
""").bindparams(
    bindparam("now", type_=DateTime(timezone=True)),
    *(bindparam(name, type_=Uuid()) for name in ("session_id", "after_session", "after_user")),
)


class FailedEnrollments:
    """What a redrive looks at."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Read this database.

        Args:
            database: Migrated.
            clock: Decides which sessions have begun.
        """
        self._database = database
        self._clock = clock

    async def page(
        self, session_id: UUID | None, *, after: Enrollment | None, limit: int
    ) -> Mapping[Enrollment, Sequence[Reminder]]:
        """Enrollments with a failed reminder whose session takes place and has not begun.

        Args:
            session_id: Only of this session.
            after: Continue behind this one.
            limit: At most this many.

        Returns:
            All ledger rows of each, by ascending session and user.
        """
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                _FAILED,
                {
                    "now": self._clock.now(),
                    "session_id": session_id,
                    "after_session": after.session_id if after else _FIRST,
                    "after_user": after.user_id if after else _FIRST,
                    "limit": limit,
                },
            )
            enrollments = [Enrollment(row.session_id, row.user_id) for row in found]
            rows = await connection.execute(
                select(ReminderRow.__table__).where(
                    tuple_(ReminderRow.session_id, ReminderRow.user_id).in_(
                        [(e.session_id, e.user_id) for e in enrollments]
                    )
                )
            )
            recorded: dict[Enrollment, list[Reminder]] = defaultdict(list)
            for row in rows.mappings():
                reminder = records.reminder(row)
                recorded[Enrollment(reminder.session_id, reminder.user_id)].append(reminder)
        return {enrollment: recorded[enrollment] for enrollment in enrollments}
