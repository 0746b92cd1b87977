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
from reminders.db.sql import looked_up, typed

logger = logging.getLogger(__name__)

_FEW = 3
"""So many may go at once, however few there are, as long as others are there."""
_DOUBTED_FOR = timedelta(seconds=10)
"""A sweep asks for each enrollment, and the answer is the same."""
_BELIEVED_FOR = timedelta(milliseconds=500)
"""Shorter, for the next may be the first of many."""

_IS_COMPLETE = typed("""
SELECT EXISTS (SELECT FROM sessions WHERE id = :session_id)
   AND EXISTS (SELECT FROM users WHERE id = :user_id)
   AND EXISTS (SELECT FROM enrollments WHERE session_id = :session_id AND user_id = :user_id)
""")
# By session and by person: a session that is deleted with its ten thousand people is one session. Of
# a session some are looked for: whoever goes through a platform's whole relation may take long.
_MISSING = typed(f"""
WITH waiting AS MATERIALIZED (
    SELECT session_id, user_id FROM session_reminder_emails
     WHERE email_status = 'scheduled' LIMIT 20000),
s AS MATERIALIZED (
    SELECT session_id AS id, (array_agg(DISTINCT user_id))[1:5] AS users FROM waiting GROUP BY 1),
u AS MATERIALIZED (SELECT DISTINCT user_id AS id FROM waiting LIMIT 1000),
there AS MATERIALIZED (
    SELECT s.* FROM s WHERE EXISTS (SELECT FROM {looked_up("sessions", "id = s.id")} h)),
found AS (
    SELECT 'sessions' AS relation, (SELECT count(*) FROM s) AS awaited,
           (SELECT count(*) FROM s) - (SELECT count(*) FROM there) AS missing
    UNION ALL
    SELECT 'users', (SELECT count(*) FROM u),
           (SELECT count(*) FROM u
             WHERE NOT EXISTS (SELECT FROM {looked_up("users", "id = u.id")} h))
    UNION ALL
    SELECT 'enrollments', (SELECT count(*) FROM there),
           (SELECT count(*) FROM there t WHERE NOT EXISTS (
                SELECT FROM unnest(t.users) AS one (user_id)
                 CROSS JOIN {looked_up("enrollments", "session_id = t.id AND user_id = one.user_id")} h)))
SELECT relation, awaited, missing,
       missing = 0 OR CASE relation WHEN 'sessions' THEN EXISTS (SELECT FROM sessions)
                                    WHEN 'users' THEN EXISTS (SELECT FROM users)
                                    ELSE EXISTS (SELECT FROM enrollments) END AS shows_some
  FROM found
""")  # noqa: S608 - composed of constants


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
        kept = _BELIEVED_FOR if self._incredible is None else _DOUBTED_FOR
        if time.monotonic() - self._looked_at > kept.total_seconds():
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
