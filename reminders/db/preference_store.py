"""What a person chose not to be reminded of: read, and changed with its effect on the ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, locks, mapping
from reminders.db.engine import Database
from reminders.db.preferences import (
    STOPPING,
    forget_address,
    opt_in,
    opt_outs,
    skip_opted_out,
    withhold,
)
from reminders.db.sql import in_effect
from reminders.db.tables import (
    EnrollmentRow,
    ErasedUserRow,
    ReminderConfigurationRow,
    ReminderPreferenceRow,
    ReminderRow,
    SessionRow,
    UserRow,
)
from reminders.domain.errors import InvalidInputError, UserNotFoundError
from reminders.domain.model import (
    Attendee,
    EnrollmentStatus,
    OptOut,
    ReminderStatus,
    Session,
    StatusReason,
)
from reminders.domain.ports import Clock

MOST_OPT_OUTS = 200
"""Of one person; more are a mistake of the program that asks. What people stop themselves, session by
session, has no bound but their enrollments: a stop is never refused."""
_MOST_ENROLLMENTS = 1000
"""Of one person, in sessions that lie ahead. The sweep and the deliveries see to the rest."""

_TAKES_PART = (EnrollmentStatus.CONFIRMED, EnrollmentStatus.PENDING)

Change = Callable[[frozenset[OptOut]], frozenset[OptOut]]
"""From what a person chose to what they choose now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What a person is not to be reminded of, and why."""

    opt_outs: frozenset[OptOut]
    """As they asked."""
    withheld: tuple[StatusReason, ...] = ()
    """Why nothing goes to their address whatever they ask: it bounced, or they complained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """What a change of choices did."""

    choices: Choices
    is_changed: bool
    skipped: int
    """Reminders that waited and are not sent any more."""
    in_flight: int
    """Reminders that may already be with the provider."""
    sessions: tuple[UUID, ...]
    """Sessions ahead in which the person is enrolled: their plans may be others now."""
    scheduled: int = 0
    """Reminders that wait, of these sessions, once they are planned anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Somebody who has followed a link of an e-mail."""

    attendee: Attendee
    session: Session | None
    """Absent when it was deleted."""
    is_enrolled: bool
    """In that session."""
    choices: Choices


