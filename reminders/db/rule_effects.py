"""Whom a change of a rule concerns: sessions to replan, and enrollments for the diff.

A diff over a hundred thousand enrollments takes seconds because it looks at few of them: those of
one session whose reminder is in the very same state have the same fate, so PostgreSQL counts them
and one stands for all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reminders.db import mapping
from reminders.db.engine import Database
from reminders.db.sql import CALLED_OFF, NEWEST, covers, in_effect, looked_up, typed
from reminders.domain.model import Reminder
from reminders.domain.ports import Clock
from reminders.domain.rules import Alike

MOST_SESSIONS = 5_000
"""Sessions that lie ahead and are looked at, the nearest first."""
MOST_GROUPS = 20_000
"""Groups of enrollments that are judged; in one session there are seldom more than three."""

# Sessions that lie ahead, in which a rule counts: the one named, or all without one of their own.
_AHEAD = """
    SELECT s.id, min(s.start_time) AS start_time FROM sessions s
     WHERE s.status = 'scheduled' AND s.start_time > :now
       AND CASE WHEN CAST(:session_id AS uuid) IS NULL THEN NOT EXISTS (
                SELECT FROM reminder_configurations own
                 WHERE own.session_id = s.id AND own.reminder_type = :reminder_type)
           ELSE s.id = :session_id END
       AND EXISTS (SELECT FROM enrollments e WHERE e.session_id = s.id AND e.status <> 'cancelled')
     GROUP BY s.id ORDER BY 2, 1 LIMIT :most_sessions
"""
_SESSIONS = typed(_AHEAD)

_ALIKE = typed(f"""
WITH ahead AS MATERIALIZED ({_AHEAD}),
newest AS MATERIALIZED ({NEWEST}),
called_off AS MATERIALIZED ({CALLED_OFF})
SELECT s.id AS session_id, s.start_time, count(DISTINCT e.user_id) AS people, min(e.user_id::text)::uuid AS user_id,
       o.user_id IS NOT NULL AS is_called_off, x.user_id IS NOT NULL AS is_stopped
  FROM ahead s
  JOIN enrollments e ON e.session_id = s.id AND e.status = 'confirmed'
  LEFT JOIN newest n ON n.session_id = e.session_id AND n.user_id = e.user_id
                    AND n.reminder_type = :reminder_type
  LEFT JOIN called_off o ON o.session_id = e.session_id AND o.user_id = e.user_id
  LEFT JOIN LATERAL (
       SELECT p.user_id FROM {looked_up("reminder_preferences", "user_id = e.user_id")} p
        WHERE {covers("p", "session_id", "e.session_id")}
          AND {covers("p", "reminder_type", ":reminder_type")} AND {in_effect("p")}
        LIMIT 1) x ON true
 GROUP BY s.id, s.start_time, n.email_status, n.status_reason, n.due_at, n.starts_at,
          n.requested_at, is_called_off, is_stopped
 ORDER BY s.start_time, s.id LIMIT :groups
""")  # noqa: S608 - composed of constants

_RECORDED = typed("""
SELECT r.* FROM unnest(:sessions, :users) AS one (session_id, user_id)
  JOIN session_reminder_emails r ON r.session_id = one.session_id AND r.user_id = one.user_id
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Concerned:
    """Enrollments that a change concerns, in groups that are alike."""

    groups: Sequence[Alike]
    is_complete: bool
    """False when there are more than are looked at."""


@dataclass(frozen=True, slots=True)
class RuleEffects:
    """Reads whom a change concerns."""

    database: Database
    clock: Clock
    """Decides which sessions lie ahead."""

    async def sessions(self, reminder_type: str, session_id: UUID | None) -> Sequence[UUID]:
        """Sessions whose enrollments a change concerns, the nearest first.

        Args:
            reminder_type: Of the rule.
            session_id: The only session it is about; absent means all without one of their own.

        Returns:
            Up to `MOST_SESSIONS`; the sweep looks at all of them.
        """
        found = await self.database.tuples(
            _SESSIONS,
            {
                "now": self.clock.now(),
                "session_id": session_id,
                "reminder_type": reminder_type,
                "most_sessions": MOST_SESSIONS,
            },
        )
        return tuple(row.id for row in found)

    async def enrollments(
        self, reminder_type: str, session_id: UUID | None, *, now: datetime
    ) -> Concerned:
        """Confirmed enrollments that a change would concern, the nearest session first."""
        about = {"now": now, "session_id": session_id, "reminder_type": reminder_type}
        async with self.database.autocommit() as connection:
            ahead = await connection.execute(
                _SESSIONS, {**about, "most_sessions": MOST_SESSIONS + 1}
            )
            is_complete = len(ahead.all()) <= MOST_SESSIONS
            found = await connection.execute(
                _ALIKE, {**about, "most_sessions": MOST_SESSIONS, "groups": MOST_GROUPS + 1}
            )
            rows = found.all()
            is_complete &= len(rows) <= MOST_GROUPS
            rows = rows[:MOST_GROUPS]
            standing = await connection.execute(
                _RECORDED,
                {
                    "sessions": [row.session_id for row in rows],
                    "users": [row.user_id for row in rows],
                },
            )
            recorded: dict[tuple[UUID, UUID], list[Reminder]] = defaultdict(list)
            for row in standing.mappings():
                recorded[row["session_id"], row["user_id"]].append(mapping.reminder(row))
        return Concerned(
            groups=tuple(
                Alike(
                    session_id=row.session_id,
                    starts_at=row.start_time,
                    people=row.people,
                    user_id=row.user_id,
                    recorded=tuple(recorded[row.session_id, row.user_id]),
                    is_stopped=row.is_stopped,
                )
                for row in rows
            ),
            is_complete=is_complete,
        )
