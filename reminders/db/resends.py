"""Reminders that an operator asks for: once more, or now. Judged and written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, locks, plans, preferences
from reminders.db.audit import Action, By, Event
from reminders.db.engine import Database
from reminders.db.ledger import rows_of
from reminders.db.plans import Draft, PlannedEnrollment, Situation
from reminders.db.rules import effective_rules
from reminders.db.sql import AFTER_START, next_start, typed
from reminders.db.tables import ReminderRow
from reminders.domain.errors import ReminderNotFoundError
from reminders.domain.model import Reminder, Session
from reminders.domain.ports import Clock, Enrollment
from reminders.domain.resending import Circumstances, at_once, once_more, successor
from reminders.domain.revise import Revision, newest_of

_FIRST = UUID(int=0)

_FAILED = typed(f"""
SELECT r.session_id, r.user_id
  FROM session_reminder_emails r
  JOIN sessions s ON s.id = r.session_id AND s.start_time > :now
 WHERE r.email_status = 'failed'
   AND (s.status = 'cancelled') = (r.reminder_type = 'cancelled')
   AND (CAST(:session_id AS uuid) IS NULL OR r.session_id = :session_id)
   AND NOT EXISTS (
       SELECT FROM session_reminder_emails n
        WHERE n.session_id = r.session_id AND n.user_id = r.user_id
          AND n.reminder_type = r.reminder_type AND n.generation > r.generation)
 GROUP BY r.session_id, r.user_id
HAVING ({next_start("r.session_id")}, r.session_id, r.user_id)
       > ({AFTER_START}, :after_session, :after_user)
 ORDER BY {next_start("r.session_id")}, r.session_id, r.user_id LIMIT :limit
""")  # noqa: S608 - composed of constants


@dataclass(frozen=True, kw_only=True, slots=True)
class Requested:
    """A reminder that an operator asked for."""

    reminder: Reminder
    """As it now waits, or what became of it since."""
    planned: PlannedEnrollment | None
    """The enrollment's plan with it; absent when nothing of it waits."""
    is_new: bool
    """False when it was asked for before."""


