"""Plans enrollments: reads session, rules and ledger, and writes the plan, in one transaction.

All planning of one enrollment is serialised by an advisory lock, and every plan takes its version
inside that lock: of two plans the one with the higher version saw the newer state. Where we own the
session's row it is share-locked, so that an enrollment and a move of it cannot miss each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, preferences, records
from reminders.db.engine import Database
from reminders.db.platform import platform_of
from reminders.db.rules import effective_rules
from reminders.db.tables import (
    EnrollmentRow,
    ReminderRow,
    SessionRow,
    plan_versions,
)
from reminders.errors import (
    EnrollmentNotFoundError,
    ReminderNotFoundError,
    SessionNotFoundError,
)
from reminders.keys import session_reminder_workflow_id
from reminders.lead_in import COUNTED, lead_in
from reminders.model import (
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.plan import Revision, call_off, newest_of, plan, revise, withheld
from reminders.ports import Clock
from reminders.resending import once_more, successor

_SERIALISE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")

_ENROLLED = text("""
SELECT count(*) FROM (
    SELECT FROM enrollments WHERE session_id = :session_id AND status = 'confirmed' LIMIT :limit
) AS enrolled
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedEnrollment:
    """An enrollment's plan as it now stands in the ledger."""

    session: Session
    user_id: UUID
    reminders: tuple[Reminder, ...]
    """The newest generation of each type, earliest due first."""
    version: int
    is_first: bool
    """Whether the ledger had nothing of this enrollment before."""
    is_changed: bool
    """Whether this call changed the ledger."""
    cancelled: int = 0
    """Reminders that this call called off."""
    written: int = 0
    """Reminders that this call added, moved or closed."""
    called_off: StatusReason | None = None
    """Why nothing of it is wanted any more; absent while somebody is to be reminded."""
    lead_in: timedelta | None = None
    """How long before a due instant its workflow wakes."""

    @property
    def has_pending(self) -> bool:
        """Whether a workflow has something left to do."""
        return any(r.status.is_pending for r in self.reminders)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resent:
    """A reminder that goes out once more."""

    reminder: Reminder
    """The new generation."""
    planned: PlannedEnrollment | None
    """The enrollment's plan with it; absent when it was asked for before, and has ended."""
    is_new: bool
    """False when it was asked for before."""


