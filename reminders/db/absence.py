"""Whether what a platform does not show is gone, or only hidden from us.

A row that is not there calls its reminders off. But row-level security, a privilege, a half
restored table or a join that loses rows hide everybody at once, and calling everybody off cannot be
taken back. So absence en masse is not believed: nothing is called off for it, and `doctor` is red.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from uuid import UUID

from reminders.db.engine import Database
from reminders.db.sql import typed

logger = logging.getLogger(__name__)

_FEW = 3
"""So many may go at once, however few there are, as long as others are there."""
_BELIEVED_FOR = timedelta(seconds=10)
"""A sweep asks for each enrollment, and the answer is the same."""

_IS_COMPLETE = typed("""
SELECT EXISTS (SELECT FROM sessions WHERE id = :session_id)
   AND EXISTS (SELECT FROM users WHERE id = :user_id)
   AND EXISTS (SELECT FROM enrollments WHERE session_id = :session_id AND user_id = :user_id)
""")
# By session and by person: a session that is deleted with its ten thousand people is one session.
_MISSING = typed("""
WITH waiting AS MATERIALIZED (
    SELECT session_id, user_id FROM session_reminder_emails
     WHERE email_status = 'scheduled' LIMIT 20000),
s AS MATERIALIZED (SELECT DISTINCT session_id AS id FROM waiting),
u AS MATERIALIZED (SELECT DISTINCT user_id AS id FROM waiting LIMIT 5000),
there AS MATERIALIZED (SELECT id FROM s WHERE EXISTS (SELECT FROM sessions h WHERE h.id = s.id))
SELECT 'sessions' AS relation, (SELECT count(*) FROM s) AS awaited,
       (SELECT count(*) FROM s) - (SELECT count(*) FROM there) AS missing,
       EXISTS (SELECT FROM sessions) AS shows_some
UNION ALL
SELECT 'users', (SELECT count(*) FROM u),
       (SELECT count(*) FROM u WHERE NOT EXISTS (SELECT FROM users h WHERE h.id = u.id)),
       EXISTS (SELECT FROM users)
UNION ALL
SELECT 'enrollments', (SELECT count(*) FROM there),
       (SELECT count(*) FROM there
         WHERE NOT EXISTS (SELECT FROM enrollments h WHERE h.session_id = there.id)),
       EXISTS (SELECT FROM enrollments)
""")


class Absence:
    """Whether what is not visible of an existing platform is believed to be gone."""

    def __init__(self, database: Database) -> None:
        """Where the tables are ours, whatever is gone is gone."""
        self._database = database
        self._looked_at = float("-inf")
        self._incredible: str | None = None

    async def incredible(self) -> str | None:
        """What cannot be believed, in a sentence; `None` if whatever is missing is gone.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if self._database.host_schema is None:
            return None
        if time.monotonic() - self._looked_at > _BELIEVED_FOR.total_seconds():
            rows = await self._database.rows(_MISSING)
            self._incredible = next((words for row in rows if (words := _doubted(**row))), None)
            self._looked_at = time.monotonic()
            if self._incredible is not None:
                logger.error("%s", self._incredible)
        return self._incredible

    async def hides(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether something of an enrollment is not visible, and is not believed to be gone.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if self._database.host_schema is None:
            return False
        asked = {"session_id": session_id, "user_id": user_id}
        if await self._database.scalar(_IS_COMPLETE, asked):
            return False
        return await self.incredible() is not None


def _doubted(*, relation: str, awaited: int, missing: int, shows_some: bool) -> str | None:
    if missing == 0 or (shows_some and (missing <= _FEW or 2 * missing <= awaited)):
        return None
    what = {
        "sessions": f"{missing} of {awaited} sessions that people wait for",
        "users": f"{missing} of {awaited} people who wait for a reminder",
        "enrollments": f"the enrollments of {missing} of {awaited} sessions that people wait for",
    }[relation]
    return f"{what} are not visible: nothing is called off for it"
