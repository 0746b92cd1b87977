"""Who changes a session, a person or a rule while people enroll: soon served, and no deadlocks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, select, text

from reminders.clock import SystemClock
from reminders.db import locks, plans
from reminders.db.audit import By
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.planning import EnrollmentPlanner
from reminders.db.preference_store import PreferenceStore
from reminders.db.provider import ProviderEvents
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.db.tables import ReminderRow, SessionRow, UserRow
from reminders.domain.errors import ConflictError, NotFoundError
from reminders.domain.model import (
    Attendee,
    OptOut,
    ProviderEvent,
    ReminderStatus,
    Session,
    StatusReason,
)
from reminders.domain.rules import RuleFields
from starter.migration.ledger import Cutovers
from tests.reminders.db.rush import AT_ONCE, RUSH, SOON, Change, Rush

pytestmark = pytest.mark.proof

ADDRESS = "ana@hospital.example"
HOUR = timedelta(hours=1)
CALLS = 12
"""Of each of the many who call at once."""


@pytest.fixture
async def planner(database_url: str) -> AsyncIterator[EnrollmentPlanner]:
    """A planner that everybody can use at once."""
    database = Database(database_url, pool_size=RUSH)
    yield EnrollmentPlanner(database, SystemClock())
    await database.aclose()


def in_two_days(**fields: Any) -> Session:
    """A session."""
    values = {"id": uuid4(), "title": "Cardiology", "starts_at": datetime.now(UTC)}
    session = Session(**{**values, **fields})
    return replace(session, starts_at=session.starts_at + timedelta(days=2))


async def people(database: Database, n: int) -> list[UUID]:
    """So many."""
    users = [uuid4() for _ in range(n)]
    async with database.transaction() as connection:
        await connection.execute(insert(UserRow), [{"id": u, "email": ADDRESS} for u in users])
    return users


@pytest.mark.parametrize("change", ["cancel", "restore", "move"])
async def test_a_session_is_changed_while_sixty_enroll_in_it(
    database: Database, planner: EnrollmentPlanner, change: str
) -> None:
    """Its cancel, move and restore wait for those who were there before, and for nobody else."""
    catalogue, session = Catalogue(database), in_two_days()
    await catalogue.put_session(session)
    waiting = iter(await people(database, 4000))
    changes: dict[str, Change] = {
        "cancel": lambda _: catalogue.cancel_session(session.id),
        "restore": lambda _: catalogue.restore_session(session.id),
        "move": lambda nth: catalogue.put_session(
            replace(session, starts_at=session.starts_at + timedelta(hours=nth))
        ),
    }
    rush = Rush(lambda: planner.enroll(session.id, next(waiting)))
    async with rush.going_on():
        came_first, _ = await rush.overtaking(changes[change])
    assert came_first <= SOON


@pytest.mark.slow
async def test_a_session_is_cancelled_within_a_second_while_sixty_enroll_in_it(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """By the clock, so on a machine that has nothing else to do."""
    catalogue, session = Catalogue(database), in_two_days()
    await catalogue.put_session(session)
    waiting = iter(await people(database, 4000))
    rush = Rush(lambda: planner.enroll(session.id, next(waiting)))
    async with rush.going_on():
        _, seconds = await rush.overtaking(lambda _: catalogue.cancel_session(session.id))
    print(f"a cancel takes {seconds:.2f} s, the median of five")
    assert seconds <= AT_ONCE


@pytest.mark.parametrize("change", ["address", "choice", "bounce", "erasure"])
async def test_a_person_is_changed_while_they_enroll_in_sixty_sessions(
    database: Database, planner: EnrollmentPlanner, change: str
) -> None:
    """Their address, choices, bounces and erasure do not wait until all of it is over."""
    catalogue = Catalogue(database)
    [ana] = await people(database, 1)
    sessions = [in_two_days() for _ in range(RUSH)]
    async with database.transaction() as connection:
        await connection.execute(
            insert(SessionRow),
            [{"id": s.id, "title": s.title, "start_time": s.starts_at} for s in sessions],
        )
    planned = await planner.enroll(sessions[0].id, ana)
    changes: dict[str, Change] = {
        "address": lambda nth: catalogue.put_user(Attendee(user_id=ana, email=f"{nth}{ADDRESS}")),
        "choice": lambda nth: PreferenceStore(database, SystemClock()).change(
            ana, lambda _: frozenset({OptOut()} if nth % 2 else ()), by=By("test")
        ),
        "bounce": lambda _: ProviderEvents(database).record(a_bounce(planned.reminders[0].id)),
        "erasure": lambda _: ErasureStore(database, SystemClock()).erase(ana, by=By("test")),
    }
    turn = in_turn(sessions)

    async def enroll() -> None:
        try:
            await planner.enroll(next(turn).id, ana)
        except NotFoundError:
            assert change == "erasure"

    rush = Rush(enroll)
    async with rush.going_on():
        came_first, _ = await rush.overtaking(changes[change])
    assert came_first <= SOON


async def test_a_rule_is_changed_while_sixty_enroll(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """A rule of the session's own, switched on and off, waits for nobody who enrolls."""
    session, rules = in_two_days(), RuleStore(database)
    await Catalogue(database).put_session(session)
    waiting = iter(await people(database, 4000))
    rush = Rush(lambda: planner.enroll(session.id, next(waiting)))
    async with rush.going_on():
        came_first, _ = await rush.overtaking(
            lambda nth: rules.change(
                "1h", session.id, RuleFields(is_enabled=bool(nth % 2)), by=By("test")
            )
        )
    assert came_first <= SOON


