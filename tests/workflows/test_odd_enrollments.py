"""One enrollment cannot be planned, for a reason of its own; the others are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from reminders.db.sweep import Ahead
from reminders.domain.model import Session
from starter.services.backfill import Backfill
from starter.services.handover import Handover
from tests.stage import Stage

_NO_ROW_OF_THEIRS = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON session_reminder_emails
FOR EACH ROW WHEN (NEW.user_id = '{user_id}') EXECUTE FUNCTION refuse()
"""


async def refuse(stage: Stage, user_id: UUID) -> None:
    """Let every plan of a person fail, in a way that nobody foresaw."""
    function, trigger = _NO_ROW_OF_THEIRS.format(user_id=user_id).rsplit(";\n", 1)
    async with stage.database.transaction() as connection:
        await connection.execute(text(function))
        await connection.execute(text(trigger))


async def three(stage: Stage) -> tuple[Session, list[UUID]]:
    """A session and three people."""
    session = await stage.session(starts_in=timedelta(hours=25))
    return session, sorted([await stage.attendee() for _ in range(3)])


async def starts(stage: Stage, session: Session, people: list[UUID]) -> list[timedelta]:
    """How far each person's reminders are planned from the session's first start."""
    rows = [(await stage.ledger(session, person))[0] for person in people]
    return [row.starts_at - session.starts_at for row in rows]


async def test_a_change_reaches_the_others(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A session moves: whoever cannot be planned anew is counted and named, the others follow."""
    session, people = await three(stage)
    for person in people:
        await stage.enroll(session, person)
    await refuse(stage, people[0])
    moved = replace(session, starts_at=session.starts_at + timedelta(hours=2))
    _, receipt = await stage.gateway.put_session(moved, wait=timedelta(seconds=30))
    assert (receipt.enrollments, receipt.replanned, receipt.unconfirmed) == (3, 2, 1)
    hours = [shift / timedelta(hours=1) for shift in await starts(stage, session, people)]
    assert [0, 2, 2] == hours
    assert str(people[0]) in caplog.text


async def test_a_back_fill_brings_the_others_in(stage: Stage) -> None:
    """Whoever cannot be planned is counted, and is no reason to stop for good."""
    session, people = await three(stage)
    async with stage.database.transaction() as connection:
        for person in people:
            await connection.execute(
                text("INSERT INTO enrollments (session_id, user_id) VALUES (:s, :u)"),
                {"s": session.id, "u": person},
            )
    await refuse(stage, people[0])
    backfill = Backfill(
        enrollments=Ahead(stage.database),
        planner=stage.planner,
        handover=Handover(stage.workflows, planner=stage.planner),
        clock=stage.clock,
    )
    receipt = await backfill.run()
    assert (receipt.enrollments, receipt.planned, receipt.failed) == (3, 2, 1)
    assert receipt.stopped_because is None
    swept = await stage.sweep()
    assert (swept.processed, swept.total_failed) == (1, 1)
