"""What a restore would do, said beforehand: it is done, looked at, and rolled back."""

from __future__ import annotations

from uuid import UUID

from reminders.db import plans
from reminders.db.notices import hush
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.db.platform import platform_of
from reminders.db.sessions import Catalogue

_PAGE = 1000
"""People of one transaction, which holds back whoever changes their reminders for a moment."""


async def foreseen(
    catalogue: Catalogue, planner: EnrollmentPlanner, session_id: UUID
) -> list[PlannedEnrollment]:
    """What would become of a session's enrollments if its cancel was taken back; nothing is written.

    Raises:
        SessionNotFoundError: If there is no such session.
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    await catalogue.session(session_id)
    found = list[PlannedEnrollment]()
    after: UUID | None = None
    while people := await catalogue.enrolled(session_id, after=after, limit=_PAGE):
        after = people[-1]
        async with planner.database.transaction() as connection:
            await platform_of(planner.database).restore(connection, session_id)
            await hush(connection, session_id, tell_nobody=False)
            session = await plans.session(connection, session_id)
            drafts = await planner.drafts(connection, session, people)
            await connection.rollback()
        found += [plans.written(session, draft) for draft in drafts]
    return found