class EnrollmentPlanner:
    """Writes plans into the ledger."""

    def __init__(
        self, database: Database, clock: Clock, *, resend_threshold: timedelta = timedelta(hours=1)
    ) -> None:
        """Plan with this database and clock.

        Args:
            database: Migrated.
            clock: Decides what is past due.
            resend_threshold: How far a session must move so that a reminder already sent is sent
                once more.
        """
        self._database = database
        self._platform = platform_of(database)
        self._clock = clock
        self._threshold = resend_threshold

    async def enroll(
        self,
        session_id: UUID,
        user_id: UUID,
        enrollment_id: UUID | None = None,
        *,
        status: EnrollmentStatus = EnrollmentStatus.CONFIRMED,
    ) -> PlannedEnrollment:
        """Enroll a person, or confirm that they are, and plan their reminders.

        May run any number of times: the second plan finds the rows of the first. After a
        cancellation, what was cancelled and still lies ahead is planned as a new generation.

        Args:
            session_id: In what.
            user_id: Whom.
            enrollment_id: The platform's own id.
            status: `pending` plans nothing yet, and never takes a confirmation back: the call may
                be the repetition of an earlier one.

        Raises:
            SessionNotFoundError: If there is no such session.
            UserNotFoundError: If there is no such user, or they were erased.
            EnrollmentNotFoundError: If an existing platform has not enrolled them itself.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self._database.transaction() as connection:
            await _serialise(connection, session_id, user_id)
            session = await self._session(connection, session_id)
            await self._platform.enroll(connection, session_id, user_id, enrollment_id, status)
            return await self._plan(connection, session, user_id, enrolling=True)

    async def replan(self, session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """Plan an existing enrollment anew, after its session or a rule changed.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person is not enrolled.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self._database.transaction() as connection:
            await _serialise(connection, session_id, user_id)
            session = await self._session(connection, session_id)
            if await _enrollment_status(connection, session_id, user_id) is None:
                raise EnrollmentNotFoundError
            return await self._plan(connection, session, user_id, enrolling=False)

    async def reconcile(
        self, session_id: UUID, user_id: UUID, *, dry_run: bool = False
    ) -> PlannedEnrollment:
        """Plan as `replan` does; an enrollment that the platform has deleted is called off.

        Args:
            session_id: Whose.
            user_id: Whose.
            dry_run: Only say what it would do.

        Raises:
            SessionNotFoundError: If there is no such session; see `close_waiting`.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self._database.transaction() as connection:
            await _serialise(connection, session_id, user_id)
            session = await self._session(connection, session_id)
            planned = await self._plan(connection, session, user_id, enrolling=False)
            if dry_run:
                await connection.rollback()
            return planned

    async def close_waiting(
        self,
        session_id: UUID,
        user_id: UUID,
        reason: StatusReason,
        *,
        planned_before: datetime | None = None,
    ) -> int:
        """Cancel what still waits, whatever session and rules say; safe to repeat.

        Args:
            session_id: Whose; may be gone.
            user_id: Whose.
            reason: Why.
            planned_before: Leave alone what was planned from this instant on.

        Returns:
            How many reminders were cancelled.
        """
        close = update(ReminderRow).where(
            ReminderRow.session_id == session_id,
            ReminderRow.user_id == user_id,
            ReminderRow.email_status == ReminderStatus.SCHEDULED,
        )
        if planned_before is not None:
            close = close.where(ReminderRow.created_at < planned_before)
        async with self._database.transaction() as connection:
            await _serialise(connection, session_id, user_id)
            await _recorded(connection, session_id, user_id)  # locks them in their order
            closed = await connection.execute(
                close.values(
                    email_status=ReminderStatus.CANCELLED,
                    status_reason=reason,
                    updated_at=func.now(),
                )
            )
        return closed.rowcount

    async def unenroll(self, session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """End an enrollment and call off what is still waiting; safe to repeat.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self._database.transaction() as connection:
            await _serialise(connection, session_id, user_id)
            session = await self._session(connection, session_id)
            await self._platform.end(connection, session_id, user_id)
            recorded = await _recorded(connection, session_id, user_id)
            called_off = StatusReason.UNENROLLED
            revision = call_off(recorded, called_off)
            return await self._write(connection, session, user_id, revision, called_off=called_off)

    async def resend(
        self, reminder_id: UUID, *, reason: str, actor: str, dry_run: bool = False
    ) -> Resent:
        """Plan a reminder that has ended once more, as its next generation; safe to repeat.

        Args:
            reminder_id: The newest generation; one that has a next already gives that one.
            reason: Why, for the audit log.
            actor: Who, for the audit log.
            dry_run: Only judge, and write nothing.

        Raises:
            ReminderNotFoundError: If the ledger has no such row.
            ResendRefusedError: If it may not be sent once more.
            InvalidInputError: If the reason is too long.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self._database.transaction() as connection:
            of = await connection.execute(
                select(ReminderRow.session_id, ReminderRow.user_id).where(
                    ReminderRow.id == reminder_id
                )
            )
            enrollment = of.one_or_none()
            if enrollment is None:
                raise ReminderNotFoundError
            session_id, user_id = enrollment
            await _serialise(connection, session_id, user_id)
            session = await self._session(connection, session_id)
            recorded = await _recorded(connection, session_id, user_id)
            row = next((r for r in recorded if r.id == reminder_id), None)
            if row is None:
                raise ReminderNotFoundError
            again = successor(row, recorded)
            is_new = again is None
            if again is None:
                again = await self._once_more(connection, row, recorded, session)
                if dry_run:
                    return Resent(reminder=again, planned=None, is_new=True)
                await audit.record(
                    connection,
                    audit.Event(
                        action=audit.Action.REMINDER_RESENT,
                        actor=actor,
                        reason=reason,
                        session_id=session_id,
                        user_id=user_id,
                        reminder_id=again.id,
                        details={
                            "reminder_type": again.reminder_type,
                            "generation": again.generation,
                            "before": {"email_status": row.status, "status_reason": row.reason},
                        },
                    ),
                )
            if not is_new and not again.status.is_pending:
                return Resent(reminder=again, planned=None, is_new=False)
            others = newest_of(r for r in recorded if r.reminder_type != row.reminder_type)
            revision = Revision(
                added=(again,) if is_new else (),
                changed=(),
                unchanged=(*others.values(), *(() if is_new else (again,))),
            )
            planned = await self._write(connection, session, user_id, revision)
            planned = await _led_in(connection, planned, is_newest=False)
            return Resent(reminder=again, planned=planned, is_new=is_new)

    async def _once_more(
        self,
        connection: AsyncConnection,
        row: Reminder,
        recorded: tuple[Reminder, ...],
        session: Session,
    ) -> Reminder:
        rules = await effective_rules(connection, session.id)
        stopped = await preferences.stopped(connection, session.id, row.user_id, rules)
        return once_more(
            row,
            recorded,
            session=session,
            enrollment=await _enrollment_status(connection, session.id, row.user_id),
            rule=next((r for r in rules if r.reminder_type == row.reminder_type), None),
            stopped=stopped.get(row.reminder_type),
            now=self._clock.now(),
        )

    async def _session(self, connection: AsyncConnection, session_id: UUID) -> Session:
        query = select(SessionRow.__table__).where(SessionRow.id == session_id)
        if self._platform.locks_sessions:
            query = query.with_for_update(read=True)
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise SessionNotFoundError
        return records.session(row)

    async def _plan(
        self, connection: AsyncConnection, session: Session, user_id: UUID, *, enrolling: bool
    ) -> PlannedEnrollment:
        recorded = await _recorded(connection, session.id, user_id)
        status = await _enrollment_status(connection, session.id, user_id)
        called_off = None
        if session.status is SessionStatus.CANCELLED:
            called_off = StatusReason.SESSION_CANCELLED
        elif status is None or status is EnrollmentStatus.CANCELLED:
            called_off = StatusReason.UNENROLLED
        if called_off is not None:
            revision = call_off(recorded, called_off)
        else:
            rules = await effective_rules(connection, session.id)
            wanted = plan(session.starts_at, rules, now=self._clock.now())
            if status is EnrollmentStatus.PENDING:
                reasons: Mapping[str, StatusReason] = {
                    rule.reminder_type: StatusReason.UNCONFIRMED for rule in rules
                }
            else:
                reasons = await preferences.stopped(connection, session.id, user_id, rules)
            revision = revise(
                withheld(wanted, reasons),
                recorded,
                session_id=session.id,
                user_id=user_id,
                starts_at=session.starts_at,
                threshold=self._threshold,
                enrolling=enrolling,
            )
        planned = await self._write(
            connection, session, user_id, revision, first=not recorded, called_off=called_off
        )
        return await _led_in(connection, planned, is_newest=enrolling and not recorded)

    async def _write(
        self,
        connection: AsyncConnection,
        session: Session,
        user_id: UUID,
        revision: Revision,
        *,
        first: bool = False,
        called_off: StatusReason | None = None,
    ) -> PlannedEnrollment:
        workflow_id = session_reminder_workflow_id(session.id, user_id)
        if revision.added:
            await connection.execute(
                insert(ReminderRow), [_values(r, workflow_id) for r in revision.added]
            )
        for changed in revision.changed:
            await connection.execute(
                update(ReminderRow)
                .where(ReminderRow.id == changed.id)
                .values(
                    due_at=changed.due_at,
                    starts_at=changed.starts_at,
                    email_status=changed.status,
                    status_reason=changed.reason,
                    updated_at=func.now(),
                )
            )
        version = await connection.scalar(select(plan_versions.next_value()))
        return PlannedEnrollment(
            session=session,
            user_id=user_id,
            reminders=revision.reminders,
            version=version or 0,
            is_first=first,
            is_changed=not revision.is_empty,
            cancelled=sum(r.status is ReminderStatus.CANCELLED for r in revision.changed),
            written=len(revision.added) + len(revision.changed),
            called_off=called_off,
        )


async def _led_in(
    connection: AsyncConnection, planned: PlannedEnrollment, *, is_newest: bool
) -> PlannedEnrollment:
    """The plan with the time by which its workflow wakes early."""
    if not planned.has_pending:
        return planned
    enrolled = await connection.scalar(
        _ENROLLED, {"session_id": planned.session.id, "limit": COUNTED}
    )
    early = lead_in(enrolled or 0, planned.user_id, is_newest=is_newest)
    return replace(planned, lead_in=early)


async def _serialise(connection: AsyncConnection, session_id: UUID, user_id: UUID) -> None:
    await connection.execute(_SERIALISE, {"key": session_reminder_workflow_id(session_id, user_id)})


async def _recorded(
    connection: AsyncConnection, session_id: UUID, user_id: UUID
) -> tuple[Reminder, ...]:
    """The enrollment's ledger rows, locked in the order in which deliveries lock them too."""
    found = await connection.execute(
        select(ReminderRow.__table__)
        .where(ReminderRow.session_id == session_id, ReminderRow.user_id == user_id)
        .order_by(ReminderRow.id)
        .with_for_update()
    )
    return tuple(records.reminder(row) for row in found.mappings())


async def _enrollment_status(
    connection: AsyncConnection, session_id: UUID, user_id: UUID
) -> EnrollmentStatus | None:
    status = await connection.scalar(
        select(EnrollmentRow.status).where(
            EnrollmentRow.session_id == session_id, EnrollmentRow.user_id == user_id
        )
    )
    return EnrollmentStatus(status) if status else None


def _values(reminder: Reminder, workflow_id: str) -> dict[str, Any]:
    return {
        "id": reminder.id,
        "session_id": reminder.session_id,
        "user_id": reminder.user_id,
        "reminder_type": reminder.reminder_type,
        "generation": reminder.generation,
        "due_at": reminder.due_at,
        "starts_at": reminder.starts_at,
        "email_status": reminder.status,
        "status_reason": reminder.reason,
        "requested_at": reminder.requested_at,
        "workflow_id": workflow_id,
    }
