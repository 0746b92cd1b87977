"""Who would be told of a change, counted; and sessions of whose state nobody is to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import Database
from reminders.db.sql import CALLED_OFF, NEWEST, counting_session, counts_for, stopping, typed
from reminders.domain.model import Notice
from reminders.domain.ports import Clock

# As `reminders.domain.notices.announced` has it, of a change that is yet to be made.
_EXPECTED = typed(f"""
WITH ahead AS MATERIALIZED (
    SELECT id FROM sessions
     WHERE id = :session_id AND status = 'scheduled' AND start_time > :now),
newest AS MATERIALIZED ({NEWEST}),
called_off AS MATERIALIZED ({CALLED_OFF}),
known AS (SELECT DISTINCT session_id, user_id FROM newest),
confirmed AS (
    SELECT k.session_id, k.user_id, c.reminder_type
      FROM known k
      JOIN enrollments e ON e.session_id = k.session_id AND e.user_id = k.user_id
                        AND e.status = 'confirmed'
      JOIN reminder_configurations c ON c.reminder_type IN ('cancelled', 'moved')
                                    AND c.is_enabled AND {counts_for("c", "k.session_id")}
     WHERE NOT EXISTS (SELECT FROM called_off o WHERE o.user_id = k.user_id))
SELECT w.reminder_type, count(DISTINCT w.user_id) AS people FROM confirmed w
 WHERE NOT EXISTS (SELECT FROM {stopping("w")})
 GROUP BY w.reminder_type
""")  # noqa: S608 - composed of constants

_AS_IT_IS = """
ON CONFLICT (session_id) DO UPDATE
   SET start_time = excluded.start_time, status = excluded.status, changed_at = now()
"""
_HUSH = typed(f"""
INSERT INTO quiet_sessions (session_id, start_time, status)
SELECT s.id, s.start_time, s.status FROM {counting_session(":session_id")} s {_AS_IT_IS}
""")  # noqa: S608 - composed of constants
_HUSH_WHAT_IS_SO = typed(f"""
INSERT INTO quiet_sessions (session_id, start_time, status)
SELECT s.id, s.start_time, s.status
  FROM (SELECT DISTINCT h.id FROM sessions h
         WHERE h.start_time > clock_timestamp() AND CASE
               WHEN CAST(:session_id AS uuid) IS NULL THEN NOT EXISTS (
                    SELECT FROM reminder_configurations own
                     WHERE own.session_id = h.id AND own.reminder_type = :reminder_type)
               ELSE h.id = :session_id END) ahead
 CROSS JOIN {counting_session("ahead.id")} s
 WHERE s.start_time > clock_timestamp()
   AND (s.status = 'cancelled') = (:reminder_type = 'cancelled') {_AS_IT_IS}
""")  # noqa: S608 - composed of constants
_SPEAK = typed("DELETE FROM quiet_sessions WHERE session_id = :session_id")


async def hush(connection: AsyncConnection, session_id: UUID, *, tell_nobody: bool) -> None:
    """Note whether anybody is to be told how a session is now; in the transaction that makes it so."""
    await connection.execute(_HUSH if tell_nobody else _SPEAK, {"session_id": session_id})


async def hush_what_is_so(
    connection: AsyncConnection, notice: Notice, session_id: UUID | None
) -> None:
    """Let nobody be told of how sessions are by now, when a notice is switched on.

    Args:
        connection: In the transaction that switches it on.
        notice: That a session is cancelled, or has moved.
        session_id: Of the session that the rule is for; absent means all without one of their own.
    """
    named = {"session_id": session_id, "reminder_type": notice}
    await connection.execute(_HUSH_WHAT_IS_SO, named)


@dataclass(frozen=True, slots=True)
class NoticeQueries:
    """Counts who would be told."""

    database: Database
    clock: Clock
    """Decides whether a session has begun."""

    async def expected(self, session_id: UUID) -> Mapping[Notice, int]:
        """How many people would be told if the session was cancelled now, or moved.

        Nobody, of one that is cancelled or has begun, and while the notice's rule is off.
        """
        asked = {"session_id": session_id, "now": self.clock.now()}
        found = await self.database.tuples(_EXPECTED, asked)
        people = {row.reminder_type: row.people for row in found}
        return {kind: people.get(kind, 0) for kind in (Notice.CANCELLED, Notice.MOVED)}
