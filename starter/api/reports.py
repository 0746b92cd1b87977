"""What operators look for: sessions, rosters, people, failures, the audit log, the day.

The read models are those of the admin pages. People come as ids: an address may be looked for, and
is never shown. The commands call the handlers as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import AliasPath, BeforeValidator, Field

from reminders import cursors
from reminders.db import arrivals
from reminders.db.audit import Action
from reminders.db.lookups import FOUND_AT_ONCE, PAGE, Period
from reminders.db.reports import SHOWN, DueHour
from reminders.domain.model import (
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    SessionStatus,
    StatusReason,
)
from starter.api.models import Cursor, In, Out, PageOut
from starter.api.reminders import ReminderOut
from starter.api.routing import BODY, INVALID, NO_SESSION, Answering, v1_router
from starter.services.reasons import OVERDUE
from starter.services.reasons import reason as in_words

router = v1_router("operators")

LARGEST_PAGE = 200

Words = Annotated[str, Field(max_length=200)]


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
    action: Action | None = None
    actor: Words | None = Field(default=None, examples=["admin:maria"])
    """Whoever is called so, or all whose kind it is: `admin`, `api`, `cli`, `attendee`, `host`."""


class UserSearch(In):
    """Whom to look for; in the body, because addresses do not belong in logs."""

    query: Words = Field(min_length=1, examples=["ana@hospital.example"])
    """Part of a name or an address, or an id."""


class SessionEntryOut(Out):
    """A session in a list."""

    id: UUID
    title: str = Field(examples=["Cardiology update"])
    start_time: datetime = Field(validation_alias="starts_at")
    status: SessionStatus
    enrolled: int
    """People who take part, whether confirmed or not yet."""
    counts: dict[ReminderStatus, int]
    """Its reminders by status; statuses without any are left out."""


class SessionPageOut(PageOut[SessionEntryOut]):
    """Some sessions: upcoming ones with the next first, past ones with the last first."""


def _by_instant(reminders: Mapping[str, Reminder]) -> list[Reminder]:
    return sorted(reminders.values(), key=lambda reminder: reminder.due_at)


class RosterEntryOut(Out):
    """A person enrolled in a session, without name and address."""

    user_id: UUID = Field(validation_alias=AliasPath("attendee", "user_id"))
    enrollment_status: EnrollmentStatus
    reminders: Annotated[list[ReminderOut], BeforeValidator(_by_instant)]
    """The newest generation of each, by due instant."""


class RosterPageOut(PageOut[RosterEntryOut]):
    """Some of a session's people."""


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


class EventPageOut(PageOut[EventOut]):
    """Some entries of the audit log, the newest first."""


class CauseOut(Out):
    """Failed reminders that have one reason."""

    status_reason: StatusReason | None = Field(validation_alias="reason")
    meaning: Annotated[str, BeforeValidator(in_words)] = Field(validation_alias="reason")
    """The reason in words."""
    reminders: int
    sessions: int
    redrivable: int
    """How many could still be sent: their session has not begun and is as they tell, and neither they
    once more nor a later reminder went out instead."""
    newest_due_at: datetime


class CauseListOut(Out):
    """Failures of the last 30 days by cause, the one with the most that can still be sent first."""

    items: list[CauseOut]


class EnrolledSessionOut(Out):
    """A session that a person is, or was, enrolled in."""

    session_id: UUID
    title: str
    start_time: datetime = Field(validation_alias="starts_at")
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
    """Failed, and can still be sent, as `/v1/failures` counts them."""
    delivered_within_p50_seconds: float | None
    """From accepted to delivered, the median of the last day's newest thousand; null if none was
    delivered, or nobody tells."""
    delivered_within_p95_seconds: float | None
    next_hours: list[DueHour]


