"""The audit log: what people and programs did to reminders, by whom and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import insert, literal, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import Database
from reminders.db.sql import among
from reminders.db.tables import ReminderEventRow
from reminders.domain.errors import InvalidInputError

LONGEST_REASON = 500
"""Code points of a reason; what is longer is refused where it comes in."""


class Action(StrEnum):
    """What was done."""

    SESSION_CANCELLED = "session_cancelled"
    """A session was cancelled, for everybody."""
    SESSION_MOVED = "session_moved"
    """A session was stored with another start."""
    SESSION_CHANGED = "session_changed"
    """A session was stored with other words; its start and status stayed."""
    ENROLLED = "enrolled"
    """A person was enrolled by hand, or confirmed, or once more; without a person, those of a file.
    The enrollments and the ledger themselves show whom a platform enrolls for the first time."""
    UNENROLLED = "unenrolled"
    """One enrollment was ended."""
    RULE_ADDED = "rule_added"
    """A reminder rule was added, for all sessions or for one."""
    RULE_CHANGED = "rule_changed"
    """A reminder rule was changed, switched on or off."""
    RULE_DELETED = "rule_deleted"
    """A reminder rule was deleted."""
    REMINDER_RESENT = "reminder_resent"
    """An operator asked for a reminder once more; it goes out as a new generation."""
    REMINDER_SENT_NOW = "reminder_sent_now"
    """An operator had a reminder that waited sent at once."""
    PREFERENCES_CHANGED = "preferences_changed"
    """A person is not to be reminded of something any more, or is again."""
    USER_ERASED = "user_erased"
    """A person's data was erased."""
    SESSION_RESTORED = "session_restored"
    """A cancelled session was restored."""
    SESSION_REPLANNED = "session_replanned"
    """All enrollments of a session were planned anew."""
    FAILED_REDRIVEN = "failed_redriven"
    """An operator had failed reminders sent once more, as many as still are of use."""
    TEST_SENT = "test_sent"
    """An e-mail was sent to the test recipient, to look at."""
    SWEEP_STARTED = "sweep_started"
    """A sweep was started by hand."""
    BACKFILLED = "backfilled"
    """Who was enrolled already was brought in; with what was counted until it ended."""
    CRON_IMPORTED = "cron_imported"
    """The rules of a cron job, and what it had sent, were taken over."""
    CUT_OVER = "cut_over"
    """Sessions were taken over from a cron job: from then on their reminders are ours to send."""
    DELIVERY_RESUMED = "delivery_resumed"
    """A held queue was set going again."""
    LEDGER_RESTORED = "ledger_restored"
    """A ledger restored from a backup was brought up to what was sent since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One entry of the audit log; says nothing that identifies a person but by id."""

    action: Action
    actor: str
    """See `By`."""
    reason: str | None = None
    """In the actor's words."""
    session_id: UUID | None = None
    user_id: UUID | None = None
    reminder_id: UUID | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON: counts, and what was before and after."""
    id: int | None = None
    """Set by the database; ascending."""
    happened_at: datetime | None = None
    """Set by the database."""


@dataclass(frozen=True, slots=True)
class By:
    """Who does something, and why."""

    actor: str
    """`api`, `api:<key>`, `cli`, `admin:<name>`, `attendee`, `host`, ..."""
    reason: str | None = None
    """In their words; checked before anything is done."""

    def __post_init__(self) -> None:
        """Refuse what the audit log could not keep.

        Raises:
            InvalidInputError: If the reason is too long.
        """
        _check(self.reason)

    def did(self, action: Action, **about: Any) -> Event:  # noqa: ANN401 - the fields of `Event`
        """The entry that says so."""
        return Event(action=action, actor=self.actor, reason=self.reason, **about)


def _check(reason: str | None) -> None:
    if reason is not None and len(reason) > LONGEST_REASON:
        raise InvalidInputError(f"at most {LONGEST_REASON} characters", field="reason")


HOST = By("host")
"""A Python host that does not say who."""
ATTENDEE = By("attendee")
"""Somebody who follows a link of an e-mail."""


async def record(connection: AsyncConnection, event: Event) -> int:
    """Add an entry, in the transaction of what it records.

    Returns:
        Its id.

    Raises:
        InvalidInputError: If the reason is longer than 500 characters.
    """
    _check(event.reason)
    added = await connection.execute(
        insert(ReminderEventRow).values(_values(event)).returning(ReminderEventRow.id)
    )
    return added.scalar_one()


async def record_all(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """As `record`, for many."""
    for event in events:
        _check(event.reason)
    if events:
        await connection.execute(insert(ReminderEventRow), [_values(event) for event in events])


def _values(event: Event) -> dict[str, Any]:
    return {
        "action": event.action,
        "actor": event.actor,
        "reason": event.reason,
        "session_id": event.session_id,
        "user_id": event.user_id,
        "reminder_id": event.reminder_id,
        "details": dict(event.details),
    }


def _event(row: Mapping[Any, Any]) -> Event:
    return Event(**{**row, "action": Action(row["action"])})


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The entries, the newest first."""

    database: Database

    async def record(self, event: Event) -> int:
        """Add an entry that belongs to no transaction of ours; its id."""
        async with self.database.transaction() as connection:
            return await record(connection, event)

    async def add(self, event_id: int, details: Mapping[str, Any]) -> None:
        """Add to an entry what is known only later, such as what the work has come to."""
        added = literal(dict(details), JSONB)
        async with self.database.autocommit() as connection:
            await connection.execute(
                update(ReminderEventRow)
                .where(ReminderEventRow.id == event_id)
                .values(details=ReminderEventRow.details.op("||")(added))
            )

    async def entry(self, event_id: int) -> Event | None:
        """One entry; `None` if there is none."""
        query = select(ReminderEventRow.__table__).where(ReminderEventRow.id == _known(event_id))
        row = await self.database.row(query)
        return _event(row) if row else None

    async def instants(
        self, action: Action, *, since: datetime, limit: int
    ) -> tuple[datetime, ...]:
        """When something was last done, up to `limit` times; the earliest first.

        Args:
            action: What.
            since: Leave out what was before; aware.
            limit: At most this many.
        """
        query = (
            select(ReminderEventRow.happened_at)
            .where(ReminderEventRow.happened_at > since, ReminderEventRow.action == action)
            .order_by(ReminderEventRow.happened_at.desc())
            .limit(limit)
        )
        return tuple(at for (at,) in reversed(await self.database.tuples(query)))

    async def of_enrollment(
        self, session_id: UUID, user_id: UUID, *, limit: int = 50
    ) -> tuple[Event, ...]:
        """What was done to an enrollment, or to its whole session; the newest first."""
        entries = among(ReminderEventRow, {"session_id": session_id})
        query = (
            select(entries)
            .where((entries.c.user_id == user_id) | entries.c.user_id.is_(None))
            .order_by(entries.c.id.desc())
            .limit(limit)
        )
        return tuple(_event(row) for row in await self.database.rows(query))

    async def entries(
        self,
        *,
        session_id: UUID | None = None,
        user_id: UUID | None = None,
        action: Action | None = None,
        actor: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> tuple[Event, ...]:
        """A page of entries, the newest first.

        Args:
            session_id: Only about this session.
            user_id: Only about this person.
            action: Only of this kind.
            actor: Only of whoever is called so, or of all whose kind it is, such as `admin`.
            before: Only older ones: the id of the last entry of the page before.
            limit: At most this many.
        """
        entries = among(ReminderEventRow, {"session_id": session_id, "user_id": user_id})
        query = select(entries).order_by(entries.c.id.desc()).limit(limit)
        if action is not None:
            query = query.where(entries.c.action == action)
        if actor is not None:
            whose = entries.c.actor
            query = query.where((whose == actor) | whose.startswith(f"{actor}:", autoescape=True))
        if before is not None:
            query = query.where(entries.c.id < _known(before))
        return tuple(_event(row) for row in await self.database.rows(query))


def _known(event_id: int) -> int:
    """An id of an entry, however far beyond all that a column holds."""
    return min(max(event_id, 0), 2**63 - 1)
