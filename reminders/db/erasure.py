"""Erases a person from the database, in one transaction; what was sent stays counted.

The person's row stays as a shell without address or name, and so do the ledger's rows that hang
on it: they say that a reminder was sent, and no longer to whom. The id means something only to the
platform that gave it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from reminders.db import audit, locks, unconfirmed
from reminders.db.engine import Database
from reminders.db.provider_tables import WebhookEventRow
from reminders.db.tables import (
    CalendarRevisionRow,
    EnrollmentRow,
    ErasedUserRow,
    ReminderEventRow,
    ReminderPreferenceRow,
    ReminderRow,
    SessionRow,
    UserRow,
)
from reminders.domain.errors import UserNotFoundError
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.ports import Clock

NOBODY = "erased@erased.invalid"
"""In place of the address: no mail system takes it, and our own check refuses it before."""
_STILL_RUNNING = timedelta(days=1)
"""A workflow ends when its session starts; within this margin, at the latest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What was erased, or would be."""

    is_first: bool
    """False when this person was erased before."""
    cancelled: int
    """Reminders that waited."""
    in_flight: int
    """Reminders with the provider: their requests, addresses included, are purged once answered."""
    kept: int
    """Rows of the ledger that stay, without anything that leads to the person."""
    enrollments: int
    preferences: int
    calendar_entries: int
    webhook_events: int
    """Events that no longer name the provider's e-mail."""
    audit_entries: int
    """Entries that no longer have a reason in somebody's words."""
    sessions: tuple[UUID, ...]
    """Sessions of which a workflow of this person may still run."""


@dataclass(frozen=True, slots=True)
class ErasureStore:
    """Erases on PostgreSQL."""

    database: Database
    clock: Clock
    """Decides which workflows may still run."""

    async def erase(self, user_id: UUID, *, by: audit.By, dry_run: bool = False) -> Erased:
        """Erase a person. Safe to repeat: what has come since is erased as well.

        Args:
            user_id: Whom.
            by: Who, and why, for the audit log.
            dry_run: Do it all, count, and take it back.

        Raises:
            UserNotFoundError: If there is no such person, and never was.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was erased.
        """
        async with self.database.transaction() as connection:
            erased = await self._erase(connection, user_id, by)
            if dry_run:
                await connection.rollback()
        return erased

    async def _erase(self, connection: AsyncConnection, user_id: UUID, by: audit.By) -> Erased:
        # The order in which everybody locks: the person, enrollments, reminders by ascending id.
        await locks.person(connection, user_id)
        owned = self.database.host_schema is None
        await _must_be_known(connection, user_id, owned=owned)
        sessions = await self._sessions(connection, user_id)
        first = await connection.execute(
            upsert(ErasedUserRow).values(user_id=user_id).on_conflict_do_nothing()
        )
        enrollments = await _empty(connection, user_id) if owned else 0
        rows = (
            await connection.execute(
                select(ReminderRow.id, ReminderRow.email_status)
                .where(ReminderRow.user_id == user_id)
                .order_by(ReminderRow.id)
                .with_for_update()
            )
        ).all()
        cancelled = (await connection.execute(_cancel(user_id))).all()
        await unconfirmed.add_all(connection, [(row[0], row[1]) for row in cancelled])
        # The provider's words, and its ids, by which its own log leads to the address.
        await connection.execute(
            update(ReminderRow)
            .where(
                ReminderRow.user_id == user_id,
                or_(ReminderRow.last_error.is_not(None), ReminderRow.resend_email_id.is_not(None)),
            )
            .values(last_error=None, resend_email_id=None)
        )
        reminder_ids = select(ReminderRow.id).where(ReminderRow.user_id == user_id)
        events = await connection.execute(
            update(WebhookEventRow)
            .where(
                WebhookEventRow.reminder_id.in_(reminder_ids),
                WebhookEventRow.email_id.is_not(None),
            )
            .values(email_id=None)
        )
        preferences = await connection.execute(
            delete(ReminderPreferenceRow).where(ReminderPreferenceRow.user_id == user_id)
        )
        calendars = await connection.execute(
            delete(CalendarRevisionRow).where(CalendarRevisionRow.user_id == user_id)
        )
        notes = await connection.execute(
            update(ReminderEventRow)
            .where(
                ReminderEventRow.user_id == user_id,
                or_(
                    ReminderEventRow.reason.is_not(None),
                    ReminderEventRow.details.has_key("email_id"),
                ),
            )
            # With its id the provider's log tells to whom a test e-mail was addressed.
            .values(reason=None, details=ReminderEventRow.details.op("-")("email_id"))
        )
        erased = Erased(
            is_first=bool(first.rowcount),
            cancelled=len(cancelled),
            in_flight=sum(row.email_status == ReminderStatus.SENDING for row in rows),
            kept=len(rows),
            enrollments=enrollments,
            preferences=preferences.rowcount,
            calendar_entries=calendars.rowcount,
            webhook_events=events.rowcount,
            audit_entries=notes.rowcount,
            sessions=sessions,
        )
        await audit.record(
            connection,
            by.did(
                audit.Action.USER_ERASED,
                user_id=user_id,
                details={"cancelled": erased.cancelled, "kept": erased.kept},
            ),
        )
        return erased

    async def _sessions(self, connection: AsyncConnection, user_id: UUID) -> tuple[UUID, ...]:
        """From the ledger as well: at a repetition the enrollments are gone."""
        since = self.clock.now() - _STILL_RUNNING
        from_ledger = (
            select(ReminderRow.session_id)
            .outerjoin(SessionRow, SessionRow.id == ReminderRow.session_id)
            .where(
                ReminderRow.user_id == user_id,
                func.greatest(SessionRow.start_time, ReminderRow.starts_at) > since,
            )
        )
        enrolled = (
            select(EnrollmentRow.session_id)
            .join(SessionRow, SessionRow.id == EnrollmentRow.session_id)
            .where(EnrollmentRow.user_id == user_id, SessionRow.start_time > since)
        )
        return tuple(await connection.scalars(from_ledger.union(enrolled)))


async def _must_be_known(connection: AsyncConnection, user_id: UUID, *, owned: bool) -> None:
    signs = [exists().where(UserRow.id == user_id)]
    if not owned:  # the platform's row may be gone by now, and our view hides one who was erased
        signs += [
            exists().where(ErasedUserRow.user_id == user_id),
            exists().where(ReminderRow.user_id == user_id),
        ]
    if not await connection.scalar(select(or_(*signs))):
        raise UserNotFoundError(user_id)


async def _empty(connection: AsyncConnection, user_id: UUID) -> int:
    """Make a shell of the person's row, and end their enrollments; how many these were.

    An existing platform's rows are its own to erase; our views hide an erased person.
    """
    emptied = {column.name: None for column in UserRow.__table__.columns if column.nullable}
    await connection.execute(
        update(UserRow)
        .where(UserRow.id == user_id)
        .values(**emptied, email=NOBODY, updated_at=func.now())
    )
    ended = await connection.execute(delete(EnrollmentRow).where(EnrollmentRow.user_id == user_id))
    return ended.rowcount


def _cancel(user_id: UUID) -> ReturningUpdate[UUID, UUID]:
    return (
        update(ReminderRow)
        .where(ReminderRow.user_id == user_id, ReminderRow.email_status == ReminderStatus.SCHEDULED)
        .values(
            email_status=ReminderStatus.CANCELLED,
            status_reason=StatusReason.UNENROLLED,
            updated_at=func.now(),
        )
        .returning(ReminderRow.session_id, ReminderRow.user_id)
    )
