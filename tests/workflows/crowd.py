"""Many who enroll, and a session so large that the next one wakes early."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import insert

from reminders.db.tables import EnrollmentRow, UserRow
from reminders.domain.lead_in import APART, SHORTEST
from reminders.domain.model import Session
from tests.stage import Handle, Stage, attempted, eventually, has_timer


async def enrolled(stage: Stage, session: Session, count: int) -> list[UUID]:
    """So many people, enrolled twenty at a time."""
    slots = asyncio.Semaphore(20)

    async def one() -> UUID:
        async with slots:
            user_id = await stage.attendee()
            await stage.gateway.enroll(session.id, user_id)
            return user_id

    return await asyncio.gather(*(one() for _ in range(count)))


async def a_crowd(stage: Stage, lead_in: timedelta) -> Session:
    """A session in three hours, with just so many enrolled that the next one wakes so early."""
    session = await stage.session(starts_in=timedelta(hours=3))
    users = [uuid4() for _ in range((lead_in - SHORTEST) // APART - 1)]
    async with stage.database.transaction() as connection:
        await connection.execute(
            insert(UserRow), [{"id": u, "email": f"{u.hex}@hospital.example"} for u in users]
        )
        await connection.execute(
            insert(EnrollmentRow), [{"session_id": session.id, "user_id": u} for u in users]
        )
    return session


async def made_ready_for(
    stage: Stage, session: Session, user_id: UUID, lead_in: timedelta
) -> Handle:
    """The workflow of an attendee whose 2-hour reminder waits in a worker, not due yet."""
    handle = await stage.enroll(session, user_id)
    await eventually(lambda: has_timer(handle))
    await stage.forward(timedelta(hours=1) - lead_in * 0.9, handle)
    await eventually(lambda: attempted(handle, 1))
    return handle
