"""The calendar entry of an enrollment, and how often it has changed.

The number is our own: a platform's table may say when it was written, but not that anything a
calendar shows was changed by it. What nobody has looked at counts as nothing, for no calendar has
it. So a session that was moved and moved back between two looks is the same revision.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Integer, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import mapping
from reminders.db.audit import Action
from reminders.db.engine import Database
from reminders.db.tables import (
    CalendarRevisionRow,
    EnrollmentRow,
    ErasedUserRow,
    ReminderEventRow,
    SessionRow,
    UserRow,
)
from reminders.domain.model import CalendarEntry, EnrollmentStatus, Session

_SERIALISE = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


async def calendar_entry(
    database: Database, session_id: UUID, user_id: UUID
) -> CalendarEntry | None:
    """The entry as it is now; `None` if the session or the person is gone.

    A change that nobody has looked at yet gets its number here, once, however many look.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    async with database.autocommit() as connection:
        found = await _read(connection, session_id, user_id)
    if found is None or found[1] is not None:
        return found and found[1]
    async with database.transaction() as connection:
        # What is read after the lock is at least as new as what the one before numbered.
        await connection.execute(_SERIALISE, {"key": f"calendar:{session_id}:{user_id}"})
        found = await _read(connection, session_id, user_id)
        if found is None or found[1] is not None:
            return found and found[1]
        facts, _ = found
        numbered = await connection.execute(_number(session_id, user_id, facts))
        sequence, changed_at = numbered.one()
        return _entry(facts, user_id, sequence, changed_at)


_Facts = tuple[Session, EnrollmentStatus | None]


async def _read(
    connection: AsyncConnection, session_id: UUID, user_id: UUID
) -> tuple[_Facts, CalendarEntry | None] | None:
    """What the entry shows, and the entry itself if this very revision has its number."""
    revision = CalendarRevisionRow
    rows = await connection.execute(
        select(
            SessionRow.__table__,
            EnrollmentRow.status.label("enrollment_status"),
            func.nullif(func.btrim(EnrollmentRow.join_url), "").label("own_join_url"),
            revision.sequence,
            revision.fingerprint,
            revision.changed_at,
        )
        .select_from(SessionRow)
        .join(UserRow, UserRow.id == user_id)
        .outerjoin(
            EnrollmentRow,
            (EnrollmentRow.session_id == SessionRow.id) & (EnrollmentRow.user_id == user_id),
        )
        .outerjoin(revision, (revision.session_id == SessionRow.id) & (revision.user_id == user_id))
        .where(
            SessionRow.id == session_id,
            ~select(ErasedUserRow).where(ErasedUserRow.user_id == user_id).exists(),
        )
        .order_by(*mapping.sessions_first(), *mapping.enrollments_first())
    )
    row = rows.mappings().first()
    if row is None:
        return None
    status = row["enrollment_status"]
    session = mapping.session(row)
    if status in (None, EnrollmentStatus.CANCELLED):
        # They are told that it is off, and not how to get in.
        own = replace(session, join_url=None, location=None, preparation_notes=None)
    else:
        own = replace(session, join_url=row["own_join_url"] or session.join_url)
    facts = own, EnrollmentStatus(status) if status else None
    if row["fingerprint"] != _fingerprint(facts):
        return facts, None
    return facts, _entry(facts, user_id, row["sequence"], row["changed_at"])


def _number(session_id: UUID, user_id: UUID, facts: _Facts) -> Any:  # noqa: ANN401
    """The next number of an entry."""
    revision = CalendarRevisionRow
    # To the second: that is all an iCalendar file can say.
    values = {
        "fingerprint": _fingerprint(facts),
        "changed_at": func.date_trunc("second", func.clock_timestamp()),
    }
    # What a calendar may have of before the ledger was restored has a lower one: of then there is no row.
    restored_at = func.max(ReminderEventRow.happened_at)
    first = (
        select(func.coalesce(func.floor(func.extract("epoch", restored_at) / 60), 0).cast(Integer))
        .where(ReminderEventRow.action == Action.LEDGER_RESTORED)
        .scalar_subquery()
    )
    return (
        upsert(revision)
        .values(session_id=session_id, user_id=user_id, sequence=first, **values)
        .on_conflict_do_update(
            index_elements=["session_id", "user_id"],
            set_={**values, "sequence": revision.sequence + 1},
        )
        .returning(revision.sequence, revision.changed_at)
    )


def _entry(facts: _Facts, user_id: UUID, sequence: int, changed_at: datetime) -> CalendarEntry:
    session, status = facts
    return CalendarEntry(
        session=session,
        user_id=user_id,
        enrollment_status=status,
        sequence=sequence,
        changed_at=changed_at,
    )


def _fingerprint(facts: _Facts) -> bytes:
    """Changes with everything that an entry shows."""
    session, status = facts
    of_session = mapping.SESSIONS.values(session)
    shown = [value for name, value in of_session.items() if name not in ("id", "time_zone")]
    return sha256(json.dumps([*shown, status], default=datetime.timestamp).encode()).digest()
