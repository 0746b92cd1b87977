"""Who is enrolled in sessions that lie ahead: the soonest session first, whoever else waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reminders.db.engine import Database
from reminders.db.sql import AFTER_START, looked_up, typed
from reminders.domain.ports import Enrollment

_ENROLLED = looked_up("enrollments", "session_id = s.id AND status = 'confirmed'")
_SESSIONS = """
SELECT id, min(start_time) AS start_time FROM sessions
 WHERE status = 'scheduled' AND start_time > :now
   AND (CAST(:session_id AS uuid) IS NULL OR id = :session_id)
 GROUP BY id
"""
_PAGE = typed(f"""
SELECT DISTINCT s.start_time, e.session_id, e.user_id
  FROM ({_SESSIONS}) s CROSS JOIN {_ENROLLED} e
 WHERE s.start_time >= {AFTER_START}
   AND (s.start_time, e.session_id, e.user_id) > ({AFTER_START}, :after_session, :after_user)
 ORDER BY s.start_time, e.session_id, e.user_id LIMIT :limit
""")  # noqa: S608 - composed of constants
_COUNT = typed(f"""
SELECT count(*) FROM ({_SESSIONS}) s CROSS JOIN {_ENROLLED} e
""")  # noqa: S608 - composed of constants

_NOBODY = Enrollment(UUID(int=0), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Ahead:
    """Confirmed enrollments in sessions that lie ahead."""

    database: Database

    async def page(
        self, *, now: datetime, session_id: UUID | None, after: Enrollment | None, limit: int
    ) -> Sequence[Enrollment]:
        """Some of them, by the start of their session.

        Args:
            now: The instant to judge by.
            session_id: Only this session's.
            after: Continue behind this one.
            limit: At most this many.
        """
        last = after or _NOBODY
        asked = {
            "now": now,
            "session_id": session_id,
            "after_session": last.session_id,
            "after_user": last.user_id,
            "limit": limit,
        }
        return [Enrollment(*key) for _, *key in await self.database.tuples(_PAGE, asked)]

    async def count(self, *, now: datetime, session_id: UUID | None) -> int:
        """How many there are."""
        count: int = await self.database.scalar(_COUNT, {"now": now, "session_id": session_id})
        return count
