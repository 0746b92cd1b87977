"""Planning in the ledger: whole, repeatable, and in one order for each enrollment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, insert, text, update

from reminders.clock import SystemClock
from reminders.db import plans
from reminders.db.audit import By
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.ledger import ReminderQueries
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.db.tables import EnrollmentRow, UserRow
from reminders.domain.errors import (
    EnrollmentNotFoundError,
    InvalidInputError,
    SessionNotFoundError,
    UserNotFoundError,
)
from reminders.domain.lead_in import APART, SHORTEST
from reminders.domain.model import (
    Attendee,
    Enrollee,
    EnrollmentStatus,
    Reminder,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.rules import RuleFields
from tests.reminders.db.test_sweep import sql
from tests.stage import eventually


@pytest.fixture
def planner(database: Database) -> EnrollmentPlanner:
    """A planner on real time."""
    return EnrollmentPlanner(database, SystemClock())


async def a_stored_session(database: Database, **fields: object) -> Session:
    """A session in two days."""
    values = {"id": uuid4(), "title": "T", "starts_at": datetime.now(UTC) + timedelta(days=2)}
    session = Session(**{**values, **fields})  # type: ignore[arg-type]
    await Catalogue(database).put_session(session)
    return session


async def a_stored_person(database: Database) -> Attendee:
    """Somebody."""
    person = Attendee(user_id=uuid4(), email="ana@hospital.example")
    await Catalogue(database).put_user(person)
    return person


async def test_a_hundred_enrollments_at_once_of_one_person_are_one_plan(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Three rows, one call that made them, and the version of its plan for all."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    planned = await asyncio.gather(
        *(planner.enroll(session.id, person.user_id) for _ in range(100))
    )
    assert 1 == sum(p.is_first for p in planned)
    assert 1 == len({p.version for p in planned})
    rows = await ReminderQueries(database).of_enrollment(session.id, person.user_id)
    assert 3 == len(rows)


async def test_moves_and_enrollments_at_once_end_with_the_newest_start(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Whatever the order, the plan with the highest version has the start that is stored."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    catalogue = Catalogue(database)

    async def move(n: int) -> object:
        starts_at = session.starts_at + timedelta(minutes=n)
        await catalogue.put_session(Session(id=session.id, title="T", starts_at=starts_at))
        return await planner.enroll(session.id, person.user_id)

    planned = await asyncio.gather(*(move(n) for n in range(20)))
    newest = max(planned, key=lambda p: p.version)  # type: ignore[attr-defined]
    stored = await catalogue.session(session.id)
    assert stored.starts_at == newest.session.starts_at  # type: ignore[attr-defined]
    rows = await ReminderQueries(database).of_enrollment(session.id, person.user_id)
    assert {stored.starts_at} == {row.starts_at for row in rows}


async def test_calls_for_the_same_people_never_wait_for_each_other(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """In whatever order each names them, one call plans everybody first, and no two deadlock."""
    session = await a_stored_session(database)
    people = [Enrollee(user_id=(await a_stored_person(database)).user_id) for _ in range(8)]
    calls = [people, people[::-1], people[4:] + people[:4]] * 3
    answers = await asyncio.gather(*(planner.enroll_all(session.id, call) for call in calls))
    planned = [plan for answer in answers for plan in answer.values()]
    assert all(isinstance(plan, PlannedEnrollment) for plan in planned)
    first = [plan for plan in planned if isinstance(plan, PlannedEnrollment) and plan.is_first]
    assert {person.user_id for person in people} == {plan.user_id for plan in first}
    assert 8 == len(first)


async def test_many_cost_the_statements_of_one(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Round trips are what a transaction takes its time for: thirty people cost as many as two."""
    statements: list[str] = []
    listening = database.engine.sync_engine, "before_cursor_execute"

    def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    async def cost(call: Awaitable[Any]) -> int:
        statements.clear()
        await call
        return len(statements)

    event.listen(*listening, count)
    costs = []
    for many in (2, 30):
        session = await a_stored_session(database)
        users = [(await a_stored_person(database)).user_id for _ in range(many)]
        pending = [Enrollee(user_id=u, status=EnrollmentStatus.PENDING) for u in users]
        enrolled = await cost(planner.enroll_all(session.id, pending))
        confirmed = await cost(planner.enroll_all(session.id, [Enrollee(user_id=u) for u in users]))
        later = session.starts_at + timedelta(days=1)
        await a_stored_session(database, id=session.id, starts_at=later)
        costs.append((enrolled, confirmed, await cost(planner.replan_all(session.id, users))))
    event.remove(*listening, count)
    assert costs[0] == costs[1]
    assert max(costs[0]) <= 12


