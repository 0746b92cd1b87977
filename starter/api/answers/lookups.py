"""What operators look for: sessions, rosters, people, failures, the audit log, the day.

People come as ids: an address may be looked for, and is never told.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import Field

from reminders.db.audit import Action, Event
from reminders.db.lookups import RosterEntry, SessionEntry
from reminders.db.reports import Cause
from reminders.domain.model import EnrollmentStatus, ReminderStatus, SessionStatus, StatusReason
from starter.api.answers.base import Out
from starter.api.answers.reminders import ReminderOut
from starter.services.reasons import reason as in_words


class SessionEntryOut(Out):
    """A session in a list."""

    id: UUID
    title: str = Field(examples=["Cardiology update"])
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
    """How many could still be sent: their session takes place and has not begun, and neither they
    once more nor a later reminder went out instead."""
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
    """Failed, and can still be sent, as `/v1/failures` counts them."""
    next_hours: list[DueHourOut]
