"""A session of a platform's own, called off with us while people enroll in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.sessions import Catalogue
from reminders.settings import Settings
from tests.existing.host import Host
from tests.reminders.db.rush import RUSH, SOON, Rush

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("change", ["cancel", "restore"])
async def test_a_session_is_changed_while_sixty_enroll_in_it(
    settings: Settings, database: Database, host: Host, change: str
) -> None:
    """Its cancel and restore wait for those who were there before; nothing of theirs is locked."""
    session = await host.session(datetime.now(UTC) + timedelta(days=2))
    people = [await host.person(f"ana{n}") for n in range(RUSH)]
    for person in people:
        await host.enrolls(session, person)
    crowd = Database(
        settings.require_database_url(),
        pool_size=RUSH,
        host_schema=settings.existing_host_schema(),
    )
    planner, catalogue = EnrollmentPlanner(crowd, SystemClock()), Catalogue(database)
    changes: dict[str, Callable[[int], Awaitable[object]]] = {
        "cancel": lambda _: catalogue.cancel_session(session),
        "restore": lambda _: catalogue.restore_session(session),
    }
    enrolled = 0

    async def enroll() -> None:
        nonlocal enrolled
        enrolled += 1
        await planner.enroll(session, people[enrolled % RUSH])

    rush = Rush(enroll)
    async with host.untouched(), rush.going_on():
        came_first, _ = await rush.overtaking(changes[change])
    await crowd.aclose()
    assert came_first <= SOON
