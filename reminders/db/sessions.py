"""Sessions, users and who is enrolled: the platform's own data, read in both modes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import bindparam, delete, exists, func, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, locks, mapping, preferences, unconfirmed
from reminders.db.audit import HOST, Action, By, Event
from reminders.db.engine import Database
from reminders.db.notices import hush
from reminders.db.platform import platform_of
from reminders.db.tables import (
    EnrollmentRow,
    ErasedUserRow,
    ReminderRow,
    SessionRow,
    UntoldChangeRow,
    UserRow,
)
from reminders.domain.addresses import same_address
from reminders.domain.errors import SessionNotFoundError, UserNotFoundError
from reminders.domain.model import (
    Attendee,
    EnrollmentStatus,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)

_STORED = (
    select(
        SessionRow.__table__,
        select(UntoldChangeRow.change_id)
        .where(UntoldChangeRow.session_id == SessionRow.id)
        .scalar_subquery()
        .label("untold"),
    )
    .where(SessionRow.id == bindparam("session_id"))
    .with_for_update(of=SessionRow, key_share=True)
)
"""A session, and its change that no workflow has passed on yet."""
_NEXT = 1_000
"""Sessions that are looked at to see how long they take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChange:
    """What storing a session changed."""

    session: Session
    """As it is stored now."""
    before: Session | None
    """Absent when it is new."""
    untold: UUID | None
    """Of the change that its enrollments are to be told of: this one, if start or status changed,
    or an earlier one of which nobody was. See `Catalogue.told`."""

    @property
    def created(self) -> bool:
        """Whether it is new."""
        return self.before is None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredUser:
    """What storing a person changed."""

    is_new: bool
    is_unblocked: bool
    """Whether they have left an address that had bounced, or complained: what was skipped for it is
    to be planned anew."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Sessions and users on PostgreSQL."""

    database: Database

    async def put_session(
        self,
        session: Session,
        *,
        keep_status: bool = False,
        by: By = HOST,
        tell_nobody: bool = False,
    ) -> SessionChange:
        """Store a session, whole; the same call twice writes nothing the second time.

        Args:
            session: Whole.
            keep_status: Whether one that is stored keeps the status that it has: whoever calls
                does not know whether an operator has cancelled it.
            by: Who, and why, for the audit log.
            tell_nobody: Whether there are no notices, should it be moved, cancelled or restored.

        Raises:
            PlatformOwnedError: If sessions are an existing platform's.
        """
        self.database.require_owned()
        async with self.database.transaction() as connection:
            await locks.session(connection, session.id)
            found = await connection.execute(_STORED, {"session_id": session.id})
            row = found.mappings().one_or_none()
            before = mapping.session(row) if row else None
            if before is not None and keep_status:
                session = replace(session, status=before.status)
            untold: UUID | None = row["untold"] if row else None
            if before is not None and _matters(before, session):
                untold = uuid4()
            change = SessionChange(session=session, before=before, untold=untold)
            if before != session:
                await connection.execute(_stored(change, keep_status=keep_status))
            if before is not None and _matters(before, session):
                await hush(connection, session.id, tell_nobody=tell_nobody)
            if (event := _event(change, by, tell_nobody=tell_nobody)) is not None:
                await audit.record(connection, event)
        return change

    async def passed_on(self, change: SessionChange) -> None:
        """Note that a workflow passes a change on to a session's enrollments.

        A change that came after it is still to be passed on.
        """
        async with self.database.autocommit() as connection:
            await connection.execute(
                delete(UntoldChangeRow).where(
                    UntoldChangeRow.session_id == change.session.id,
                    UntoldChangeRow.change_id == change.untold,
                )
            )

    async def cancel_session(
        self, session_id: UUID, by: By = HOST, *, tell_nobody: bool = False
    ) -> int:
        """Mark a session as cancelled; safe to repeat.

        From then on every enrollment that is planned, and every reminder that falls due, finds it
        so: the row (or the tombstone) also holds back those that could not be reached.

        Returns:
            The id of its entry in the audit log.

        Raises:
            SessionNotFoundError: If there is none.
        """
        async with self.database.transaction() as connection:
            await locks.session(connection, session_id)
            await platform_of(self.database).call_off(connection, session_id)
            await hush(connection, session_id, tell_nobody=tell_nobody)
            event = by.did(
                Action.SESSION_CANCELLED, session_id=session_id, details=_told(tell_nobody)
            )
            return await audit.record(connection, event)

    async def restore_session(
        self, session_id: UUID, by: By = HOST, *, tell_nobody: bool = False
    ) -> int:
        """Take a cancellation back; safe to repeat.

        One that is an existing platform's own stands: only the platform can take that back.

        Returns:
            The id of its entry in the audit log.

        Raises:
            SessionNotFoundError: If there is none.
        """
        async with self.database.transaction() as connection:
            await locks.session(connection, session_id)
            await platform_of(self.database).restore(connection, session_id)
            await hush(connection, session_id, tell_nobody=tell_nobody)
            event = by.did(
                Action.SESSION_RESTORED, session_id=session_id, details=_told(tell_nobody)
            )
            return await audit.record(connection, event)

    async def changed(self, session_id: UUID, by: By = HOST, *, tell_nobody: bool = False) -> int:
        """Note that a session, or a rule, was changed elsewhere; safe to repeat.

        Returns:
            The id of its entry in the audit log.

        Raises:
            SessionNotFoundError: If there is none.
        """
        await self.session(session_id)
        async with self.database.transaction() as connection:
            if tell_nobody:
                await locks.session(connection, session_id)
                await hush(connection, session_id, tell_nobody=True)
            event = by.did(
                Action.SESSION_REPLANNED, session_id=session_id, details=_told(tell_nobody)
            )
            return await audit.record(connection, event)

    async def put_user(self, attendee: Attendee) -> bool:
        """Store a person, whole; true if they are new. See `store_user`."""
        return (await self.store_user(attendee)).is_new

    async def store_user(self, attendee: Attendee) -> StoredUser:
        """Store a person, whole.

        Somebody whose old address bounced or complained is reminded again at a new one. Somebody
        who was erased is there again: it is the platform that says who its people are.

        Raises:
            PlatformOwnedError: If users are an existing platform's.
        """
        self.database.require_owned()
        async with self.database.transaction() as connection:
            await locks.person(connection, attendee.user_id)
            known = await connection.scalar(
                select(UserRow.email)
                .where(UserRow.id == attendee.user_id)
                .with_for_update(key_share=True)
            )
            await connection.execute(_upsert(UserRow, mapping.ATTENDEES.values(attendee)))
            await connection.execute(
                delete(ErasedUserRow).where(ErasedUserRow.user_id == attendee.user_id)
            )
            lifted = None
            if known is not None and not same_address(known, attendee.email):
                lifted = await preferences.forget_address(connection, attendee.user_id)
            if lifted:
                await _note_lifted(connection, attendee.user_id, lifted)
        return StoredUser(is_new=known is None, is_unblocked=bool(lifted))

    async def longest(self, now: datetime) -> timedelta:
        """How long the longest of the next sessions takes; of those whose end is known."""
        coming = (
            select((SessionRow.end_time - SessionRow.start_time).label("takes"))
            .where(SessionRow.start_time > now, SessionRow.status == SessionStatus.SCHEDULED)
            .order_by(SessionRow.start_time)
            .limit(_NEXT)
            .subquery()
        )
        found: timedelta | None = await self.database.scalar(select(func.max(coming.c.takes)))
        return found or timedelta()

    async def session(self, session_id: UUID) -> Session:
        """One session.

        Raises:
            SessionNotFoundError: If there is none.
        """
        row = await self.database.row(
            select(SessionRow.__table__)
            .where(SessionRow.id == session_id)
            .order_by(*mapping.sessions_first())
        )
        if row is None:
            raise SessionNotFoundError(session_id)
        return mapping.session(row)

    async def user(self, user_id: UUID) -> Attendee:
        """One person.

        Raises:
            UserNotFoundError: If there is none.
        """
        row = await self.database.row(
            select(UserRow.__table__).where(UserRow.id == user_id).order_by(*mapping.people_first())
        )
        if row is None:
            raise UserNotFoundError(user_id)
        return mapping.attendee(row)

    async def enrollment_status(self, session_id: UUID, user_id: UUID) -> EnrollmentStatus | None:
        """Whether a person is enrolled; `None` if they never were."""
        status = await self.database.scalar(
            select(EnrollmentRow.status)
            .where(EnrollmentRow.session_id == session_id, EnrollmentRow.user_id == user_id)
            .order_by(*mapping.enrollments_first())
        )
        return EnrollmentStatus(status) if status else None

    async def is_erased(self, user_id: UUID) -> bool:
        """Whether a person has asked us to forget them."""
        erased = exists().where(ErasedUserRow.user_id == user_id)
        return bool(await self.database.scalar(select(erased)))

    async def has_own_link(self, session_id: UUID, user_id: UUID) -> bool:
        """Whether a person joins by a link of their own; the link itself is for nobody else."""
        own = exists().where(
            EnrollmentRow.session_id == session_id,
            EnrollmentRow.user_id == user_id,
            func.btrim(EnrollmentRow.join_url) != "",
        )
        return bool(await self.database.scalar(select(own)))

    async def enrolled(
        self, session_id: UUID, *, after: UUID | None = None, limit: int = 1000
    ) -> list[UUID]:
        """The users enrolled in a session, cancelled ones left out, by ascending id.

        Args:
            session_id: Of the session.
            after: Continue behind this user.
            limit: At most this many.
        """
        query = (
            select(EnrollmentRow.user_id)
            .where(EnrollmentRow.session_id == session_id, EnrollmentRow.status != "cancelled")
            .distinct()
            .order_by(EnrollmentRow.user_id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(EnrollmentRow.user_id > after)
        return [user_id for (user_id,) in await self.database.tuples(query)]

    async def counts(self, session_id: UUID) -> dict[ReminderStatus, int]:
        """How many ledger rows of a session are in each status; statuses without rows are left out."""
        found = await self.database.tuples(
            select(ReminderRow.email_status, func.count())
            .where(ReminderRow.session_id == session_id)
            .group_by(ReminderRow.email_status)
        )
        return {ReminderStatus(status): count for status, count in found}


def _matters(before: Session, now: Session) -> bool:
    """Whether a session's enrollments need a new plan."""
    return (before.starts_at, before.status) != (now.starts_at, now.status)


def _stored(change: SessionChange, *, keep_status: bool) -> Any:  # noqa: ANN401
    """The statement that stores a session, and with it the change that is to be passed on."""
    session = change.session
    values = mapping.SESSIONS.values(session)
    # One that was not there a moment ago may be by now, and cancelled.
    stored = _upsert(SessionRow, values, but=("status",) if keep_status else ())
    if change.untold is None:
        return stored
    untold = upsert(UntoldChangeRow).values(session_id=session.id, change_id=change.untold)
    remembered = untold.on_conflict_do_update(
        index_elements=["session_id"],
        set_={"change_id": untold.excluded.change_id, "changed_at": func.now()},
    )
    return stored.add_cte(remembered.cte("untold"))  # in the same round trip


def _upsert(
    table: type[SessionRow | UserRow], values: Mapping[str, Any], *, but: Collection[str] = ()
) -> Any:  # noqa: ANN401
    """Insert, or replace everything but the key, and these."""
    changed = {name: value for name, value in values.items() if name not in ("id", *but)}
    return (
        upsert(table)
        .values(**values)
        .on_conflict_do_update(index_elements=["id"], set_={**changed, "updated_at": func.now()})
    )


def _told(tell_nobody: bool) -> dict[str, Any]:  # noqa: FBT001 - the only thing there is to say
    """What the audit log says of notices."""
    return {"tell_nobody": True} if tell_nobody else {}


def _event(change: SessionChange, by: By, *, tell_nobody: bool) -> Event | None:
    """What the audit log says of a change; the row itself tells of a session that is new."""
    before, now = change.before, change.session
    details: dict[str, Any] = {}
    if before is None:
        return None
    if before.status is not now.status:
        is_cancelled = now.status is SessionStatus.CANCELLED
        action = Action.SESSION_CANCELLED if is_cancelled else Action.SESSION_RESTORED
    elif before.starts_at != now.starts_at:
        action = Action.SESSION_MOVED
        details = {
            "before": {"start_time": before.starts_at.isoformat()},
            "after": {"start_time": now.starts_at.isoformat()},
        }
    elif before != now:
        action = Action.SESSION_CHANGED
        details = {
            "fields": [
                f.name for f in fields(now) if getattr(before, f.name) != getattr(now, f.name)
            ]
        }
    else:
        return None
    if _matters(before, now):
        details |= _told(tell_nobody)
    return by.did(action, session_id=now.id, details=details)


async def _note_lifted(
    connection: AsyncConnection, user_id: UUID, lifted: Sequence[StatusReason]
) -> None:
    """Note that a new address counts, and that the person's plans are to follow, whoever sees to it."""
    event = HOST.did(
        Action.PREFERENCES_CHANGED,
        user_id=user_id,
        details={"opted_out": [], "opted_in": [], "skipped": 0, "lifted": list(lifted)},
    )
    await audit.record(connection, event)
    ahead = await connection.scalars(
        select(EnrollmentRow.session_id)
        .join(SessionRow, SessionRow.id == EnrollmentRow.session_id)
        .where(EnrollmentRow.user_id == user_id, SessionRow.start_time > func.now())
    )
    await unconfirmed.add_all(connection, [(session_id, user_id) for session_id in ahead])
