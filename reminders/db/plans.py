"""One enrollment's plan in the ledger: locked, read and written, in the caller's transaction.

All planning of one enrollment is serialised by an advisory lock, and every plan takes its version
inside that lock: of two plans the one with the higher version saw the newer state. Where we own the
session's row it is share-locked, so that an enrollment and a move of it cannot miss each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import records
from reminders.db.tables import EnrollmentRow, ReminderRow, SessionRow, plan_versions
from reminders.errors import SessionNotFoundError
from reminders.keys import session_reminder_workflow_id
from reminders.lead_in import COUNTED, lead_in
from reminders.model import EnrollmentStatus, Reminder, ReminderStatus, Session, StatusReason
from reminders.plan import Revision

_SERIALISE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")

_ENROLLED = text("""
SELECT count(*) FROM (
    SELECT FROM enrollments WHERE session_id = :session_id AND status = 'confirmed' LIMIT :limit
) AS enrolled
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedEnrollment:
    """An enrollment's plan as it now stands in the ledger."""

    session: Session
    user_id: UUID
    reminders: tuple[Reminder, ...]
    """The newest generation of each type, earliest due first."""
    version: int
    is_first: bool
    """Whether the ledger had nothing of this enrollment before."""
    is_changed: bool
    """Whether this call changed the ledger."""
    cancelled: int = 0
    """Reminders that this call called off."""
    written: int = 0
    """Reminders that this call added, moved or closed."""
    called_off: StatusReason | None = None
    """Why nothing of it is wanted any more; absent while somebody is to be reminded."""
    lead_in: timedelta | None = None
    """How long before a due instant its workflow wakes."""

    @property
    def has_pending(self) -> bool:
        """Whether a workflow has something left to do."""
        return any(r.status.is_pending for r in self.reminders)


async def serialise(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> None:
    """Let nobody else plan this enrollment until the transaction ends."""
    await connection.execute(_SERIALISE, {"key": session_reminder_workflow_id(session_id, user_id)})


async def session(connection: AsyncConnection, session_id: UUID, *, lock: bool) -> Session:
    """The session as it is now.

    Args:
        connection: Of the transaction.
        session_id: Which.
        lock: Whether nobody may change it until the transaction ends.

    Raises:
        SessionNotFoundError: If there is no such session.
    """
    query = select(SessionRow.__table__).where(SessionRow.id == session_id)
    if lock:
        query = query.with_for_update(read=True)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise SessionNotFoundError
    return records.session(row)


async def write(
    connection: AsyncConnection,
    session: Session,
    user_id: UUID,
    revision: Revision,
    *,
    first: bool = False,
    called_off: StatusReason | None = None,
) -> PlannedEnrollment:
    """Write a revision, under the next version.

    Args:
        connection: Of the transaction.
        session: Whose plan it is.
        user_id: Whose plan it is.
        revision: What is added and changed.
        first: Whether the ledger had nothing of this enrollment before.
        called_off: Why nothing of it is wanted any more.
    """
    workflow_id = session_reminder_workflow_id(session.id, user_id)
    if revision.added:
        await connection.execute(
            insert(ReminderRow), [_values(r, workflow_id) for r in revision.added]
        )
    for changed in revision.changed:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id == changed.id)
            .values(
                due_at=changed.due_at,
                starts_at=changed.starts_at,
                email_status=changed.status,
                status_reason=changed.reason,
                requested_at=changed.requested_at,
                updated_at=func.now(),
            )
        )
    version = await connection.scalar(select(plan_versions.next_value()))
    return PlannedEnrollment(
        session=session,
        user_id=user_id,
        reminders=revision.reminders,
        version=version or 0,
        is_first=first,
        is_changed=not revision.is_empty,
        cancelled=sum(r.status is ReminderStatus.CANCELLED for r in revision.changed),
        written=len(revision.added) + len(revision.changed),
        called_off=called_off,
    )


async def with_lead_in(
    connection: AsyncConnection, planned: PlannedEnrollment, *, is_newest: bool
) -> PlannedEnrollment:
    """The plan with the time by which its workflow wakes early.

    Args:
        connection: Of the transaction.
        planned: Written.
        is_newest: Whether the person enrolled in this very transaction.
    """
    if not planned.has_pending:
        return planned
    enrolled = await connection.scalar(
        _ENROLLED, {"session_id": planned.session.id, "limit": COUNTED}
    )
    early = lead_in(enrolled or 0, planned.user_id, is_newest=is_newest)
    return replace(planned, lead_in=early)


async def recorded(
    connection: AsyncConnection, session_id: UUID, user_id: UUID
) -> tuple[Reminder, ...]:
    """The enrollment's ledger rows, locked in the order in which deliveries lock them too."""
    found = await connection.execute(
        select(ReminderRow.__table__)
        .where(ReminderRow.session_id == session_id, ReminderRow.user_id == user_id)
        .order_by(ReminderRow.id)
        .with_for_update()
    )
    return tuple(records.reminder(row) for row in found.mappings())


async def enrollment_status(
    connection: AsyncConnection, session_id: UUID, user_id: UUID
) -> EnrollmentStatus | None:
    """Whether the person takes part; `None` if the platform knows nothing of it."""
    status = await connection.scalar(
        select(EnrollmentRow.status).where(
            EnrollmentRow.session_id == session_id, EnrollmentRow.user_id == user_id
        )
    )
    return EnrollmentStatus(status) if status else None


def _values(reminder: Reminder, workflow_id: str) -> dict[str, Any]:
    return {
        "id": reminder.id,
        "session_id": reminder.session_id,
        "user_id": reminder.user_id,
        "reminder_type": reminder.reminder_type,
        "generation": reminder.generation,
        "due_at": reminder.due_at,
        "starts_at": reminder.starts_at,
        "email_status": reminder.status,
        "status_reason": reminder.reason,
        "requested_at": reminder.requested_at,
        "workflow_id": workflow_id,
    }
