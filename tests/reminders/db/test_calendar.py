"""The calendar entry of an enrollment, and its number."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from sqlalchemy import insert, select, text

from reminders.clock import SystemClock
from reminders.db.audit import By
from reminders.db.calendar import _SERIALISE, calendar_entry
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.restoring import RestoredLedger, Since
from reminders.db.tables import CalendarRevisionRow
from tests.reminders.db.test_planning import a_stored_person, a_stored_session
from tests.stage import eventually

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_however_many_look_at_once_a_change_is_numbered_once(database: Database) -> None:
    """Each gets the entry, those as well who waited for whoever gave it its number."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    await EnrollmentPlanner(database, SystemClock()).enroll(session.id, person.user_id)
    at_once = 3

    async def all_wait() -> bool:
        return bool(await database.scalar(_WAITING) == at_once)

    async with database.transaction() as connection:
        await connection.execute(_SERIALISE, {"key": f"calendar:{session.id}:{person.user_id}"})
        looks = [calendar_entry(database, session.id, person.user_id) for _ in range(at_once)]
        looking = asyncio.gather(*looks)
        await eventually(all_wait)
    found = await looking
    assert [found[0]] * at_once == found
    assert found[0] is not None
    assert (session, 0) == (found[0].session, found[0].sequence)


async def test_who_has_left_is_not_shown_how_to_get_in(database: Database) -> None:
    """Whoever is put out of a session sees that it is off, and not the link that was changed for it."""
    session = await a_stored_session(database, join_url="https://meet.example/1", location="Hall")
    person = await a_stored_person(database)
    planner = EnrollmentPlanner(database, SystemClock())
    await planner.enroll(session.id, person.user_id)
    await planner.unenroll(session.id, person.user_id)
    entry = await calendar_entry(database, session.id, person.user_id)
    assert entry is not None
    assert (None, None, None) == (
        entry.session.join_url,
        entry.session.location,
        entry.session.preparation_notes,
    )


async def test_a_restored_ledger_numbers_entries_beyond_those_that_were_lost(
    database: Database,
) -> None:
    """Calendar programs pass over what has a lower number than theirs; a dry run changes nothing."""
    entry = {"session_id": uuid4(), "user_id": uuid4(), "sequence": 3, "fingerprint": b""}
    async with database.transaction() as connection:
        await connection.execute(
            insert(CalendarRevisionRow).values(**entry, changed_at=SystemClock().now())
        )
    ledger = RestoredLedger(database, SystemClock())
    for dry_run, expected in ((True, 3), (False, 1003)):
        await ledger.catch_up(Since(), last_write=None, by=By("test"), details={}, dry_run=dry_run)
        assert expected == await database.scalar(select(CalendarRevisionRow.sequence))