@dataclass(frozen=True, slots=True)
class PreferenceStore:
    """Choices on PostgreSQL."""

    database: Database
    clock: Clock
    """Decides which sessions lie ahead."""

    async def of(self, user_id: UUID) -> Choices:
        """What a person chose.

        Raises:
            UserNotFoundError: If there is no such person, or they were erased.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        async with self.database.transaction() as connection:
            await _person(connection, user_id)
            return await _choices(connection, user_id)

    async def reader(self, session_id: UUID, user_id: UUID) -> Reader | None:
        """Who follows a link, and what they chose; `None` if the person is gone or erased."""
        async with self.database.transaction() as connection:
            try:
                attendee = await _person(connection, user_id)
            except UserNotFoundError:
                return None
            found = await connection.execute(
                select(SessionRow.__table__)
                .where(SessionRow.id == session_id)
                .order_by(*mapping.sessions_first())
            )
            row = found.mappings().first()
            return Reader(
                attendee=attendee,
                session=mapping.session(row) if row else None,
                is_enrolled=bool(
                    await connection.scalar(
                        select(
                            exists().where(
                                EnrollmentRow.session_id == session_id,
                                EnrollmentRow.user_id == user_id,
                                EnrollmentRow.status.in_(_TAKES_PART),
                            )
                        )
                    )
                ),
                choices=await _choices(connection, user_id),
            )

    async def change(
        self,
        user_id: UUID,
        change: Change,
        *,
        by: audit.By,
        session_id: UUID | None = None,
        lift_block: bool = False,
    ) -> Changed:
        """Change what a person chose, end what they do not want any more, and note who did it.

        Safe to repeat. Plans and workflows are the caller's business; without it, the deliveries
        read the choices themselves, so nothing goes out that is not wanted.

        Args:
            user_id: Of the person.
            change: What becomes of the choices; pure.
            by: Who, and why, for the audit log.
            session_id: The only session it can concern; absent means any.
            lift_block: Whether they are to be reminded although their address has bounced or
                complained.

        Raises:
            UserNotFoundError: If there is no such person, or they were erased.
            InvalidInputError: If a choice names a session or a type that does not exist, or there
                are too many, and it is not the person who asks.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was changed.
        """
        async with self.database.transaction() as connection:
            await locks.person(connection, user_id)
            await _person(connection, user_id)
            before = await opt_outs(connection, user_id)
            after = change(before)
            added, removed = after - before, before - after
            await _check(connection, added)
            if added - {OptOut()} and by != audit.ATTENDEE and len(after) > MOST_OPT_OUTS:
                msg = (
                    f"opt_outs has more than {MOST_OPT_OUTS} entries;"
                    " leave the session or the type out"
                )
                raise InvalidInputError(msg, field="opt_outs")
            await opt_in(connection, user_id, removed)
            await withhold(connection, user_id, added, StatusReason.OPTED_OUT)
            lifted = await forget_address(connection, user_id) if lift_block else ()
            skipped = await skip_opted_out(connection, user_id)
            if added or removed or lifted:
                event = by.did(
                    audit.Action.PREFERENCES_CHANGED,
                    session_id=session_id,
                    user_id=user_id,
                    details={
                        "opted_out": _logged(added),
                        "opted_in": _logged(removed),
                        "skipped": skipped,
                        **({"lifted": list(lifted)} if lifted else {}),
                    },
                )
                await audit.record(connection, event)
            return Changed(
                choices=await _choices(connection, user_id),
                is_changed=bool(added or removed or lifted),
                skipped=skipped,
                in_flight=await _in_flight(connection, user_id, session_id),
                sessions=await self._ahead(connection, user_id, session_id),
            )

    async def _ahead(
        self, connection: AsyncConnection, user_id: UUID, session_id: UUID | None
    ) -> tuple[UUID, ...]:
        query = (
            select(SessionRow.id)
            .join(EnrollmentRow, EnrollmentRow.session_id == SessionRow.id)
            .where(
                EnrollmentRow.user_id == user_id,
                EnrollmentRow.status != EnrollmentStatus.CANCELLED,
                SessionRow.start_time > self.clock.now(),
            )
            .group_by(SessionRow.id)
            .order_by(func.min(SessionRow.start_time), SessionRow.id)
            .limit(_MOST_ENROLLMENTS)
        )
        if session_id is not None:
            query = query.where(SessionRow.id == session_id)
        return tuple(await connection.scalars(query))


async def _person(connection: AsyncConnection, user_id: UUID) -> Attendee:
    """The person, who is there and was not erased."""
    is_erased = exists().where(ErasedUserRow.user_id == user_id)
    found = await connection.execute(
        select(UserRow.__table__)
        .where(UserRow.id == user_id, ~is_erased)
        .order_by(*mapping.people_first())
    )
    if (row := found.mappings().first()) is None:
        raise UserNotFoundError(user_id)
    return mapping.attendee(row)


async def _choices(connection: AsyncConnection, user_id: UUID) -> Choices:
    preference = ReminderPreferenceRow
    others = await connection.scalars(
        select(preference.reason)
        .where(
            preference.user_id == user_id,
            preference.reason != "opted_out",
            preference.session_id.is_(None),
            preference.reminder_type.is_(None),
            text(in_effect("reminder_preferences")),
        )
        .distinct()
        .order_by(preference.reason)
    )
    return Choices(
        opt_outs=await opt_outs(connection, user_id),
        withheld=tuple(STOPPING[reason] for reason in others),
    )


async def _check(connection: AsyncConnection, added: Collection[OptOut]) -> None:
    """Refuse what is misspelt: it would be silently without effect."""
    sessions = {scope.session_id for scope in added if scope.session_id}
    known: set[Any] = set(
        await connection.scalars(select(SessionRow.id).where(SessionRow.id.in_(sessions)))
    )
    if sessions - known:
        msg = f"there is no session {min(sessions - known)}; leave it out"
        raise InvalidInputError(msg, field="opt_outs.session_id")
    types = {scope.reminder_type for scope in added if scope.reminder_type is not None}
    known = set(
        await connection.scalars(
            select(ReminderConfigurationRow.reminder_type).where(
                ReminderConfigurationRow.reminder_type.in_(types)
            )
        )
    )
    if types - known:
        msg = f"there is no reminder type {min(types - known)!r}; it must be one that is configured"
        raise InvalidInputError(msg, field="opt_outs.reminder_type")


async def _in_flight(connection: AsyncConnection, user_id: UUID, session_id: UUID | None) -> int:
    query = select(func.count()).where(
        ReminderRow.user_id == user_id, ReminderRow.email_status == ReminderStatus.SENDING
    )
    if session_id is not None:
        query = query.where(ReminderRow.session_id == session_id)
    return await connection.scalar(query) or 0


def _logged(scopes: Collection[OptOut]) -> list[dict[str, str]]:
    """Scopes as the audit log keeps them."""
    in_order = sorted(scopes, key=lambda s: (str(s.session_id or ""), s.reminder_type or ""))
    return [
        {name: str(value) for name, value in asdict(scope).items() if value is not None}
        for scope in in_order
    ]