async def test_a_crowd_is_told_of_a_move_once_all_can_have_the_plan(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Three people who wake as far apart as hundreds otherwise wait longer than two minutes."""
    session = await a_stored_session(database)
    users = [(await a_stored_person(database)).user_id for _ in range(3)]
    await planner.enroll_all(session.id, [Enrollee(user_id=u) for u in users])
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE reminder_configurations SET is_enabled = true"))
        await connection.execute(text("UPDATE reminder_installation SET wake_apart = '1 minute'"))
    later = session.starts_at + timedelta(days=1)
    await a_stored_session(database, id=session.id, starts_at=later)
    before = datetime.now(UTC)
    for planned in await planner.replan_all(session.id, users):
        (moved,) = (r for r in planned.reminders if r.reminder_type == "moved")
        assert timedelta(minutes=4, seconds=30) <= moved.due_at - before < timedelta(minutes=5)
    assert timedelta(minutes=4, seconds=30) == await planner.cooling(session.id)


@pytest.mark.parametrize("session_wide", [True, False])
async def test_switching_a_notice_on_tells_nothing_of_the_past(
    database: Database, planner: EnrollmentPlanner, *, session_wide: bool
) -> None:
    """What was cancelled before, the platform has told by itself; what is cancelled later is told."""
    old, new = await a_stored_session(database), await a_stored_session(database)
    user = (await a_stored_person(database)).user_id
    cancel = "UPDATE sessions SET status = 'cancelled' WHERE id = :id"
    for session in (old, new):
        await planner.enroll(session.id, user)
    async with database.transaction() as connection:
        await connection.execute(text(cancel), {"id": old.id})
    await planner.replan(old.id, user)
    rules, on = RuleStore(database), RuleFields(is_enabled=True)
    for session_id in (old.id, new.id) if session_wide else (None,):
        await rules.change("cancelled", session_id, on, by=By("cli"))
    async with database.transaction() as connection:
        await connection.execute(text(cancel), {"id": new.id})
    notices = [
        next(r for r in (await planner.replan(s.id, user)).reminders if r.notice)
        for s in (old, new)
    ]
    assert [StatusReason.UNTOLD, None] == [notice.reason for notice in notices]


async def test_what_was_to_be_told_to_nobody_may_come_back_and_be_told(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Cancelled quietly, published again, and cancelled in earnest: the last is another cancel."""
    await sql(database, "UPDATE reminder_configurations SET is_enabled = true")
    session, user = await a_stored_session(database), (await a_stored_person(database)).user_id
    await planner.enroll(session.id, user)
    await Catalogue(database).cancel_session(session.id, By("cli"), tell_nobody=True)
    assert not (await planner.replan(session.id, user)).is_told
    for status, is_told in (("scheduled", False), ("cancelled", True)):
        await sql(database, f"UPDATE sessions SET status = '{status}'")
        assert is_told is (await planner.replan(session.id, user)).is_told


async def test_sessions_that_start_together_wake_one_after_the_other(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Fifty small ones at the full hour are a crowd as well as one large one is."""
    starts_at = datetime.now(UTC) + timedelta(days=2)
    sessions = [await a_stored_session(database, starts_at=starts_at) for _ in range(2)]
    people = [(await a_stored_person(database)).user_id for _ in range(3)]
    early = [
        (await planner.enroll(session.id, person)).lead_in
        for session in sessions
        for person in people
    ]
    apart = [later - sooner for sooner, later in pairwise(filter(None, early))]
    # The first of the second session is in the place of the last of the first.
    assert [APART, APART, timedelta(), APART, APART] == apart


async def test_sessions_that_start_together_and_are_found_later_wake_one_after_the_other(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """A platform that writes its tables only has its people planned by a back-fill or a sweep."""
    starts_at = datetime.now(UTC) + timedelta(days=2)
    early: list[timedelta | None] = []
    for _ in range(2):
        session = await a_stored_session(database, starts_at=starts_at)
        people = [(await a_stored_person(database)).user_id for _ in range(3)]
        async with database.transaction() as connection:
            for person in people:
                await connection.execute(
                    insert(EnrollmentRow).values(session_id=session.id, user_id=person)
                )
        early += [(await planner.reconcile(session.id, person)).lead_in for person in people]
    assert all(place and place <= SHORTEST + 3 * APART for place in early[:3])
    assert [SHORTEST + n * APART for n in (3, 4, 5)] == early[3:]


async def test_who_was_planned_anew_meanwhile_is_told_of(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """A run that was started with an older plan is to be given the newer one."""
    session = await a_stored_session(database)
    people = [Enrollee(user_id=(await a_stored_person(database)).user_id) for _ in range(2)]
    planned = await planner.enroll_all(session.id, people)
    first = [plan for plan in planned.values() if isinstance(plan, PlannedEnrollment)]
    moved = replace(session, starts_at=session.starts_at + timedelta(hours=3))
    await Catalogue(database).put_session(moved)
    newer = await planner.replan(session.id, people[0].user_id)
    assert {people[0].user_id} == await planner.confirm_all(first)
    assert set() == await planner.confirm_all([newer, first[1]])
    assert await planner.confirm(newer, is_found=True)


async def test_unknown_sessions_users_and_enrollments_are_named(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Each missing thing is its own error, and nothing is written."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    with pytest.raises(SessionNotFoundError):
        await planner.enroll(uuid4(), person.user_id)
    with pytest.raises(UserNotFoundError):
        await planner.enroll(session.id, uuid4())
    with pytest.raises(EnrollmentNotFoundError):
        await planner.unenroll(session.id, person.user_id)
    with pytest.raises(EnrollmentNotFoundError):
        await planner.replan(session.id, person.user_id)
    assert () == (await ReminderQueries(database).list()).reminders


async def test_an_enrollment_id_belongs_to_one_enrollment(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """The platform's own id is kept, and a second enrollment cannot have it."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    other = await a_stored_person(database)
    mine = uuid4()
    await planner.enroll(session.id, person.user_id, mine)
    await planner.enroll(session.id, person.user_id, mine)
    with pytest.raises(InvalidInputError, match="enrollment_id"):
        await planner.enroll(session.id, other.user_id, mine)


async def test_a_cancelled_session_plans_nothing_and_a_restored_one_plans_anew(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Rows are cancelled with the session and come back as a new generation with it."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    await planner.enroll(session.id, person.user_id)
    await a_stored_session(database, id=session.id, status=SessionStatus.CANCELLED)
    off = await planner.replan(session.id, person.user_id)
    assert (3, False) == (off.cancelled, off.has_pending)
    await a_stored_session(database, id=session.id)
    on = await planner.replan(session.id, person.user_id)
    assert [2, 2, 2] == [r.generation for r in on.reminders]
    assert (False, True) == (off.is_revived, on.is_revived)


async def test_what_was_off_for_another_reason_than_a_cancel_is_not_revived(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """A rule that is off for a while: the run was asked to cancel by nobody, and is told at once."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    await planner.enroll(session.id, person.user_id)
    for is_enabled in (False, True):
        async with database.transaction() as connection:
            await connection.execute(
                text(
                    "UPDATE reminder_configurations SET is_enabled = :on WHERE reminder_type = '2h'"
                ),
                {"on": is_enabled},
            )
        planned = await planner.replan(session.id, person.user_id)
    assert {"24h": 1, "2h": 2, "30min": 1} == {
        r.reminder_type: r.generation for r in planned.reminders
    }
    assert not planned.is_revived


async def test_pages_of_reminders_follow_each_other(
    database: Database, planner: EnrollmentPlanner
) -> None:
    """Every row is on exactly one page, in the order of due instants."""
    session = await a_stored_session(database)
    for _ in range(5):
        await planner.enroll(session.id, (await a_stored_person(database)).user_id)
    queries, cursor = ReminderQueries(database), None
    seen: list[Reminder] = []
    while True:
        page = await queries.list(session_id=session.id, cursor=cursor, limit=4)
        seen += page.reminders
        if (cursor := page.next_cursor) is None:
            break
    assert (15, 15) == (len(seen), len({r.id for r in seen}))
    assert sorted(r.due_at for r in seen) == [r.due_at for r in seen]
    with pytest.raises(InvalidInputError, match="cursor"):
        await queries.list(cursor="nonsense")


async def test_planning_and_erasing_a_person_never_wait_for_each_other(
    database: Database, planner: EnrollmentPlanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure that begins while a new rule's reminder is planned comes after it: no deadlock."""
    session, person = await a_stored_session(database), await a_stored_person(database)
    await planner.enroll(session.id, person.user_id)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE reminder_configurations SET is_enabled = true"))
    write, erasing = plans.write, []

    async def write_while_somebody_erases(*args: Any, **kwargs: Any) -> Any:
        erasure = ErasureStore(database, SystemClock()).erase(person.user_id, by=By("test"))
        erasing.append(asyncio.create_task(erasure))
        await eventually(lambda: waits_for_a_lock(database))
        return await write(*args, **kwargs)

    monkeypatch.setattr(plans, "write", write_while_somebody_erases)
    planned = await planner.replan(session.id, person.user_id)
    assert 4 == len(planned.reminders)
    assert 4 == (await erasing[0]).cancelled


async def waits_for_a_lock(database: Database) -> bool:
    """Whether a transaction waits for another."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with database.autocommit() as connection:
        return bool(await connection.scalar(waiting))


async def test_a_broken_deadlock_asks_for_the_same_call_once_more(database: Database) -> None:
    """Whom PostgreSQL sacrifices for another is told what a lost connection is told: repeat it."""
    people = [await a_stored_person(database) for _ in range(2)]
    both_hold_one = asyncio.Barrier(2)

    async def touch(first: Attendee, second: Attendee) -> None:
        async with database.transaction() as connection:
            for person in (first, second):
                await connection.execute(
                    update(UserRow).where(UserRow.id == person.user_id).values(full_name="A")
                )
                if person is first:
                    await both_hold_one.wait()

    outcomes = await asyncio.gather(
        touch(people[0], people[1]), touch(people[1], people[0]), return_exceptions=True
    )
    assert {"NoneType", "DatabaseUnavailableError"} == {type(o).__name__ for o in outcomes}
