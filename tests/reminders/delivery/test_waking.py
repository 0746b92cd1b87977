"""How a crowd woke decides how early the next one wakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.delivery import waking
from reminders.delivery.waking import Waking
from reminders.domain.lead_in import APART, CROWD, SHORTEST
from reminders.settings import Settings
from tests.reminders.db.test_planning import a_stored_person, a_stored_session
from tests.reminders.delivery.dispatch import a_pipeline, due_reminders
from tests.stage import eventually

HOUR = timedelta(hours=1)
MS = timedelta(milliseconds=1)
APART_NOW = text("SELECT wake_apart FROM reminder_installation")


@dataclass
class Hands:
    """A clock that is set."""

    at: datetime

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self.at


@asynccontextmanager
async def watched(
    settings: Settings, at: datetime, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Waking, Hands]]:
    """What measures crowds, looked at all the time, and its clock."""
    monkeypatch.setattr(waking, "_EVERY", MS)
    async with a_pipeline(settings) as pipeline:
        hands = Hands(at)
        measuring = Waking(pipeline._ledger, hands)
        watching = asyncio.create_task(measuring.watch())
        yield measuring, hands
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def test_who_enrolls_after_a_crowd_that_came_late_wakes_earlier(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took 30 ms each, and its last came two seconds late; who is in time takes a little off."""
    crowd = await due_reminders(database, CROWD, starts_in=HOUR)
    due_at = crowd[0].due_at

    async def apart(expected: timedelta) -> bool:
        return bool(await database.scalar(APART_NOW) == expected)

    async with watched(settings, due_at - timedelta(seconds=4), monkeypatch) as (measured, clock):
        for reminder in crowd:
            measured.note(reminder)
            clock.at += 30 * MS
        clock.at += timedelta(seconds=5)
        measured.note(crowd[0])  # it was told to come again
        late = (CROWD - 1) * 30 * MS / CROWD * 1.1
        clock.at += HOUR
        await eventually(lambda: apart(late))
        planner = EnrollmentPlanner(database, SystemClock())
        session, person = await a_stored_session(database), await a_stored_person(database)
        planned = await planner.enroll(session.id, person.user_id)
        assert SHORTEST + late == planned.lead_in
        clock.at = due_at - HOUR
        for reminder in crowd:
            measured.note(reminder)
        clock.at = due_at + HOUR
        await eventually(lambda: apart(late * 0.98))


async def test_few_and_who_had_no_time_to_wake_early_say_nothing(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session of a few, and what comes only after its instant, as after an outage."""
    crowd = await due_reminders(database, CROWD, starts_in=HOUR)
    due_at = crowd[0].due_at
    async with watched(settings, due_at - MS, monkeypatch) as (measured, clock):
        for reminder in crowd[1:]:
            measured.note(reminder)
        clock.at += timedelta(seconds=10)
        for reminder in crowd:
            measured.note(replace(reminder, due_at=due_at - timedelta(seconds=1)))
        assert [due_at] == list(measured._crowds)
        clock.at += HOUR

        async def all_looked_at() -> bool:
            return not measured._crowds

        await eventually(all_looked_at)
    assert APART == await database.scalar(APART_NOW)


async def test_those_who_wait_for_a_notice_say_nothing(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They woke as they were told of a move, one after the other."""
    crowd = await due_reminders(database, CROWD, starts_in=HOUR)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE session_reminder_emails SET reminder_type = 'moved'"))
    due_at = crowd[0].due_at
    async with watched(settings, due_at - HOUR, monkeypatch) as (measured, clock):
        for reminder in crowd:
            measured.note(reminder)
        clock.at = due_at + HOUR

        async def is_looked_at() -> bool:
            return not measured._crowds

        await eventually(is_looked_at)
    assert APART == await database.scalar(APART_NOW)
