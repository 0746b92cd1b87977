"""How things stand: what goes out in the next hours, what became of today's, what needs somebody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from reminders.db.engine import Database
from reminders.db.failed import can_still_be_sent
from reminders.db.tables import ReminderRow, SessionRow
from reminders.domain.model import ReminderStatus

HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DueHour:
    """What falls due in one hour."""

    begins_at: datetime
    reminders: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Day:
    """What became of the reminders of one day."""

    sent: Mapping[ReminderStatus, int]
    """Accepted by the provider on this day, by what became of them since."""
    late: int
    """Of these, how many were accepted later after their due instant than is tolerated."""
    failed: int
    """Due on this day, and not sent although they should have been."""

    @property
    def accepted(self) -> int:
        """How many e-mails the provider took on this day."""
        return sum(self.sent.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What is still to happen, and what did not happen in time."""

    waiting: int
    overdue: int
    """Waiting although their instant has passed, by more than is tolerated."""
    oldest_due_at: datetime | None
    """Of the overdue ones."""
    in_doubt: int
    """Handed to the provider, whose answer is awaited."""
    redrivable: int
    """Failed, and can still be sent; see `can_still_be_sent`."""


class Overview:
    """The ledger from far away, read only; every answer comes from an index."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def due_by_hour(self, now: datetime, hours: int = 24) -> tuple[DueHour, ...]:
        """What waits for the next so many hours, the hour at hand first; empty hours included.

        Args:
            now: Reminders due before are left out.
            hours: How many.
        """
        first = now.replace(minute=0, second=0, microsecond=0)
        hour = func.date_bin(HOUR, ReminderRow.due_at, first)
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                select(hour, func.count())
                .where(
                    ReminderRow.email_status == ReminderStatus.SCHEDULED,
                    ReminderRow.due_at >= now,
                    ReminderRow.due_at < first + hours * HOUR,
                )
                .group_by(hour)
            )
            counts: dict[datetime, int] = dict(found.all())
        return tuple(
            DueHour(begins_at=begins_at, reminders=counts.get(begins_at, 0))
            for begins_at in (first + n * HOUR for n in range(hours))
        )

    async def day(self, begins_at: datetime, *, tolerated: timedelta) -> Day:
        """What became of one day's reminders.

        Args:
            begins_at: The day's first instant.
            tolerated: How long after its due instant a reminder is not yet late.
        """
        ends_at = begins_at + timedelta(days=1)
        late = func.count().filter(ReminderRow.sent_at > ReminderRow.due_at + tolerated)
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                select(ReminderRow.email_status, func.count(), late)
                .where(ReminderRow.sent_at >= begins_at, ReminderRow.sent_at < ends_at)
                .group_by(ReminderRow.email_status)
            )
            rows = found.all()
            failed = await connection.scalar(
                select(func.count())
                .select_from(ReminderRow)
                .where(
                    ReminderRow.email_status == ReminderStatus.FAILED,
                    ReminderRow.due_at >= begins_at,
                    ReminderRow.due_at < ends_at,
                )
            )
        return Day(
            sent={ReminderStatus(status): count for status, count, _ in rows},
            late=sum(late for _, _, late in rows),
            failed=failed or 0,
        )

    async def backlog(self, now: datetime, *, tolerated: timedelta) -> Backlog:
        """What is still to happen.

        Args:
            now: Decides what is overdue.
            tolerated: How long after its due instant a reminder is not yet overdue.
        """
        scheduled = ReminderRow.email_status == ReminderStatus.SCHEDULED
        overdue = ReminderRow.due_at < now - tolerated
        async with self._database.autocommit() as connection:
            waiting = await connection.scalar(
                select(func.count()).select_from(ReminderRow).where(scheduled)
            )
            late, oldest = (
                await connection.execute(
                    select(func.count(), func.min(ReminderRow.due_at)).where(scheduled, overdue)
                )
            ).one()
            in_doubt = await connection.scalar(
                select(func.count())
                .select_from(ReminderRow)
                .where(ReminderRow.email_status == ReminderStatus.SENDING)
            )
            redrivable = await connection.scalar(
                select(func.count())
                .select_from(ReminderRow)
                .join(SessionRow, SessionRow.id == ReminderRow.session_id)
                .where(ReminderRow.email_status == ReminderStatus.FAILED, can_still_be_sent(now))
            )
        return Backlog(
            waiting=waiting or 0,
            overdue=late,
            oldest_due_at=oldest,
            in_doubt=in_doubt or 0,
            redrivable=redrivable or 0,
        )
