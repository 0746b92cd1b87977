"""The ledger, sessions and people as they are looked up: lists, one enrollment's story."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from reminders.db import mapping
from reminders.db.engine import Database
from reminders.db.provider import hold
from reminders.db.sql import overdue, typed
from reminders.db.tables import EnrollmentRow, ReminderRow, SessionRow, UserRow
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import (
    Attendee,
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    SessionStatus,
    StatusReason,
)
from reminders.domain.ports import Hold

PAGE = 50
"""Rows of a page."""

FOUND_AT_ONCE = 20
"""People that a search shows; whoever is not among them is looked for more precisely."""


class Period(StrEnum):
    """Which sessions are listed."""

    UPCOMING = "upcoming"
    """Those that have not begun, the next one first."""
    PAST = "past"
    """Those that have, the last one first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionEntry:
    """A session in a list."""

    id: UUID
    title: str
    starts_at: datetime
    status: SessionStatus
    enrolled: int
    """People who take part, whether confirmed or not yet."""
    counts: Mapping[ReminderStatus, int]
    """Its reminders by status, all generations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RosterEntry:
    """A person enrolled in a session, and the newest of each of their reminders."""

    attendee: Attendee
    enrollment_status: EnrollmentStatus
    reminders: Mapping[str, Reminder]
    """By type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrolledSession:
    """A session that a person is, or was, enrolled in."""

    session_id: UUID
    title: str
    starts_at: datetime
    session_status: SessionStatus
    enrollment_status: EnrollmentStatus
    counts: Mapping[ReminderStatus, int]


