"""What a call to us changes of the platform's own data: rows of ours, or tombstones beside its.

In owned mode sessions and enrollments are rows that we write. An existing platform's rows are only
read, and no lock is taken on them: what is called off with us is remembered in a table of ours,
the tombstones, which our views (`reminders.db.existing_platform`) lay over its rows.

Callers hold the locks of `reminders.db.locks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
)
from reminders.domain.errors import (
    DatabaseUnavailableError,
    EnrollmentNotFoundError,
    InvalidInputError,
    ReminderError,
    SessionNotFoundError,
    UserNotFoundError,
)
from reminders.domain.model import Enrollee, EnrollmentStatus, SessionStatus

_ENROLL = typed("""
WITH asked AS (
    SELECT a.*, count(a.id) OVER (PARTITION BY a.id) > 1 AS is_twice
      FROM unnest(:users, :ids, :statuses, :links) AS a (user_id, id, status, join_url)
), looked_at AS (
    SELECT a.user_id, a.id, a.status, a.join_url,
           NOT EXISTS (SELECT FROM users u WHERE u.id = a.user_id)
           OR EXISTS (SELECT FROM erased_users x WHERE x.user_id = a.user_id) AS is_unknown,
           CASE WHEN e.id IS NULL THEN a.is_twice
                ELSE e.session_id <> :session_id OR e.user_id <> a.user_id END AS is_taken
      FROM asked a LEFT JOIN enrollments e ON e.id = a.id
), enrolled AS (
    INSERT INTO enrollments AS e (id, session_id, user_id, status, join_url)
    SELECT coalesce(k.id, gen_random_uuid()), :session_id, k.user_id, k.status, k.join_url
      FROM looked_at k WHERE NOT k.is_unknown AND NOT k.is_taken
     ORDER BY k.user_id
    ON CONFLICT (session_id, user_id) DO UPDATE
       SET status = CASE WHEN e.status = 'confirmed' THEN e.status ELSE excluded.status END,
           join_url = nullif(coalesce(excluded.join_url, e.join_url), ''), updated_at = now()
     WHERE e.status <> 'confirmed' OR excluded.status <> 'pending'
           OR excluded.join_url IS NOT NULL)
SELECT k.user_id, k.is_unknown FROM looked_at k WHERE k.is_unknown OR k.is_taken
""")

_KNOWN = typed("""
SELECT a.user_id, EXISTS (SELECT FROM users u WHERE u.id = a.user_id) AS is_known,
       EXISTS (SELECT FROM enrollments e
                WHERE e.session_id = :session_id AND e.user_id = a.user_id) AS is_enrolled
  FROM unnest(:users) AS a (user_id)
""")

Refused = Mapping[UUID, ReminderError]
"""Why not, by person."""


class OwnedPlatform:
    """The tables are ours: their rows are written."""

    async def enroll(
        self, connection: AsyncConnection, session_id: UUID, people: Sequence[Enrollee]
    ) -> Refused:
        """Enroll people, or confirm that they are; safe to repeat.

        Args:
            connection: In a transaction that holds their locks.
            session_id: In what.
            people: Each once.

        Returns:
            Who is not, with `UserNotFoundError` if there is no such user, `EnrollmentNotFoundError`
            if the platform has to enroll them itself and has not, and `InvalidInputError` if
            their `enrollment_id` belongs to another enrollment.

        Raises:
            DatabaseUnavailableError: If somebody else takes one of the ids at this moment.
        """
        asked = {
            "session_id": session_id,
            "users": [person.user_id for person in people],
            "ids": [person.enrollment_id for person in people],
            "statuses": [person.status for person in people],
            "links": [person.join_url for person in people],
        }
        try:
            refused = (await connection.execute(_ENROLL, asked)).all()
        except IntegrityError as error:
            msg = "somebody else enrolls the same people at this moment; repeat the call"
            raise DatabaseUnavailableError(msg) from error
        return {u: UserNotFoundError(u) if is_unknown else _taken() for u, is_unknown in refused}

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
            raise EnrollmentNotFoundError(session_id, user_id)

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
            raise SessionNotFoundError(session_id)


class ExistingPlatform:
    """The tables are the platform's: what is called off with us is a tombstone beside its row."""

    async def enroll(
        self, connection: AsyncConnection, session_id: UUID, people: Sequence[Enrollee]
    ) -> Refused:
        """As `OwnedPlatform.enroll`; ids and statuses are as the platform's rows say.

        So are people's own links: who brings one is refused with `InvalidInputError`.
        """
        asked = {"session_id": session_id, "users": [person.user_id for person in people]}
        rows = (await connection.execute(_KNOWN, asked)).all()
        bringing = {person.user_id for person in people if person.join_url}
        refused: dict[UUID, ReminderError] = {}
        for user_id, is_known, is_enrolled in rows:
            if not is_known:
                refused[user_id] = UserNotFoundError(user_id)
            elif not is_enrolled:
                refused[user_id] = EnrollmentNotFoundError(session_id, user_id)
            elif user_id in bringing:
                refused[user_id] = InvalidInputError(_NOT_OURS, field="join_url")
        await connection.execute(
            delete(TombstoneRow).where(
                TombstoneRow.session_id == session_id,
                TombstoneRow.user_id.in_([u for u, _, _ in rows if u not in refused]),
            )
        )
        return refused

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
            raise EnrollmentNotFoundError(session_id, user_id)

    async def _see_session(self, connection: AsyncConnection, session_id: UUID) -> None:
        if not await connection.scalar(select(exists().where(SessionRow.id == session_id))):
            raise SessionNotFoundError(session_id)

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


_NOT_OURS = "join_url is the platform's own to keep: let its view of enrollments show it"


def _taken() -> InvalidInputError:
    msg = "enrollment_id belongs to another enrollment; leave it out or send its own"
    return InvalidInputError(msg, field="enrollment_id")


def platform_of(database: Database) -> OwnedPlatform | ExistingPlatform:
    """What writes sessions and enrollments of a database, by its mode."""
    return OwnedPlatform() if database.host_schema is None else ExistingPlatform()
