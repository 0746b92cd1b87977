"""How things stand: what goes out next, what became of today's, what failed, what needs somebody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.orm import aliased

from reminders.db import arrivals, mapping
from reminders.db.engine import Database
from reminders.db.installation import here
from reminders.db.ledger import ReminderQueries
from reminders.db.provider import hold_of
from reminders.db.sql import HELD, belongs_here, overdue, typed
from reminders.db.tables import ReminderRow, SessionRow
from reminders.domain.model import Notice, Reminder, ReminderStatus, SessionStatus, StatusReason
from reminders.domain.pace import Quota
from reminders.domain.ports import Clock, Destination
from reminders.domain.upkeep import LedgerState

HOUR = timedelta(hours=1)
HOURS = 24
"""That are looked ahead."""


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
    in_doubt: int
    """Handed to the provider, whose answer is awaited."""
    redrivable: int
    """Failed, and can still be sent; see `can_still_be_sent`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Failed reminders that have one reason."""

    reason: StatusReason | None
    reminders: int
    sessions: int
    redrivable: int
    """How many could still be sent: their session has not begun and is as they tell, and neither they
    once more nor a later reminder went out instead."""
    newest_due_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedReminder:
    """One of them."""

    reminder: Reminder
    is_redrivable: bool


SHOWN = timedelta(days=30)
"""How far back failures are counted; `why` has no such limit."""
EXAMPLES = 50
"""Rows of one cause that are shown at once."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The ledger from far away, read only; every answer comes from an index."""

    database: Database

    async def due_by_hour(self, now: datetime) -> tuple[DueHour, ...]:
        """What falls due in the next hours, the current one first; empty hours included.

        Args:
            now: Reminders due before are left out.
        """
        first = now.replace(minute=0, second=0, microsecond=0)
        hour = func.date_bin(HOUR, ReminderRow.due_at, first)
        counts = dict(
            await self.database.tuples(
                select(hour, func.count())
                .where(
                    ReminderRow.email_status == ReminderStatus.SCHEDULED,
                    ReminderRow.due_at >= now,
                    ReminderRow.due_at < first + HOURS * HOUR,
                )
                .group_by(hour)
            )
        )
        return tuple(
            DueHour(begins_at=begins_at, reminders=counts.get(begins_at, 0))
            for begins_at in (first + n * HOUR for n in range(HOURS))
        )

    async def day(self, begins_at: datetime, *, tolerated: timedelta) -> Day:
        """What became of one day's reminders.

        Args:
            begins_at: The day's first instant.
            tolerated: How long after its due instant a reminder is not yet late.
        """
        ends_at = begins_at + timedelta(days=1)
        late = func.count().filter(ReminderRow.sent_at > ReminderRow.due_at + tolerated)
        rows = await self.database.tuples(
            select(ReminderRow.email_status, func.count(), late)
            .where(ReminderRow.sent_at >= begins_at, ReminderRow.sent_at < ends_at)
            .group_by(ReminderRow.email_status)
        )
        failed = await self.database.scalar(
            select(func.count()).where(
                ReminderRow.email_status == ReminderStatus.FAILED,
                ReminderRow.due_at >= begins_at,
                ReminderRow.due_at < ends_at,
            )
        )
        return Day(
            sent={ReminderStatus(status): count for status, count, _ in rows},
            late=sum(late for _, _, late in rows),
            failed=failed,
        )

    async def backlog(self, now: datetime, *, tolerated: timedelta) -> Backlog:
        """What is still to happen.

        Args:
            now: Decides what is overdue.
            tolerated: How long after its due instant a reminder is not yet overdue.
        """
        count, status = select(func.count()), ReminderRow.email_status
        return Backlog(
            waiting=await self.database.scalar(count.where(status == ReminderStatus.SCHEDULED)),
            overdue=await ReminderQueries(self.database).overdue(before=now - tolerated),
            in_doubt=await self.database.scalar(count.where(status == ReminderStatus.SENDING)),
            redrivable=await self.database.scalar(
                select(func.count(ReminderRow.id.distinct()))
                .join(SessionRow, SessionRow.id == ReminderRow.session_id)
                .where(status == ReminderStatus.FAILED, can_still_be_sent(now))
            ),
        )

    async def causes(
        self, now: datetime, *, since: datetime, session_id: UUID | None = None
    ) -> tuple[Cause, ...]:
        """Failures by reason, the one with the most that can still be sent first.

        Args:
            now: Decides which sessions have begun.
            since: Leave out what was due before.
            session_id: Only of this session.
        """
        # Of a session with several rows each is joined.
        reminders = func.count(ReminderRow.id.distinct())
        redrivable = reminders.filter(can_still_be_sent(now))
        query = (
            select(
                ReminderRow.status_reason,
                reminders,
                func.count(ReminderRow.session_id.distinct()),
                redrivable,
                func.max(ReminderRow.due_at),
            )
            .join(SessionRow, SessionRow.id == ReminderRow.session_id)
            .where(ReminderRow.email_status == ReminderStatus.FAILED, ReminderRow.due_at >= since)
            .group_by(ReminderRow.status_reason)
            .order_by(redrivable.desc(), reminders.desc())
        )
        if session_id is not None:
            query = query.where(ReminderRow.session_id == session_id)
        return tuple(
            Cause(
                reason=mapping.reason(reason),
                reminders=count,
                sessions=sessions,
                redrivable=can_be_sent,
                newest_due_at=newest,
            )
            for reason, count, sessions, can_be_sent, newest in await self.database.tuples(query)
        )

    async def of_cause(
        self,
        reason: StatusReason | None,
        now: datetime,
        *,
        since: datetime,
        session_id: UUID | None = None,
    ) -> tuple[FailedReminder, ...]:
        """Failures of one reason, the newest due instant first, `EXAMPLES` at the most.

        Args:
            reason: Which.
            now: Decides which sessions have begun.
            since: Leave out what was due before.
            session_id: Only of this session.
        """
        of_its_session = SessionRow.id == ReminderRow.session_id
        query = (
            select(
                ReminderRow.__table__,
                exists().where(of_its_session, can_still_be_sent(now)).label("is_redrivable"),
            )
            .where(
                ReminderRow.email_status == ReminderStatus.FAILED,
                ReminderRow.status_reason == reason,
                ReminderRow.due_at >= since,
                exists().where(of_its_session),
            )
            .order_by(ReminderRow.due_at.desc(), ReminderRow.id.desc())
            .limit(EXAMPLES)
        )
        if session_id is not None:
            query = query.where(ReminderRow.session_id == session_id)
        return tuple(
            FailedReminder(reminder=mapping.reminder(row), is_redrivable=row["is_redrivable"])
            for row in await self.database.rows(query)
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
    is_cancelled = SessionRow.status == SessionStatus.CANCELLED
    tells_so = ReminderRow.reminder_type == Notice.CANCELLED
    return (
        (SessionRow.start_time > now)
        & (is_cancelled == tells_so)
        & ~exists().where(of_the_same, is_once_more | went_out_later).correlate(ReminderRow)
    )


_LATE = timedelta(minutes=1)
"""After this, a reminder that waits is overdue, and a frozen one in doubt."""
_WINDOW = timedelta(days=1)
_RECENT = timedelta(minutes=10)

_STATE = typed(f"""
SELECT (SELECT count(*) FROM session_reminder_emails r WHERE {overdue("r", ":late")}) AS overdue,
       (SELECT coalesce(sum(cardinality(reminder_ids)), 0) FROM email_batches
         WHERE state = 'frozen' AND frozen_at < :late) AS in_doubt,
       (SELECT coalesce(sum(cardinality(b.reminder_ids)), 0) FROM email_batches b
         WHERE b.state = 'frozen' AND NOT {belongs_here("b")}) AS stranded,
       (SELECT count(DISTINCT (delivery_mode, coalesce(sink, ''))) FROM email_batches
         WHERE state = 'settled' AND settled_at > :recent) AS destinations,
       p.held_until, p.held_because, p.held_sender, p.held_detail, clock_timestamp() AS database_now
  FROM (VALUES (1)) AS one LEFT JOIN provider_pace p ON {HELD}
""")  # noqa: S608 - composed of constants

_QUOTAS = typed(
    "SELECT quota, used, quota_limit, resets_at FROM provider_usage WHERE resets_at > :now"
)

# By status, so that the index on status and instant answers it alone.
_ROWS = typed("""
SELECT s.status, (SELECT count(*) FROM session_reminder_emails r
                   WHERE r.email_status = s.status AND r.due_at BETWEEN :since AND :until) AS rows
  FROM unnest(CAST(:statuses AS text[])) AS s (status)
""")


@dataclass(frozen=True, slots=True)
class LedgerGauges:
    """`LedgerReader` on PostgreSQL."""

    database: Database
    clock: Clock
    """Decides what is late."""
    destination: Destination | None = None
    """Where the e-mails of this process go; absent means to the attendees."""
    machine: Clock | None = None
    """The machine's own, which is compared with PostgreSQL's; absent is the same."""
    expects_events: bool = False
    """Whether the provider's webhook leads here."""

    async def state(self) -> LedgerState:
        """See `LedgerReader.state`."""
        now, machine = self.clock.now(), self.machine or self.clock
        asked = machine.now()
        here_ = here(self.destination or Destination())
        async with self.database.autocommit() as connection:
            found = await connection.execute(
                _STATE, {"late": now - _LATE, "recent": now - _RECENT, **here_}
            )
            one, answered = found.mappings().one(), machine.now()
            quotas = await connection.execute(_QUOTAS, {"now": now})
            rows = await connection.execute(
                _ROWS,
                {
                    "since": now - _WINDOW,
                    "until": now + _WINDOW,
                    "statuses": [status.value for status in ReminderStatus],
                },
            )
            arriving = await arrivals.state(connection, now)
        return LedgerState(
            overdue=one["overdue"],
            in_doubt=one["in_doubt"],
            stranded=one["stranded"],
            destinations=one["destinations"],
            hold=hold_of(one),
            quotas={
                row.quota: Quota(used=row.used, limit=row.quota_limit, resets_at=row.resets_at)
                for row in quotas
            },
            clock_skew=_skew(one["database_now"], asked, answered),
            rows={ReminderStatus(row.status): row.rows for row in rows},
            undelivered=arriving.undelivered,
            events_missing=self.expects_events and arriving.is_silent,
        )


def _skew(database: datetime, asked: datetime, answered: datetime) -> timedelta:
    """How far PostgreSQL's clock is ahead of ours; zero as far as the answer's way explains it."""
    if database < asked:
        return database - asked
    return max(database - answered, timedelta())