@dataclass(frozen=True, slots=True)
class Browser:
    """Lists for people, read only."""

    database: Database

    async def sessions(
        self,
        now: datetime,
        *,
        period: Period = Period.UPCOMING,
        search: str = "",
        cursor: tuple[datetime, UUID] | None = None,
        limit: int = PAGE,
    ) -> tuple[SessionEntry, ...]:
        """A page of sessions.

        Args:
            now: Parts upcoming from past.
            period: Which.
            search: Part of a title, or a whole id, which is found in either period.
            cursor: Start and id of the last one of the page before.
            limit: At most this many.
        """
        query = select(SessionRow.__table__).limit(limit)
        order = tuple_(SessionRow.start_time, SessionRow.id)
        exact = _as_uuid(search)
        if exact is not None:
            query = query.where(SessionRow.id == exact)
        elif period is Period.UPCOMING:
            query = query.where(SessionRow.start_time > now)
            query = query.order_by(SessionRow.start_time, SessionRow.id)
            query = query if cursor is None else query.where(order > cursor)
        else:
            query = query.where(SessionRow.start_time <= now)
            query = query.order_by(SessionRow.start_time.desc(), SessionRow.id.desc())
            query = query if cursor is None else query.where(order < cursor)
        if exact is None and search:
            query = query.where(SessionRow.title.icontains(search, autoescape=True))
        sessions = [mapping.session(row) for row in await self.database.rows(query)]
        ids = [session.id for session in sessions]
        counts = await self._counts(ReminderRow.session_id.in_(ids))
        enrolled = dict(
            await self.database.tuples(
                select(EnrollmentRow.session_id, func.count())
                .where(
                    EnrollmentRow.session_id.in_(ids),
                    EnrollmentRow.status != EnrollmentStatus.CANCELLED,
                )
                .group_by(EnrollmentRow.session_id)
            )
        )
        return tuple(
            SessionEntry(
                id=session.id,
                title=session.title,
                starts_at=session.starts_at,
                status=session.status,
                enrolled=enrolled.get(session.id, 0),
                counts=counts.get(session.id, {}),
            )
            for session in sessions
        )

    async def by_type(self, session_id: UUID) -> dict[str, dict[ReminderStatus, int]]:
        """A session's reminders counted by type and status, the newest generation of each."""
        newest = (
            _newest(ReminderRow.reminder_type, ReminderRow.email_status)
            .where(ReminderRow.session_id == session_id)
            .subquery()
        )
        kind, status = newest.c.reminder_type, newest.c.email_status
        return _nested(
            await self.database.tuples(select(kind, status, func.count()).group_by(kind, status))
        )

    async def enrolled(self, session_id: UUID) -> dict[EnrollmentStatus, int]:
        """How many are enrolled in a session, by status."""
        found = await self.database.tuples(
            select(EnrollmentRow.status, func.count())
            .where(EnrollmentRow.session_id == session_id)
            .group_by(EnrollmentRow.status)
        )
        return {EnrollmentStatus(status): count for status, count in found}

    async def roster(
        self,
        session_id: UUID,
        *,
        status: ReminderStatus | None = None,
        search: str = "",
        after: UUID | None = None,
        limit: int = PAGE,
    ) -> tuple[RosterEntry, ...]:
        """Who is enrolled in a session, by address.

        Args:
            session_id: Of the session.
            status: Only people with a reminder in this status.
            search: Part of a name or an address, or a whole user id.
            after: The last person of the page before.
            limit: At most this many.
        """
        query = (
            select(UserRow.__table__, EnrollmentRow.status.label("enrollment_status"))
            .join(EnrollmentRow, EnrollmentRow.user_id == UserRow.id)
            .where(EnrollmentRow.session_id == session_id)
            .order_by(UserRow.email, UserRow.id)
            .limit(limit)
        )
        if status is not None:
            query = query.where(
                UserRow.id.in_(
                    select(ReminderRow.user_id).where(
                        ReminderRow.session_id == session_id, ReminderRow.email_status == status
                    )
                )
            )
        if search:
            query = _matching(query, search)
        if after is not None:
            last = select(UserRow.email).where(UserRow.id == after).scalar_subquery()
            query = query.where(tuple_(UserRow.email, UserRow.id) > tuple_(last, after))
        people = await self.database.rows(query)
        newest = _newest(ReminderRow.__table__).where(
            ReminderRow.session_id == session_id,
            ReminderRow.user_id.in_([row["id"] for row in people]),
        )
        reminders: dict[UUID, dict[str, Reminder]] = {}
        for row in await self.database.rows(newest):
            reminder = mapping.reminder(row)
            reminders.setdefault(reminder.user_id, {})[reminder.reminder_type] = reminder
        return tuple(
            RosterEntry(
                attendee=mapping.attendee(row),
                enrollment_status=EnrollmentStatus(row["enrollment_status"]),
                reminders=reminders.get(row["id"], {}),
            )
            for row in people
        )

    async def people(self, search: str, *, limit: int = FOUND_AT_ONCE) -> tuple[Attendee, ...]:
        """People by part of a name or an address, or by id; by address.

        Args:
            search: Not empty.
            limit: At most this many.
        """
        query = select(UserRow.__table__).order_by(UserRow.email, UserRow.id).limit(limit)
        found = await self.database.rows(_matching(query, search))
        return tuple(mapping.attendee(row) for row in found)

    async def enrollments(self, user_id: UUID, *, limit: int = 200) -> tuple[EnrolledSession, ...]:
        """What a person is or was enrolled in, the latest session first."""
        rows = await self.database.rows(
            select(SessionRow.__table__, EnrollmentRow.status.label("enrollment_status"))
            .join(EnrollmentRow, EnrollmentRow.session_id == SessionRow.id)
            .where(EnrollmentRow.user_id == user_id)
            .order_by(SessionRow.start_time.desc(), SessionRow.id)
            .limit(limit)
        )
        counts = await self._counts(ReminderRow.user_id == user_id)
        return tuple(
            EnrolledSession(
                session_id=row["id"],
                title=row["title"],
                starts_at=row["start_time"],
                session_status=SessionStatus(row["status"]),
                enrollment_status=EnrollmentStatus(row["enrollment_status"]),
                counts=counts.get(row["id"], {}),
            )
            for row in rows
        )

    async def reminder(self, reminder_id: UUID) -> Reminder | None:
        """One row of the ledger; `None` if there is none."""
        return await self._reminder(ReminderRow.id == reminder_id)

    async def by_provider_id(self, email_id: str) -> Reminder | None:
        """The row whose e-mail has this id at the provider; `None` if there is none."""
        return await self._reminder(ReminderRow.resend_email_id == email_id)

    async def _reminder(self, condition: ColumnElement[bool]) -> Reminder | None:
        row = await self.database.row(select(ReminderRow.__table__).where(condition))
        return mapping.reminder(row) if row else None

    async def _counts(
        self, condition: ColumnElement[bool]
    ) -> dict[UUID, dict[ReminderStatus, int]]:
        """Reminders by session and status, all generations."""
        session_id, status = ReminderRow.session_id, ReminderRow.email_status
        return _nested(
            await self.database.tuples(
                select(session_id, status, func.count())
                .where(condition)
                .group_by(session_id, status)
            )
        )


