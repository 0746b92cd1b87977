"""What a call to us changes of the platform's own data: rows of ours, or tombstones beside its.

In owned mode sessions and enrollments are rows that we write. An existing platform's rows are only
read, and no lock is taken on them: what is called off with us is remembered in a table of ours,
the tombstones, which our views (`reminders.db.existing_platform`) lay over its rows.

Callers hold the locks of `reminders.db.locks`.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import Database
from reminders.db.sql import typed
from reminders.db.tables import (
    EnrollmentRow,
    SessionRow,
    TombstoneRow,
    UserRow,
)
from reminders.domain.errors import (
    EnrollmentNotFoundError,
    InvalidInputError,
    SessionNotFoundError,
    UserNotFoundError,
)
from reminders.domain.model import EnrollmentStatus, SessionStatus

_ENROLL = typed("""
INSERT INTO enrollments (id, session_id, user_id, status)
VALUES (coalesce(:id, gen_random_uuid()), :session_id, :user_id, :status)
ON CONFLICT (session_id, user_id) DO UPDATE SET status = excluded.status, updated_at = now()
 WHERE enrollments.status <> 'confirmed' OR excluded.status <> 'pending'
""")


class OwnedPlatform:
    """The tables are ours: their rows are written."""

    async def enroll(
        self,
        connection: AsyncConnection,
        session_id: UUID,
        user_id: UUID,
        enrollment_id: UUID | None,
        status: EnrollmentStatus,
    ) -> None:
        """Enroll a person, or confirm that they are; safe to repeat.

        Raises:
            UserNotFoundError: If there is no such user.
            EnrollmentNotFoundError: If the platform has to enroll them itself, and has not.
            InvalidInputError: If `enrollment_id` belongs to another enrollment.
        """
        row = {"id": enrollment_id, "session_id": session_id, "user_id": user_id, "status": status}
        try:
            await connection.execute(_ENROLL, row)
        except IntegrityError as error:
            if "fk_enrollments_user_id" in str(error.orig):
                raise UserNotFoundError from error
            msg = "enrollment_id belongs to another enrollment; leave it out or send its own"
            raise InvalidInputError(msg, field="enrollment_id") from error

    async def end(self, connection: AsyncConnection, session_id: UUID, user_id: UUID) -> None:
        """End an enrollment; safe to repeat.

        Raises:
            EnrollmentNotFoundError: If the person never was enrolled.
        """
        ended = await connection.execute(
            update(EnrollmentRow)
            .where(EnrollmentRow.session_id == session_id, EnrollmentRow.user_id == user_id)
            .values(status=EnrollmentStatus.CANCELLED, updated_at=func.now())
        )
        if ended.rowcount == 0:
            raise EnrollmentNotFoundError

    async def call_off(self, connection: AsyncConnection, session_id: UUID) -> None:
        """Cancel a session, for everybody and for those who enroll later; safe to repeat.

        Raises:
            SessionNotFoundError: If there is none.
        """
        await self._set(connection, session_id, SessionStatus.CANCELLED)

    async def restore(self, connection: AsyncConnection, session_id: UUID) -> None:
        """Take `call_off` back; safe to repeat.

        Raises:
            SessionNotFoundError: If there is none.
        """
        await self._set(connection, session_id, SessionStatus.SCHEDULED)

    async def _set(
        self, connection: AsyncConnection, session_id: UUID, status: SessionStatus
    ) -> None:
        found = await connection.execute(
            update(SessionRow)
            .where(SessionRow.id == session_id)
            .values(status=status, updated_at=func.now())
        )
        if found.rowcount == 0:
            raise SessionNotFoundError


class ExistingPlatform:
    """The tables are the platform's: what is called off with us is a tombstone beside its row."""

    async def enroll(
        self,
        connection: AsyncConnection,
        session_id: UUID,
        user_id: UUID,
        enrollment_id: UUID | None,  # noqa: ARG002 - the platform's row has its own
        status: EnrollmentStatus,  # noqa: ARG002 - as the platform's row says
    ) -> None:
        """As `OwnedPlatform.enroll`."""
        if not await connection.scalar(select(exists().where(UserRow.id == user_id))):
            raise UserNotFoundError
        await self._see_enrolled(connection, session_id, user_id)
        await connection.execute(
            delete(TombstoneRow).where(
                TombstoneRow.session_id == session_id, TombstoneRow.user_id == user_id
            )
        )

    async def end(self, connection: AsyncConnection, session_id: UUID, user_id: UUID) -> None:
        """As `OwnedPlatform.end`."""
        await self._see_enrolled(connection, session_id, user_id)
        await self._bury(connection, session_id, user_id)

    async def call_off(self, connection: AsyncConnection, session_id: UUID) -> None:
        """As `OwnedPlatform.call_off`."""
        await self._see_session(connection, session_id)
        await self._bury(connection, session_id, None)

    async def restore(self, connection: AsyncConnection, session_id: UUID) -> None:
        """As `OwnedPlatform.restore`."""
        await self._see_session(connection, session_id)
        await connection.execute(
            delete(TombstoneRow).where(
                TombstoneRow.session_id == session_id, TombstoneRow.user_id.is_(None)
            )
        )

    async def _see_enrolled(
        self, connection: AsyncConnection, session_id: UUID, user_id: UUID
    ) -> None:
        row = exists().where(
            EnrollmentRow.session_id == session_id, EnrollmentRow.user_id == user_id
        )
        if not await connection.scalar(select(row)):
            msg = "the platform has no such enrollment; let it commit its own before it calls"
            raise EnrollmentNotFoundError(msg)

    async def _see_session(self, connection: AsyncConnection, session_id: UUID) -> None:
        if not await connection.scalar(select(exists().where(SessionRow.id == session_id))):
            raise SessionNotFoundError

    async def _bury(
        self, connection: AsyncConnection, session_id: UUID, user_id: UUID | None
    ) -> None:
        await connection.execute(
            upsert(TombstoneRow)
            .values(session_id=session_id, user_id=user_id)
            # Anew: who has come back in between has left again.
            .on_conflict_do_update(
                constraint="uq_reminder_tombstones_scope", set_={"created_at": func.now()}
            )
        )


def platform_of(database: Database) -> OwnedPlatform | ExistingPlatform:
    """What writes sessions and enrollments of a database, by its mode."""
    return OwnedPlatform() if database.host_schema is None else ExistingPlatform()
