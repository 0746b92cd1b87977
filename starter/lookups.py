"""What operators look for, as JSON: sessions, rosters, people, failures, the audit log, the day.

The read models are those of the admin pages. People come as ids: an address may be looked for, and
is never told.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field

from reminders.db.audit import Action, AuditLog, Event
from reminders.db.browsing import PAGE, Browser, Period, RosterEntry, SessionEntry
from reminders.db.failed import Cause, FailedReminders
from reminders.db.overview import Overview
from reminders.errors import InvalidInputError
from reminders.model import EnrollmentStatus, ReminderStatus, SessionStatus, StatusReason
from starter.answers.base import Out
from starter.answers.reminders import ReminderOut
from starter.assembly import Parts
from starter.decisions import reason as in_words
from starter.health import OVERDUE
from starter.http.bodies import In

LARGEST_PAGE = 200
_FOUND_AT_ONCE = 20
_SHOWN = timedelta(days=30)
"""How far back failures are counted; `why` answers for ever."""
_LARGEST_ID = 2**63 - 1

Cursor = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class PageFilters(In):
    """Which page of a list."""

    cursor: Cursor | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=PAGE, ge=1, le=LARGEST_PAGE)


class SessionFilters(PageFilters):
    """Which sessions to list."""

    query: Words = Field(default="", examples=["cardiology"])
    """Part of a title, or a whole id, which is found in either period."""
    period: Period = Period.UPCOMING


class RosterFilters(PageFilters):
    """Which of a session's people to list."""

    email_status: ReminderStatus | None = None
    """Only people with a reminder in this status."""


class EventFilters(PageFilters):
    """Which entries of the audit log to list."""

    session_id: UUID | None = None
    user_id: UUID | None = None


class FailureFilters(In):
    """Which failures to count."""

    session_id: UUID | None = None


class UserSearch(In):
    """Whom to look for; in the body, because addresses do not belong into logs."""

    query: Words = Field(min_length=1, examples=["ana@hospital.example"])
    """Part of a name or an address, or an id."""


class SessionEntryOut(Out):
    """A session in a list."""

    id: UUID
    title: str
    start_time: datetime
    status: SessionStatus
    enrolled: int
    """People who take part, whether confirmed or not yet."""
    counts: dict[ReminderStatus, int]
    """Its reminders by status; statuses without any are left out."""

    @classmethod
    def of(cls, entry: SessionEntry) -> Self:
        """The entry as JSON."""
        return cls(
            id=entry.id,
            title=entry.title,
            start_time=entry.starts_at,
            status=entry.status,
            enrolled=entry.enrolled,
            counts=dict(entry.counts),
        )


class SessionPageOut(Out):
    """Some sessions: upcoming ones with the next first, past ones with the last first."""

    items: list[SessionEntryOut]
    next_cursor: str | None
    """Null on the last page."""


class RosterEntryOut(Out):
    """A person enrolled in a session."""

    user_id: UUID
    enrollment_status: EnrollmentStatus
    reminders: list[ReminderOut]
    """The newest generation of each, by due instant."""

    @classmethod
    def of(cls, entry: RosterEntry) -> Self:
        """The entry as JSON, without name and address."""
        ordered = sorted(entry.reminders.values(), key=lambda r: r.due_at)
        return cls(
            user_id=entry.attendee.user_id,
            enrollment_status=entry.enrollment_status,
            reminders=[ReminderOut.of(r) for r in ordered],
        )


class RosterPageOut(Out):
    """Some of a session's people."""

    items: list[RosterEntryOut]
    next_cursor: str | None
    """Null on the last page."""


class EventOut(Out):
    """An entry of the audit log."""

    id: int
    happened_at: datetime | None
    action: Action
    actor: str = Field(examples=["admin:maria"])
    reason: str | None
    session_id: UUID | None
    user_id: UUID | None
    reminder_id: UUID | None
    details: dict[str, Any]
    """Counts, and what was before and after."""

    @classmethod
    def of(cls, event: Event) -> Self:
        """The entry as JSON."""
        return cls(
            id=event.id or 0,
            happened_at=event.happened_at,
            action=event.action,
            actor=event.actor,
            reason=event.reason,
            session_id=event.session_id,
            user_id=event.user_id,
            reminder_id=event.reminder_id,
            details=dict(event.details),
        )


class EventPageOut(Out):
    """Some entries of the audit log, the newest first."""

    items: list[EventOut]
    next_cursor: str | None
    """Null on the last page."""


class CauseOut(Out):
    """Failed reminders that have one reason."""

    status_reason: StatusReason | None
    meaning: str
    """The reason in words."""
    reminders: int
    sessions: int
    redrivable: int
    """How many could still be sent: their session takes place and has not begun."""
    newest_due_at: datetime

    @classmethod
    def of(cls, cause: Cause) -> Self:
        """The cause as JSON."""
        return cls(
            status_reason=cause.reason,
            meaning=in_words(cause.reason),
            reminders=cause.reminders,
            sessions=cause.sessions,
            redrivable=cause.redrivable,
            newest_due_at=cause.newest_due_at,
        )


class CauseListOut(Out):
    """Failures of the last 30 days by cause, the one with the most that can still be sent first."""

    items: list[CauseOut]


class EnrolledSessionOut(Out):
    """A session that a person is, or was, enrolled in."""

    session_id: UUID
    title: str
    start_time: datetime
    session_status: SessionStatus
    enrollment_status: EnrollmentStatus
    counts: dict[ReminderStatus, int]


class UserEnrollmentsOut(Out):
    """What a person is or was enrolled in, the latest session first; 200 at the most."""

    user_id: UUID
    items: list[EnrolledSessionOut]


