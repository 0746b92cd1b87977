"""What operators look for: sessions, rosters, people, failures, the audit log, the day.

The read models are those of the admin pages, and the answers are those of API and commands.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reminders.db.audit import AuditLog
from reminders.db.lookups import Browser
from reminders.db.reports import FailedReminders, Overview
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import EnrollmentStatus
from starter.api.answers.lookups import (
    CauseListOut,
    CauseOut,
    DueHourOut,
    EnrolledSessionOut,
    EventOut,
    EventPageOut,
    OverviewOut,
    RosterEntryOut,
    RosterPageOut,
    SessionEntryOut,
    SessionPageOut,
    UserEnrollmentsOut,
    UserIdsOut,
)
from starter.api.bodies.lookups import EventFilters, RosterFilters, SessionFilters
from starter.assembly import Parts
from starter.health.examiner import OVERDUE

_FOUND_AT_ONCE = 20
_SHOWN = timedelta(days=30)
"""How far back failures are counted; `why` answers for ever."""
_LARGEST_ID = 2**63 - 1


async def enrolled(parts: Parts, session_id: UUID) -> int:
    """How many are enrolled in a session: whom a change of it is told.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    found = await Browser(parts.database).enrolled(session_id)
    return sum(n for status, n in found.items() if status is not EnrollmentStatus.CANCELLED)


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
    msg = "this is no cursor that was given out; leave it out to start from the beginning"
    return InvalidInputError(msg, field="cursor")
