"""The audit log: written with what it tells of, read the newest first."""

from __future__ import annotations

from uuid import uuid4

import pytest

from reminders.db.audit import LONGEST_REASON, Action, AuditLog, Event, record
from reminders.db.engine import Database
from reminders.domain.errors import InvalidInputError


async def test_entries_come_back_the_newest_first_and_by_page(database: Database) -> None:
    """Only those that are asked for, and the next page goes on where one ended."""
    log, session_id = AuditLog(database), uuid4()
    for n in range(3):
        await log.record(
            Event(
                action=Action.SESSION_CANCELLED,
                actor="cli",
                reason="the speaker is ill",
                session_id=session_id,
                details={"cancelled": n},
            )
        )
    await log.record(Event(action=Action.UNENROLLED, actor="api", session_id=uuid4()))
    first = await log.entries(session_id=session_id, limit=2)
    rest = await log.entries(session_id=session_id, before=first[-1].id, limit=2)
    assert [2, 1, 0] == [entry.details["cancelled"] for entry in (*first, *rest)]
    assert first[0].happened_at is not None
    assert "the speaker is ill" == first[0].reason


async def test_an_entry_is_undone_with_what_it_tells_of(database: Database) -> None:
    """A transaction that fails leaves no entry behind."""
    user_id = uuid4()

    async def fail_after_recording() -> None:
        async with database.transaction() as connection:
            await record(connection, Event(action=Action.UNENROLLED, actor="api", user_id=user_id))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_after_recording()
    assert () == await AuditLog(database).entries(user_id=user_id)


async def test_a_reason_is_bounded(database: Database) -> None:
    """A novel is refused, by the field's name."""
    event = Event(action=Action.UNENROLLED, actor="api", reason="x" * (LONGEST_REASON + 1))
    with pytest.raises(InvalidInputError, match="at most") as refused:
        await AuditLog(database).record(event)
    assert "reason" == refused.value.field
