"""What should have been sent and was not, gathered by cause."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select, tuple_
from sqlalchemy.orm import aliased

from reminders.db import records
from reminders.db.engine import Database
from reminders.db.tables import ReminderRow, SessionRow
from reminders.domain.model import Reminder, ReminderStatus, SessionStatus, StatusReason

EXAMPLES = 50
"""Rows of one cause that are shown at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Failed reminders that have one reason."""

    reason: StatusReason | None
    reminders: int
    sessions: int
    redrivable: int
    """How many could still be sent: their session takes place and has not begun, and neither they
    once more nor a later reminder went out instead."""
    newest_due_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedReminder:
    """One of them, with the session it was about."""

    reminder: Reminder
    title: str
    is_redrivable: bool


class FailedReminders:
    """The ledger's failures, read only."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def causes(
        self, now: datetime, *, since: datetime, session_id: UUID | None = None
    ) -> tuple[Cause, ...]:
        """Failures by reason, the one with the most that can still be sent first.

        Args:
            now: Decides which sessions have begun.
            since: Leave out what was due before.
            session_id: Only of this session.
        """
        redrivable = func.count().filter(can_still_be_sent(now))
        query = (
            select(
                ReminderRow.status_reason,
                func.count(),
                func.count(ReminderRow.session_id.distinct()),
                redrivable,
                func.max(ReminderRow.due_at),
            )
            .join(SessionRow, SessionRow.id == ReminderRow.session_id)
            .where(ReminderRow.email_status == ReminderStatus.FAILED, ReminderRow.due_at >= since)
            .group_by(ReminderRow.status_reason)
            .order_by(redrivable.desc(), func.count().desc())
        )
        if session_id is not None:
            query = query.where(ReminderRow.session_id == session_id)
        async with self._database.autocommit() as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            Cause(
                reason=records.reason(reason),
                reminders=reminders,
                sessions=sessions,
                redrivable=can_be_sent,
                newest_due_at=newest,
            )
            for reason, reminders, sessions, can_be_sent, newest in rows
        )

    async def of_cause(
        self,
        reason: StatusReason | None,
        now: datetime,
        *,
        since: datetime,
        session_id: UUID | None = None,
        before: tuple[datetime, UUID] | None = None,
        limit: int = EXAMPLES,
    ) -> tuple[FailedReminder, ...]:
        """Failures of one reason, the newest due instant first.

        Args:
            reason: Which.
            now: Decides which sessions have begun.
            since: Leave out what was due before.
            session_id: Only of this session.
            before: Only older ones: due instant and id of the last one of the page before.
            limit: At most this many.
        """
        query = (
            select(
                ReminderRow.__table__,
                SessionRow.title,
                can_still_be_sent(now).label("is_redrivable"),
            )
            .join(SessionRow, SessionRow.id == ReminderRow.session_id)
            .where(
                ReminderRow.email_status == ReminderStatus.FAILED,
                ReminderRow.status_reason == reason,
                ReminderRow.due_at >= since,
            )
            .order_by(ReminderRow.due_at.desc(), ReminderRow.id.desc())
            .limit(limit)
        )
        if session_id is not None:
            query = query.where(ReminderRow.session_id == session_id)
        if before is not None:
            query = query.where(tuple_(ReminderRow.due_at, ReminderRow.id) < before)
        async with self._database.autocommit() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(
            FailedReminder(
                reminder=records.reminder(row),
                title=row["title"],
                is_redrivable=row["is_redrivable"],
            )
            for row in rows
        )


def can_still_be_sent(now: datetime) -> ColumnElement[bool]:
    """Whether a failed reminder could still go out, in a query that joins its session.

    What a redrive decides besides (rules that are off, people who stopped) is left to it: it counts
    before it sends.
    """
    other = aliased(ReminderRow)
    of_the_same = (other.session_id == ReminderRow.session_id) & (
        other.user_id == ReminderRow.user_id
    )
    is_once_more = (other.reminder_type == ReminderRow.reminder_type) & (
        other.generation > ReminderRow.generation
    )
    went_out_later = (other.due_at >= ReminderRow.due_at) & other.email_status.in_(
        [status for status in ReminderStatus if status.is_accepted]
    )
    return (
        (SessionRow.start_time > now)
        & (SessionRow.status == SessionStatus.SCHEDULED)
        & ~exists().where(of_the_same, is_once_more | went_out_later).correlate(ReminderRow)
    )
