"""Reminders as the ledger has them: a page of them, one enrollment's story, counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from reminders import cursors
from reminders.db import mapping
from reminders.db.engine import Database
from reminders.db.sql import among, overdue, typed
from reminders.db.tables import EnrollmentRow, ReminderRow
from reminders.domain.model import (
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    StatusReason,
)
from reminders.domain.notices import told_start
from reminders.domain.ports import Enrollment


def newest_of(*columns: Any) -> Select[Any]:  # noqa: ANN401 - whatever `select` takes
    """These columns of the newest generation of every reminder."""
    return (
        select(*columns)
        .ext(distinct_on(ReminderRow.user_id, ReminderRow.reminder_type))
        .order_by(ReminderRow.user_id, ReminderRow.reminder_type, ReminderRow.generation.desc())
    )


async def rows_of(
    database: Database, enrollments: Collection[Enrollment]
) -> Mapping[Enrollment, Sequence[Reminder]]:
    """All rows of some enrollments, all generations; those without any are left out."""
    keys = [(e.session_id, e.user_id) for e in enrollments]
    found = await database.rows(
        select(ReminderRow.__table__).where(
            tuple_(ReminderRow.session_id, ReminderRow.user_id).in_(keys)
        )
    )
    rows: dict[Enrollment, list[Reminder]] = defaultdict(list)
    for row in found:
        reminder = mapping.reminder(row)
        rows[Enrollment(reminder.session_id, reminder.user_id)].append(reminder)
    return rows


_OVERDUE = typed(
    f"SELECT count(*) FROM session_reminder_emails r WHERE {overdue('r', ':until')}"  # noqa: S608 - composed of constants
)


@dataclass(frozen=True, slots=True)
class ReminderPage:
    """Some reminders, and where the next ones begin."""

    reminders: Sequence[Reminder]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ReminderQueries:
    """The ledger, read only."""

    database: Database

    async def list(
        self,
        *,
        session_id: UUID | None = None,
        user_id: UUID | None = None,
        email_status: ReminderStatus | None = None,
        status_reason: StatusReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        newest: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> ReminderPage:
        """A page of reminders, by ascending due instant.

        Args:
            session_id: Only of this session.
            user_id: Only this person's.
            email_status: Only in this status.
            status_reason: Only with this reason.
            since: Due then or later.
            until: Due before then.
            newest: By descending due instant instead.
            cursor: Where the page before ended; of the same order.
            limit: At most this many.

        Raises:
            InvalidInputError: If the cursor is none of ours.
        """
        wanted = {"session_id": session_id, "user_id": user_id}
        rows = among(ReminderRow, wanted)
        order = rows.c.due_at, rows.c.id
        query = select(rows).order_by(*(column.desc() if newest else column for column in order))
        how = {rows.c.email_status: email_status, rows.c.status_reason: status_reason}
        for column, value in how.items():
            query = query if value is None else query.where(column == value)
        query = query if since is None else query.where(rows.c.due_at >= since)
        query = query if until is None else query.where(rows.c.due_at < until)
        if cursor is not None:
            after = tuple(cursors.decode(cursor, cursors.instant, UUID))
            place = tuple_(*order)
            query = query.where(place < after if newest else place > after)
        found = await self.database.rows(query.limit(limit + 1))
        reminders = tuple(mapping.reminder(row) for row in found)
        return ReminderPage(*cursors.page(reminders, limit, lambda last: (last.due_at, last.id)))

    async def of_enrollment(self, session_id: UUID, user_id: UUID) -> tuple[Reminder, ...]:
        """Every reminder of one enrollment, all generations, by ascending due instant."""
        found = await self.database.rows(
            select(ReminderRow.__table__)
            .where(ReminderRow.session_id == session_id, ReminderRow.user_id == user_id)
            .order_by(ReminderRow.due_at, ReminderRow.generation)
        )
        return tuple(mapping.reminder(row) for row in found)

    async def tally(
        self, session_id: UUID, user_id: UUID | None = None
    ) -> dict[ReminderStatus, int]:
        """What a cancel would meet: reminders by status, the newest generation of each.

        Args:
            session_id: Of the session.
            user_id: Only this person's; absent means everybody who is still enrolled.

        Returns:
            Statuses without reminders are left out.
        """
        newest = newest_of(ReminderRow.email_status).where(ReminderRow.session_id == session_id)
        if user_id is not None:
            newest = newest.where(ReminderRow.user_id == user_id)
        else:
            newest = newest.join(
                EnrollmentRow,
                (EnrollmentRow.session_id == ReminderRow.session_id)
                & (EnrollmentRow.user_id == ReminderRow.user_id),
            ).where(EnrollmentRow.status != EnrollmentStatus.CANCELLED)
        status = newest.subquery().c.email_status
        found = await self.database.tuples(select(status, func.count()).group_by(status))
        return {ReminderStatus(name): count for name, count in found}

    async def told_start(self, session_id: UUID, user_id: UUID) -> datetime | None:
        """The start that the last e-mail to a person about a session told; `None` if none was sent."""
        rows = await self.of_enrollment(session_id, user_id)
        sent = {row.sent_at: row for row in rows if row.sent_at}
        return told_start(sent[max(sent)]) if sent else None

    async def overdue(self, *, before: datetime) -> int:
        """How many reminders still wait although they were due before this instant."""
        count: int = await self.database.scalar(_OVERDUE, {"until": before})
        return count
