"""Reads of the ledger for people: lists, one enrollment's story, what is overdue."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from reminders.db import records
from reminders.db.engine import Database
from reminders.db.tables import EnrollmentRow, ProviderPaceRow, ReminderRow
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import EnrollmentStatus, Reminder, ReminderStatus, StatusReason
from reminders.domain.ports import Hold


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderPage:
    """Some reminders, and where the next ones begin."""

    reminders: tuple[Reminder, ...]
    next_cursor: str | None


class ReminderQueries:
    """The ledger, read only."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def list(
        self,
        *,
        session_id: UUID | None = None,
        user_id: UUID | None = None,
        status: ReminderStatus | None = None,
        reason: StatusReason | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> ReminderPage:
        """A page of reminders, by ascending due instant.

        Raises:
            InvalidInputError: If the cursor is none of ours.
        """
        query = select(ReminderRow.__table__).order_by(ReminderRow.due_at, ReminderRow.id)
        if session_id is not None:
            query = query.where(ReminderRow.session_id == session_id)
        if user_id is not None:
            query = query.where(ReminderRow.user_id == user_id)
        if status is not None:
            query = query.where(ReminderRow.email_status == status)
        if reason is not None:
            query = query.where(ReminderRow.status_reason == reason)
        if cursor is not None:
            query = query.where(tuple_(ReminderRow.due_at, ReminderRow.id) > _decode(cursor))
        async with self._database.autocommit() as connection:
            found = await connection.execute(query.limit(limit + 1))
            reminders = [records.reminder(row) for row in found.mappings()]
        more = len(reminders) > limit
        page = tuple(reminders[:limit])
        return ReminderPage(reminders=page, next_cursor=_encode(page[-1]) if more else None)

    async def of_enrollment(self, session_id: UUID, user_id: UUID) -> tuple[Reminder, ...]:
        """Every reminder of one enrollment, all generations, by ascending due instant."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                select(ReminderRow.__table__)
                .where(ReminderRow.session_id == session_id, ReminderRow.user_id == user_id)
                .order_by(ReminderRow.due_at, ReminderRow.generation)
            )
            return tuple(records.reminder(row) for row in found.mappings())

    async def tally(
        self, session_id: UUID, user_id: UUID | None = None
    ) -> dict[ReminderStatus, int]:
        """What a cancel would meet: reminders by status, the newest generation of each.

        Args:
            session_id: Whose.
            user_id: Only this person's; absent means everybody who is still enrolled.

        Returns:
            Statuses without reminders are left out.
        """
        newest = (
            select(ReminderRow.email_status)
            .ext(distinct_on(ReminderRow.user_id, ReminderRow.reminder_type))
            .where(ReminderRow.session_id == session_id)
            .order_by(ReminderRow.user_id, ReminderRow.reminder_type, ReminderRow.generation.desc())
        )
        if user_id is not None:
            newest = newest.where(ReminderRow.user_id == user_id)
        else:
            newest = newest.join(
                EnrollmentRow,
                (EnrollmentRow.session_id == ReminderRow.session_id)
                & (EnrollmentRow.user_id == ReminderRow.user_id),
            ).where(EnrollmentRow.status != EnrollmentStatus.CANCELLED)
        status = newest.subquery().c.email_status
        async with self._database.autocommit() as connection:
            found = await connection.execute(select(status, func.count()).group_by(status))
            return {ReminderStatus(name): count for name, count in found}

    async def hold(self) -> Hold | None:
        """Why workers send nothing at present; `None` when nothing holds them back."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                select(
                    ProviderPaceRow.held_until,
                    ProviderPaceRow.held_because,
                    ProviderPaceRow.held_sender,
                ).where(ProviderPaceRow.held_until > func.clock_timestamp())
            )
            row = found.one_or_none()
        if row is None or row.held_until is None:
            return None
        return Hold(
            until=row.held_until,
            reason=records.reason(row.held_because) or StatusReason.MISCONFIGURED,
            sender=row.held_sender,
        )

    async def overdue(self, *, before: datetime) -> int:
        """How many reminders still wait although they were due before this instant."""
        async with self._database.autocommit() as connection:
            count = await connection.scalar(
                select(func.count())
                .select_from(ReminderRow)
                .where(ReminderRow.email_status == "scheduled", ReminderRow.due_at < before)
            )
        return count or 0


def _encode(last: Reminder) -> str:
    return base64.urlsafe_b64encode(f"{last.due_at.isoformat()} {last.id}".encode()).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        due_at, _, reminder_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return datetime.fromisoformat(due_at).astimezone(UTC), UUID(reminder_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        msg = "this is no cursor that was given out; leave it out to start from the beginning"
        raise InvalidInputError(msg, field="cursor") from error