@router.get("/overview", summary="How things stand")
async def overview(parts: Answering) -> OverviewOut:
    """Today's figures, what is still to come, and the next 24 hours by hour."""
    now = parts.clock.now()
    ledger = parts.overview
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    backlog, today, hours, times = await asyncio.gather(
        ledger.backlog(now, tolerated=OVERDUE),
        ledger.day(midnight, tolerated=OVERDUE),
        ledger.due_by_hour(now),
        arrivals.times(parts.database, now),
    )
    return OverviewOut(
        sent_today=today.accepted,
        late_today=today.late,
        failed_today=today.failed,
        waiting=backlog.waiting,
        overdue=backlog.overdue,
        in_doubt=backlog.in_doubt,
        redrivable=backlog.redrivable,
        delivered_within_p50_seconds=times.median.total_seconds() if times else None,
        delivered_within_p95_seconds=times.most.total_seconds() if times else None,
        next_hours=hours,
    )


@router.get("/sessions", summary="Sessions, by title or id", responses={**INVALID})
async def sessions(parts: Answering, filters: Annotated[SessionFilters, Query()]) -> SessionPageOut:
    """Upcoming ones, the next first; or past ones, the last first."""
    found = await parts.browser.sessions(
        parts.clock.now(),
        period=filters.period,
        search=filters.query,
        cursor=filters.cursor,
        limit=filters.limit + 1,
    )
    page, cursor = cursors.page(found, filters.limit, lambda one: (one.starts_at, one.id))
    return SessionPageOut(items=page, next_cursor=cursor)


@router.get(
    "/sessions/{session_id}/enrollments",
    summary="Who is enrolled in a session",
    responses={**NO_SESSION, **INVALID},
)
async def roster(
    parts: Answering, session_id: UUID, filters: Annotated[RosterFilters, Query()]
) -> RosterPageOut:
    """Everybody, with the newest generation of each reminder."""
    await parts.catalogue.session(session_id)
    found = await parts.browser.roster(
        session_id,
        status=filters.email_status,
        after=cursors.decode(filters.cursor, UUID)[0] if filters.cursor else None,
        limit=filters.limit + 1,
    )
    page, cursor = cursors.page(found, filters.limit, lambda one: (one.attendee.user_id,))
    return RosterPageOut(items=page, next_cursor=cursor)


@router.post("/users/search", summary="A user's id, by name or address", responses={**BODY})
async def users(parts: Answering, body: UserSearch) -> UserIdsOut:
    """Up to 20 ids; without addresses and names."""
    found = await parts.browser.people(body.query, limit=FOUND_AT_ONCE + 1)
    return UserIdsOut(
        items=[attendee.user_id for attendee in found[:FOUND_AT_ONCE]],
        is_cut=len(found) > FOUND_AT_ONCE,
    )


@router.get(
    "/users/{user_id}/enrollments",
    summary="What a user is or was enrolled in",
    responses={404: {"description": "There is no such user"}, **INVALID},
)
async def enrollments(parts: Answering, user_id: UUID) -> UserEnrollmentsOut:
    """The latest session first, with its reminders counted by status."""
    await parts.catalogue.user(user_id)
    return UserEnrollmentsOut(user_id=user_id, items=await parts.browser.enrollments(user_id))


@router.get("/failures", summary="Failed reminders by cause", responses={**INVALID})
async def failures(parts: Answering, session_id: UUID | None = None) -> CauseListOut:
    """Of the last 30 days. `GET /v1/reminders?status_reason=` lists those of one cause."""
    now = parts.clock.now()
    causes = await parts.overview.causes(now, since=now - SHOWN, session_id=session_id)
    return CauseListOut(items=causes)


@router.get("/events", summary="The audit log", responses={**INVALID})
async def events(parts: Answering, filters: Annotated[EventFilters, Query()]) -> EventPageOut:
    """Who did what, when and why; the newest first."""
    before: int | None = None
    if filters.cursor:
        (before,) = cursors.decode(filters.cursor, int)
    wanted = filters.model_dump(exclude={"cursor", "limit"})
    found = await parts.audit.entries(**wanted, before=before, limit=filters.limit + 1)
    page, cursor = cursors.page(found, filters.limit, lambda entry: (entry.id,))
    return EventPageOut(items=page, next_cursor=cursor)