async def test_enrolling_does_not_lock_the_rows_of_session_and_person(
    database: Database, planner: EnrollmentPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever updates them by hand meanwhile waits for nobody."""
    catalogue, session = Catalogue(database), in_two_days()
    await catalogue.put_session(session)
    [ana] = await people(database, 1)
    written, asked = plans.write, asyncio.Event()

    async def plan_and_update_by_hand(*args: Any, **kwargs: Any) -> Any:
        planned = await written(*args, **kwargs)
        asked.set()
        async with asyncio.timeout(60), database.transaction() as connection:
            await connection.execute(text("UPDATE sessions SET title = 'Oncology'"))
            await connection.execute(text("UPDATE users SET full_name = 'Ana'"))
        return planned

    monkeypatch.setattr(plans, "write", plan_and_update_by_hand)
    planned = await planner.enroll(session.id, ana)
    assert asked.is_set()
    assert planned.has_pending


async def test_a_session_is_changed_by_one_at_a_time(database: Database) -> None:
    """A cancel waits for whoever changes the session, and those who enroll wait for the cancel."""
    session, order = uuid4(), []

    async def hold(name: str, take: Callable[[Any], Awaitable[None]]) -> None:
        async with database.transaction() as connection:
            await take(connection)
            order.append(name)

    async with database.transaction() as connection:
        await locks.planning(connection, session, uuid4())
        cancel = asyncio.create_task(hold("cancel", lambda c: locks.session(c, session)))
        await waiting_for(database, 1)
        late = asyncio.create_task(hold("late", lambda c: locks.planning(c, session, uuid4())))
        await waiting_for(database, 2)
        order.append("early")
    await asyncio.gather(cancel, late)
    assert ["early", "cancel", "late"] == order


async def test_whatever_happens_at_once_nobody_waits_for_each_other(
    database_url: str, database: Database
) -> None:
    """Locks are taken in one order, so that PostgreSQL has no deadlock to break."""
    crowd = Database(database_url, pool_size=24)
    before = await deadlocks(database)  # the database has served other tests
    clock = SystemClock()
    catalogue, planner = Catalogue(crowd), EnrollmentPlanner(crowd, clock)
    choices, erasure, rules = (
        PreferenceStore(crowd, clock),
        ErasureStore(crowd, clock),
        RuleStore(crowd),
    )
    events, cutovers = ProviderEvents(crowd), Cutovers(crowd)
    sessions = [in_two_days() for _ in range(2)]
    users = await people(database, 3)
    for session in sessions:
        await catalogue.put_session(session)
    chance = random.Random(43)

    async def some_event() -> None:
        async with database.autocommit() as connection:
            rows = list(await connection.scalars(select(ReminderRow.id)))
        if rows:
            await events.record(a_bounce(chance.choice(rows)))

    def some_call() -> Awaitable[object]:
        session, user = chance.choice(sessions), chance.choice(users)
        moved = replace(session, starts_at=session.starts_at + chance.choice((1, 5)) * HOUR)
        opt_outs = frozenset({OptOut(session.id)} if chance.random() < 0.5 else ())
        calls: list[Callable[[], Awaitable[object]]] = [
            *5 * [lambda: planner.enroll(session.id, user)],
            *2 * [lambda: planner.unenroll(session.id, user)],
            *2 * [lambda: planner.replan(session.id, user)],
            lambda: planner.close_waiting(session.id, user, StatusReason.UNENROLLED),
            lambda: catalogue.put_session(moved),
            lambda: catalogue.cancel_session(session.id),
            lambda: catalogue.restore_session(session.id),
            *2 * [lambda: catalogue.put_user(Attendee(user_id=user, email=ADDRESS))],
            lambda: erasure.erase(user, by=By("test")),
            lambda: choices.change(user, lambda _: opt_outs, by=By("test")),
            some_event,
            lambda: rules.change(
                "1h", None, RuleFields(is_enabled=chance.random() < 0.5), by=By("test")
            ),
            lambda: cutovers.take_over(session.id, since=session.starts_at, now=clock.now()),
        ]
        return chance.choice(calls)()

    async def some_calls() -> None:
        for _ in range(CALLS):
            with suppress(NotFoundError, ConflictError):
                await some_call()

    async with asyncio.timeout(90):
        await asyncio.gather(*(some_calls() for _ in range(24)))
    await crowd.aclose()
    assert before == await deadlocks(database)


async def deadlocks(database: Database) -> int:
    """How many PostgreSQL has had to break, ever."""
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(await database.scalar(text(query)))


def a_bounce(reminder_id: UUID) -> ProviderEvent:
    """What the provider tells of an address that does not exist."""
    return ProviderEvent(
        svix_id=f"msg_{uuid4().hex}",
        type="email.bounced",
        occurred_at=datetime.now(UTC),
        accepted_at=datetime.now(UTC),
        email_id=f"e-{uuid4()}",
        reminder_id=reminder_id,
        recipients=(ADDRESS,),
        status=ReminderStatus.BOUNCED,
        stops=StatusReason.ADDRESS_BOUNCED,
        detail="Permanent/General",
    )


def in_turn(sessions: list[Session]) -> Iterator[Session]:
    """Each of them, over and over."""
    while True:
        yield from sessions


async def waiting_for(database: Database, n: int) -> None:
    """Until so many transactions wait for a lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while True:
            async with database.autocommit() as connection:
                if await connection.scalar(query) == n:
                    return
