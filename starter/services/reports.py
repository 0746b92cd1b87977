"""What every entrance asks about sessions besides the sessions themselves."""

from __future__ import annotations

from uuid import UUID

from reminders.domain.model import EnrollmentStatus
from starter.assembly import Parts


async def enrolled(parts: Parts, session_id: UUID) -> int:
    """How many are enrolled in a session: whom a change of it concerns.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    found = await parts.browser.enrolled(session_id)
    return sum(n for status, n in found.items() if status is not EnrollmentStatus.CANCELLED)