def _newest(*columns: Any) -> Select[Any]:  # noqa: ANN401 - whatever `select` takes
    """The newest generation of every reminder."""
    return (
        select(*columns)
        .ext(distinct_on(ReminderRow.user_id, ReminderRow.reminder_type))
        .order_by(ReminderRow.user_id, ReminderRow.reminder_type, ReminderRow.generation.desc())
    )


def _matching(query: Select[Any], search: str) -> Select[Any]:
    exact = _as_uuid(search)
    if exact is not None:
        return query.where(UserRow.id == exact)
    return query.where(
        UserRow.email.icontains(search, autoescape=True)
        | UserRow.full_name.icontains(search, autoescape=True)
    )


def _as_uuid(search: str) -> UUID | None:
    try:
        return UUID(search)
    except ValueError:
        return None


def _nested(rows: Iterable[Any]) -> dict[Any, dict[ReminderStatus, int]]:
    """Counts by their first column, then by status."""
    counts: dict[Any, dict[ReminderStatus, int]] = {}
    for key, status, count in rows:
        counts.setdefault(key, {})[ReminderStatus(status)] = count
    return counts


_OVERDUE = typed(
    f"SELECT count(*) FROM session_reminder_emails r WHERE {overdue('r', ':until')}"  # noqa: S608 - composed of constants
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderPage:
    """Some reminders, and where the next ones begin."""

    reminders: tuple[Reminder, ...]
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
        for column, wanted in (
            (ReminderRow.session_id, session_id),
            (ReminderRow.user_id, user_id),
            (ReminderRow.email_status, status),
            (ReminderRow.status_reason, reason),
        ):
            query = query if wanted is None else query.where(column == wanted)
        if cursor is not None:
            query = query.where(tuple_(ReminderRow.due_at, ReminderRow.id) > _decode(cursor))
        found = await self.database.rows(query.limit(limit + 1))
        reminders = tuple(mapping.reminder(row) for row in found)
        page, more = reminders[:limit], len(reminders) > limit
        return ReminderPage(reminders=page, next_cursor=_encode(page[-1]) if more else None)

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
        newest = _newest(ReminderRow.email_status).where(ReminderRow.session_id == session_id)
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

    async def hold(self) -> Hold | None:
        """Why workers send nothing at present; `None` when nothing holds them back."""
        return await hold(self.database)

    async def overdue(self, *, before: datetime) -> int:
        """How many reminders still wait although they were due before this instant."""
        count: int = await self.database.scalar(_OVERDUE, {"until": before})
        return count


def _encode(last: Reminder) -> str:
    return base64.urlsafe_b64encode(f"{last.due_at.isoformat()} {last.id}".encode()).decode()


def _decode(cursor: str) -> tuple[datetime, UUID]:
    try:
        due_at, _, reminder_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return datetime.fromisoformat(due_at).astimezone(UTC), UUID(reminder_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        msg = "this is no cursor that was given out; leave it out to start from the beginning"
        raise InvalidInputError(msg, field="cursor") from error