@dataclass(frozen=True, slots=True)
class ReminderRequests:
    """Writes what operators ask for into the ledger, and finds what a redrive looks at."""

    database: Database
    clock: Clock
    """Judges what is due, and which sessions have begun."""

    async def resend(self, reminder_id: UUID, *, by: By, dry_run: bool = False) -> Requested:
        """Plan a reminder that has ended once more, as its next generation; safe to repeat.

        Args:
            reminder_id: The newest generation; one that has a next already gives that one.
            by: Who, and why, for the audit log.
            dry_run: Only judge, and write nothing.

        Raises:
            ReminderNotFoundError: If the ledger has no such row.
            SendRefusedError: If it may not be sent once more.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self.database.transaction() as connection:
            row, recorded, session, situation = await self._locked(connection, reminder_id)
            again = successor(row, recorded)
            is_new = again is None
            if again is None:
                circumstances = await self._circumstances(connection, row, session, situation)
                again = once_more(row, recorded, circumstances)
                if dry_run:
                    return Requested(reminder=again, planned=None, is_new=True)
                before = {"email_status": row.status, "status_reason": row.reason}
                event = _event(Action.REMINDER_RESENT, again, before, by)
                await audit.record(connection, event)
            revision = _with(again, recorded, added=(again,) if is_new else ())
            return await _written(connection, session, again, revision, situation, is_new=is_new)

    async def send_now(self, reminder_id: UUID, *, by: By) -> Requested:
        """Have a reminder that waits for its instant be due now; safe to repeat.

        Should its session move before it is out, it waits for its new instant as any other.

        Args:
            reminder_id: The newest generation.
            by: Who, and why, for the audit log.

        Raises:
            ReminderNotFoundError: If the ledger has no such row.
            SendRefusedError: If it may not be sent now.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self.database.transaction() as connection:
            row, recorded, session, situation = await self._locked(connection, reminder_id)
            circumstances = await self._circumstances(connection, row, session, situation)
            hastened = at_once(row, recorded, circumstances)
            is_new = hastened != row
            if is_new:
                before = {"due_at": row.due_at.isoformat()}
                event = _event(Action.REMINDER_SENT_NOW, hastened, before, by)
                await audit.record(connection, event)
            revision = _with(hastened, recorded, changed=(hastened,) if is_new else ())
            return await _written(connection, session, hastened, revision, situation, is_new=is_new)

    async def failed(
        self, session_id: UUID | None, *, after: Enrollment | None, limit: int
    ) -> Mapping[Enrollment, Sequence[Reminder]]:
        """Enrollments with a failed reminder whose session takes place and has not begun.

        Args:
            session_id: Only of this session.
            after: Continue behind this one.
            limit: At most this many.

        Returns:
            All ledger rows of each, whoever starts next first.
        """
        found = await self.database.tuples(
            _FAILED,
            {
                "now": self.clock.now(),
                "session_id": session_id,
                "after_session": after.session_id if after else _FIRST,
                "after_user": after.user_id if after else _FIRST,
                "limit": limit,
            },
        )
        enrollments = [Enrollment(*row) for row in found]
        recorded = await rows_of(self.database, enrollments)
        return {enrollment: recorded.get(enrollment, ()) for enrollment in enrollments}

    async def _locked(
        self, connection: AsyncConnection, reminder_id: UUID
    ) -> tuple[Reminder, tuple[Reminder, ...], Session, Situation]:
        """A reminder, all of its enrollment, its session and what else counts, locked."""
        found = await connection.execute(
            select(ReminderRow.session_id, ReminderRow.user_id).where(ReminderRow.id == reminder_id)
        )
        enrollment = found.one_or_none()
        if enrollment is None:
            raise ReminderNotFoundError(reminder_id)
        session_id, user_id = enrollment
        await locks.planning(connection, session_id, user_id)
        session = await plans.session(connection, session_id)
        recorded = await plans.recorded(connection, session_id, user_id)
        row = next((r for r in recorded if r.id == reminder_id), None)
        if row is None:
            raise ReminderNotFoundError(reminder_id)
        return row, recorded, session, await plans.situation(connection, session_id, user_id)

    async def _circumstances(
        self, connection: AsyncConnection, row: Reminder, session: Session, situation: Situation
    ) -> Circumstances:
        rules = await effective_rules(connection, session.id)
        return Circumstances(
            session=session,
            enrollment=situation.enrollment,
            rule=next((r for r in rules if r.reminder_type == row.reminder_type), None),
            stopped=preferences.stopped(situation.stopping, rules).get(row.reminder_type),
            now=self.clock.now(),
        )


async def _written(
    connection: AsyncConnection,
    session: Session,
    reminder: Reminder,
    revision: Revision,
    situation: Situation,
    *,
    is_new: bool,
) -> Requested:
    if not reminder.status.is_pending:  # asked for before, and over since
        return Requested(reminder=reminder, planned=None, is_new=False)
    draft = Draft(user_id=reminder.user_id, revision=revision, situation=situation)
    [planned] = await plans.write(connection, session, [draft])
    return Requested(reminder=reminder, planned=planned, is_new=is_new)


def _event(action: Action, reminder: Reminder, before: Mapping[str, Any], by: By) -> Event:
    """What the audit log says of a reminder that somebody asked for."""
    return by.did(
        action,
        session_id=reminder.session_id,
        user_id=reminder.user_id,
        reminder_id=reminder.id,
        details={
            "reminder_type": reminder.reminder_type,
            "generation": reminder.generation,
            "before": before,
        },
    )


def _with(
    reminder: Reminder,
    recorded: tuple[Reminder, ...],
    *,
    added: tuple[Reminder, ...] = (),
    changed: tuple[Reminder, ...] = (),
) -> Revision:
    """The plan in which one reminder is added or changed, or already is as it is to be."""
    others = newest_of(r for r in recorded if r.reminder_type != reminder.reminder_type).values()
    as_is = () if added or changed else (reminder,)
    return Revision(added=added, changed=changed, unchanged=(*others, *as_is))