class UserIdsOut(Out):
    """Who was found."""

    items: list[UUID]
    is_cut: bool
    """There are more: look more precisely."""


class DueHourOut(Out):
    """What falls due in one hour."""

    begins_at: datetime
    reminders: int


class OverviewOut(Out):
    """How things stand: today, by UTC, what is still to come, and the next 24 hours."""

    sent_today: int
    """Accepted by the provider."""
    late_today: int
    """Of these, later than a minute or so after their instant."""
    failed_today: int
    waiting: int
    overdue: int
    in_doubt: int
    """Handed to the provider, whose answer is awaited."""
    redrivable: int
    """Failed, and their session has not begun."""
    next_hours: list[DueHourOut]


async def sessions(parts: Parts, filters: SessionFilters) -> SessionPageOut:
    """A page of sessions.

    Raises:
        InvalidInputError: If the cursor is none of ours.
    """
    after = _read(filters.cursor, datetime.fromisoformat, UUID) if filters.cursor else None
    if after is not None and after[0].utcoffset() is None:
        raise _no_cursor()
    found = await Browser(parts.database).sessions(
        parts.clock.now(),
        period=filters.period,
        search=filters.query,
        cursor=(after[0], after[1]) if after else None,
        limit=filters.limit + 1,
    )
    page, more = found[: filters.limit], len(found) > filters.limit
    return SessionPageOut(
        items=[SessionEntryOut.of(entry) for entry in page],
        next_cursor=_written(page[-1].starts_at.isoformat(), page[-1].id) if more else None,
    )


async def roster(parts: Parts, session_id: UUID, filters: RosterFilters) -> RosterPageOut:
    """A page of a session's people.

    Raises:
        SessionNotFoundError: If there is no such session.
        InvalidInputError: If the cursor is none of ours.
    """
    await parts.catalogue.session(session_id)
    found = await Browser(parts.database).roster(
        session_id,
        status=filters.email_status,
        after=_read(filters.cursor, UUID)[0] if filters.cursor else None,
        limit=filters.limit + 1,
    )
    page, more = found[: filters.limit], len(found) > filters.limit
    return RosterPageOut(
        items=[RosterEntryOut.of(entry) for entry in page],
        next_cursor=_written(page[-1].attendee.user_id) if more else None,
    )


async def events(parts: Parts, filters: EventFilters) -> EventPageOut:
    """A page of the audit log.

    Raises:
        InvalidInputError: If the cursor is none of ours.
    """
    before: int | None = None
    if filters.cursor:
        (before,) = _read(filters.cursor, int)
        before = min(max(before, 0), _LARGEST_ID)
    found = await AuditLog(parts.database).entries(
        session_id=filters.session_id,
        user_id=filters.user_id,
        before=before,
        limit=filters.limit + 1,
    )
    page, more = found[: filters.limit], len(found) > filters.limit
    return EventPageOut(
        items=[EventOut.of(event) for event in page],
        next_cursor=_written(page[-1].id) if more else None,
    )


async def failures(parts: Parts, session_id: UUID | None) -> CauseListOut:
    """Failures of the last 30 days by cause."""
    now = parts.clock.now()
    causes = await FailedReminders(parts.database).causes(
        now, since=now - _SHOWN, session_id=session_id
    )
    return CauseListOut(items=[CauseOut.of(cause) for cause in causes])


async def users(parts: Parts, query: str) -> UserIdsOut:
    """Who is meant by a part of a name or an address."""
    found = await Browser(parts.database).people(query, limit=_FOUND_AT_ONCE + 1)
    return UserIdsOut(
        items=[attendee.user_id for attendee in found[:_FOUND_AT_ONCE]],
        is_cut=len(found) > _FOUND_AT_ONCE,
    )


async def enrollments(parts: Parts, user_id: UUID) -> UserEnrollmentsOut:
    """What a person is or was enrolled in.

    Raises:
        UserNotFoundError: If there is no such user.
    """
    await parts.catalogue.user(user_id)
    found = await Browser(parts.database).enrollments(user_id)
    return UserEnrollmentsOut(
        user_id=user_id,
        items=[
            EnrolledSessionOut(
                session_id=entry.session_id,
                title=entry.title,
                start_time=entry.starts_at,
                session_status=entry.session_status,
                enrollment_status=entry.enrollment_status,
                counts=dict(entry.counts),
            )
            for entry in found
        ],
    )


async def overview(parts: Parts) -> OverviewOut:
    """How things stand."""
    now = parts.clock.now()
    ledger = Overview(parts.database)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    backlog, today, hours = await asyncio.gather(
        ledger.backlog(now, tolerated=OVERDUE),
        ledger.day(midnight, tolerated=OVERDUE),
        ledger.due_by_hour(now),
    )
    return OverviewOut(
        sent_today=today.accepted,
        late_today=today.late,
        failed_today=today.failed,
        waiting=backlog.waiting,
        overdue=backlog.overdue,
        in_doubt=backlog.in_doubt,
        redrivable=backlog.redrivable,
        next_hours=[DueHourOut(begins_at=h.begins_at, reminders=h.reminders) for h in hours],
    )


def _written(*parts: object) -> str:
    """Where a page ended, as callers pass it back."""
    return base64.urlsafe_b64encode(" ".join(map(str, parts)).encode()).decode()


def _read(cursor: str, *kinds: Any) -> Sequence[Any]:  # noqa: ANN401 - what each kind reads
    try:
        told = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return [kind(text) for kind, text in zip(kinds, told, strict=True)]
    except (ValueError, OverflowError, binascii.Error) as error:
        raise _no_cursor() from error


def _no_cursor() -> InvalidInputError:
    msg = "cursor is not one that this API gave out; leave it out to start from the beginning"
    return InvalidInputError(msg, field="cursor")
