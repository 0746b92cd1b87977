"""Sessions and people as operators look for them, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on

from reminders import cursors
from reminders.db import mapping
from reminders.db.engine import Database
from reminders.db.ledger import newest_of
from reminders.db.sessions import Catalogue
from reminders.db.tables import EnrollmentRow, ReminderRow, SessionRow, UserRow
from reminders.domain.languages import ENGLISH, in_language, text_in
from reminders.domain.model import (
    Attendee,
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    Session,
    SessionStatus,
)

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
class Names:
    """What sessions and people are called; whatever is gone is missing."""

    sessions: Mapping[UUID, str] = field(default_factory=dict)
    """Titles."""
    people: Mapping[UUID, str] = field(default_factory=dict)
    """Names, or else addresses."""


@dataclass(frozen=True, slots=True)
class Browser:
    """Lists for people, read only. Texts in several languages are in the operators' own."""

    database: Database
    language: str = ENGLISH
    """Theirs; of a text without it the English one is read, or else its first."""

    def text(self, text: str) -> str:
        """A text of a session as operators read it."""
        return text_in(text, self.language)

    def readable(self, session: Session) -> Session:
        """A session as operators read it."""
        return in_language(session, self.language)

    async def session(self, session_id: UUID) -> Session:
        """One session as operators read it; raises as `Catalogue.session`."""
        return self.readable(await Catalogue(self.database).session(session_id))

    async def choices(self, now: datetime, session_id: UUID | None) -> Names:
        """What forms offer: the next sessions, and people of one, or else of the first of these."""
        coming = (
            select(SessionRow.id, SessionRow.title, SessionRow.start_time)
            .where(SessionRow.start_time > now)
            .order_by(SessionRow.start_time, SessionRow.id)
            .limit(PAGE)
        )
        sessions = {
            row.id: f"{row.start_time.astimezone(UTC):%Y-%m-%d} {self.text(row.title)}"
            for row in await self.database.tuples(coming)
        }
        roster = (
            select(
                UserRow.id, func.concat_ws(" · ", func.nullif(UserRow.full_name, ""), UserRow.email)
            )
            .join(EnrollmentRow, EnrollmentRow.user_id == UserRow.id)
            .where(EnrollmentRow.session_id == (session_id or next(iter(sessions), None)))
            .order_by(UserRow.email, UserRow.id)
            .limit(PAGE)
        )
        return Names(sessions, dict(await self.database.tuples(roster)))

    async def names(
        self, sessions: Iterable[UUID | None] = (), people: Iterable[UUID | None] = ()
    ) -> Names:
        """What these are called; ids that are absent are passed over."""
        titles = select(SessionRow.id, SessionRow.title).where(
            SessionRow.id.in_({session_id for session_id in sessions if session_id})
        )
        called = func.coalesce(func.nullif(UserRow.full_name, ""), UserRow.email)
        users = select(UserRow.id, called).where(UserRow.id.in_({one for one in people if one}))
        return Names(
            {one: self.text(title) for one, title in await self.database.tuples(titles)},
            dict(await self.database.tuples(users)),
        )

    async def sessions(
        self,
        now: datetime,
        *,
        period: Period = Period.UPCOMING,
        search: str = "",
        cursor: str | None = None,
        limit: int = PAGE,
    ) -> tuple[SessionEntry, ...]:
        """A page of sessions.

        Args:
            now: Parts upcoming from past.
            period: Which.
            search: Part of a title, or a whole id, which is found in either period.
            cursor: Start and id of the last one of the page before; see `reminders.cursors`.
            limit: At most this many.

        Raises:
            InvalidInputError: If the cursor is none of ours.
        """
        query = select(SessionRow.__table__).limit(limit)
        order = tuple_(SessionRow.start_time, SessionRow.id)
        last = tuple(cursors.decode(cursor, cursors.instant, UUID)) if cursor else None
        exact = _as_uuid(search)
        if exact is not None:
            query = query.where(SessionRow.id == exact)
        elif period is Period.UPCOMING:
            query = query.where(SessionRow.start_time > now)
            query = query.order_by(SessionRow.start_time, SessionRow.id)
            query = query if last is None else query.where(order > last)
        else:
            query = query.where(SessionRow.start_time <= now)
            query = query.order_by(SessionRow.start_time.desc(), SessionRow.id.desc())
            query = query if last is None else query.where(order < last)
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
                title=self.text(session.title),
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
            newest_of(ReminderRow.reminder_type, ReminderRow.email_status)
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

    async def taking_part(self, session_id: UUID) -> int:
        """How many a change of a session concerns: all that are enrolled and not cancelled."""
        found = await self.enrolled(session_id)
        return sum(n for status, n in found.items() if status is not EnrollmentStatus.CANCELLED)

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
            status: Only people one of whose reminders is in this status, as they are shown.
            search: Part of a name or an address, or a whole user id.
            after: The last person of the page before.
            limit: At most this many.
        """
        # Where a platform shows several rows of a person, the one that counts.
        everybody = (
            select(UserRow.__table__, EnrollmentRow.status.label("enrollment_status"))
            .join(EnrollmentRow, EnrollmentRow.user_id == UserRow.id)
            .where(EnrollmentRow.session_id == session_id)
            .ext(distinct_on(UserRow.id))
            .order_by(UserRow.id, *mapping.people_first(), *mapping.enrollments_first())
        )
        them = everybody.cte("them")
        query = select(them).order_by(them.c.email, them.c.id).limit(limit)
        if status is not None:
            shown = (
                newest_of(ReminderRow.user_id, ReminderRow.email_status)
                .where(ReminderRow.session_id == session_id)
                .subquery()
            )
            query = query.where(
                them.c.id.in_(select(shown.c.user_id).where(shown.c.email_status == status))
            )
        if search:
            query = _matching(query, search, them.c)
        if after is not None:
            # Behind one who is not among them any more it begins anew.
            last = select(them.c.email).where(them.c.id == after).scalar_subquery()
            is_behind = tuple_(them.c.email, them.c.id) > tuple_(last, after)
            query = query.where(or_(last.is_(None), is_behind))
        people = await self.database.rows(query)
        newest = newest_of(ReminderRow.__table__).where(
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

        Who is looked for by the whole of an address is found by its index, and nobody else is read.

        Args:
            search: Not empty.
            limit: At most this many.
        """
        query = select(UserRow.__table__).order_by(UserRow.email, UserRow.id).limit(limit)
        mailbox = func.lower(func.btrim(UserRow.email)) == func.lower(func.btrim(search))
        found = await self.database.rows(query.where(mailbox)) if "@" in search else ()
        found = found or await self.database.rows(_matching(query, search))
        return tuple(mapping.attendee(row) for row in found)

    async def enrollments(self, user_id: UUID, *, limit: int = 200) -> tuple[EnrolledSession, ...]:
        """What a person is or was enrolled in: the sessions nearest to now, the latest first."""
        away = func.extract("epoch", SessionRow.start_time - func.now())
        nearest = (
            select(SessionRow.__table__, EnrollmentRow.status.label("enrollment_status"))
            .join(EnrollmentRow, EnrollmentRow.session_id == SessionRow.id)
            .where(EnrollmentRow.user_id == user_id)
            .order_by(func.abs(away))
            .limit(limit)
            .subquery()
        )
        rows = await self.database.rows(
            select(nearest).order_by(nearest.c.start_time.desc(), nearest.c.id)
        )
        counts = await self._counts(ReminderRow.user_id == user_id)
        return tuple(
            EnrolledSession(
                session_id=row["id"],
                title=self.text(row["title"]),
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


def _matching(query: Select[Any], search: str, person: Any = UserRow) -> Select[Any]:  # noqa: ANN401 - columns
    exact = _as_uuid(search)
    if exact is not None:
        return query.where(person.id == exact)
    return query.where(
        person.email.icontains(search, autoescape=True)
        | person.full_name.icontains(search, autoescape=True)
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
