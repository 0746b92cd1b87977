"""The ledger's statements: each judges by one reading, and by one clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, func, insert, select, text, update

from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.provider import ProviderState
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.tables import (
    ReminderConfigurationRow,
    ReminderPreferenceRow,
    ReminderRow,
    SessionRow,
)
from reminders.domain.keys import reminder_id
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.pace import Pace
from reminders.domain.ports import Destination, FrozenBatch, Settlement
from reminders.settings import Settings
from tests.reminders.delivery.dispatch import a_pipeline, due_reminders, lapse_leases, statuses
from tests.stage import eventually

ACCEPTED = "e-1"


class Fast:
    """A clock that is two hours ahead of everybody else's."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC) + timedelta(hours=2)


def a_ledger(database: Database, owner: str = "w", **parts: Any) -> PostgresDeliveryLedger:
    """The ledger of one worker."""
    clock = parts.pop("clock", SystemClock())
    return PostgresDeliveryLedger(database, clock, owner=owner, pace=Pace.of(1000), **parts)


async def frozen(
    ledger: PostgresDeliveryLedger, ids: list[UUID], *, starts_at: datetime, **fields: Any
) -> FrozenBatch:
    """A batch of these, as their worker has it when it posts."""
    reading = await ledger.read(ids)
    batch = FrozenBatch(
        id=uuid4(),
        reminder_ids=tuple(ids),
        body=b"[]",
        useful_until=starts_at,
        frozen_at=datetime.now(UTC),
        **fields,
    )
    wait = await ledger.freeze(batch, [], facts=reading.facts, run_ids=dict.fromkeys(ids, "run"))
    assert wait is not None
    return batch


async def row_of(database: Database, row_id: UUID) -> Any:
    """A row of the ledger as it now is."""
    async with database.autocommit() as connection:
        found = await connection.execute(
            select(ReminderRow.__table__).where(ReminderRow.id == row_id)
        )
        return found.one()


async def waits_for_a_lock(database: Database) -> bool:
    """Whether some statement on this database is blocked by another."""
    async with database.autocommit() as connection:
        count = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        )
    return bool(count)


async def test_who_waits_for_another_instant_than_the_ledger_s_is_overtaken(
    database: Database,
) -> None:
    """Of two calls for one reminder the one that has its instant waits on; who has ended does not."""
    right, ended = await due_reminders(database, 2)
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id == ended.reminder_id)
            .values(email_status=ReminderStatus.CANCELLED)
        )
    wrong = (right.reminder_id, right.due_at - timedelta(hours=1))
    over = (ended.reminder_id, ended.due_at)
    waiting = [(right.reminder_id, right.due_at), wrong, over]
    assert {wrong, over} == await a_ledger(database).overtaken(waiting)


async def test_a_crowd_that_lasts_leaves_gaps_for_others(database: Database) -> None:
    """Two windows go at once each; then three by three, so that nobody waits for a window to end."""
    ledger = PostgresDeliveryLedger(database, SystemClock(), owner="w", pace=Pace.of(10))

    async def taken(count: int) -> list[datetime]:
        for _ in range(count):
            await ledger.pace(at_least=timedelta())
        async with database.autocommit() as connection:
            turns = await connection.scalar(text("SELECT turns FROM provider_pace"))
        return list(turns[-count:])

    began = time.monotonic()
    turns = await taken(20)
    took = timedelta(seconds=time.monotonic() - began)
    window, third = timedelta(seconds=1.1), timedelta(seconds=0.33)
    assert max(turns[9] - turns[0], turns[19] - turns[10]) <= took
    assert turns[10] - turns[0] == window
    turns += await taken(40)
    assert all(b - a >= third for a, b in zip(turns[20:], turns[23:], strict=False))
    assert all(b - a <= third for a, b in pairwise(turns[20:]))
    assert all(b - a >= window for a, b in zip(turns, turns[10:], strict=False))

    async with database.transaction() as connection:  # three windows later
        await connection.execute(
            text(
                "UPDATE provider_pace SET turns ="
                " ARRAY(SELECT t - make_interval(secs => :past) FROM unnest(turns) t)"
            ),
            {"past": (turns[-1] - turns[0]).total_seconds() + 3.3},
        )
    again = [await ledger.pace(at_least=timedelta()) for _ in range(10)]
    assert {timedelta()} == set(again)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("held", [False, True])
async def test_rows_and_hold_are_one_statement(database: Database, held: bool) -> None:
    """Whether or not something holds: nothing can end in between and look like missing rows."""
    ledger = a_ledger(database)
    ids = [r.reminder_id for r in await due_reminders(database, 3)]
    if held:
        await ledger.hold(StatusReason.QUOTA, lasts=timedelta(hours=1))
    seen: list[str] = []
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
    reading = await ledger.read(ids)
    assert 1 == len(seen)
    assert held is (reading.hold is not None)
    assert (0 if held else 3) == len(reading.facts)


async def test_holds_that_end_while_others_read_hide_no_rows(database: Database) -> None:
    """Read again and again while short holds end: there is a hold, or there are the rows."""
    ledger = a_ledger(database)
    ids = [r.reminder_id for r in await due_reminders(database, 20)]
    for _ in range(30):
        await ledger.hold(StatusReason.QUOTA, lasts=timedelta(milliseconds=5))
        while (reading := await ledger.read(ids)).hold is not None:
            pass
        assert 20 == len(reading.facts)


async def test_a_hold_lasts_by_the_database_s_clock(database: Database) -> None:
    """A worker whose clock is hours ahead holds everybody for a minute, and not for hours."""
    ledger = a_ledger(database, clock=Fast())
    await ledger.hold(StatusReason.MISCONFIGURED, lasts=timedelta(minutes=1))
    (hold, reading) = (await ProviderState(database).hold(), await ledger.read([]))
    assert hold is not None
    assert reading.hold is not None
    assert timedelta() < hold.until - datetime.now(UTC) <= timedelta(minutes=1)
    assert timedelta() < reading.hold.until - Fast().now() <= timedelta(minutes=1)


async def with_a_later_one(database: Database) -> tuple[UUID, Any]:
    """A reminder that is due, and the columns of another of the same person, due in a minute."""
    [first] = await due_reminders(database, 1)
    row = await row_of(database, first.reminder_id)
    later = {
        "id": reminder_id(row.session_id, row.user_id, "2h", 1),
        "session_id": row.session_id,
        "user_id": row.user_id,
        "reminder_type": "2h",
        "due_at": datetime.now(UTC) + timedelta(minutes=1),
        "starts_at": row.starts_at,
        "workflow_id": "w",
    }
    async with database.transaction() as connection:
        await connection.execute(insert(ReminderRow).values(later))
    return first.reminder_id, later


async def test_the_next_reminder_is_one_that_will_go_out(database: Database) -> None:
    """Not one whose rule is off, and not one that its person has stopped."""
    ledger = a_ledger(database)
    first, later = await with_a_later_one(database)
    two_hours = ReminderConfigurationRow.reminder_type == "2h"

    async def next_due_at() -> datetime | None:
        [fact] = (await ledger.read([first])).facts
        return fact.next_due_at

    assert await next_due_at() == later["due_at"]
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderConfigurationRow).where(two_hours).values(is_enabled=False)
        )
    assert await next_due_at() is None
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderConfigurationRow).where(two_hours).values(is_enabled=True)
        )
        await connection.execute(
            insert(ReminderPreferenceRow).values(
                user_id=later["user_id"], reminder_type="2h", reason="opted_out"
            )
        )
    assert await next_due_at() is None


async def test_what_was_told_is_known_by_kind_and_within_the_threshold(
    settings: Settings, database: Database
) -> None:
    """The newest e-mail of the same kind counts, and how far the setting lets the session move."""
    [first] = await due_reminders(database, 1)
    row = await row_of(database, first.reminder_id)
    again = {
        "id": reminder_id(row.session_id, row.user_id, row.reminder_type, 2),
        "session_id": row.session_id,
        "user_id": row.user_id,
        "reminder_type": row.reminder_type,
        "generation": 2,
        "due_at": row.due_at,
        "starts_at": row.starts_at + timedelta(hours=3),
        "workflow_id": "w",
    }
    async with database.transaction() as connection:
        await connection.execute(insert(ReminderRow).values(again))

    async def was_told(**changed: Any) -> bool:
        async with a_pipeline(settings, **changed) as pipeline:
            [fact] = (await pipeline._ledger.read([again["id"]])).facts
            return bool(fact.was_told)

    assert not await was_told()
    async with database.transaction() as connection:
        sent = update(ReminderRow).where(ReminderRow.id == first.reminder_id)
        await connection.execute(sent.values(email_status="sent", sent_at=func.now()))
    assert await was_told()
    async with database.transaction() as connection:
        moved = update(SessionRow).values(start_time=row.starts_at + timedelta(minutes=2))
        await connection.execute(moved)
    assert await was_told()
    assert not await was_told(reschedule_resend_threshold=timedelta(minutes=1))


# ---------------------------------------------------------------- closing


async def test_what_is_frozen_while_a_close_waits_is_in_doubt(database: Database) -> None:
    """A close that waits for a freeze sees what it did: the run is not told that nothing is out."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    ids = [reminder.reminder_id]
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow).where(ReminderRow.id == ids[0]).values(email_status="sending")
        )
        closing = asyncio.create_task(
            ledger.close(ids, ReminderStatus.CANCELLED, StatusReason.WORKFLOW_CANCELLED)
        )
        await eventually(lambda: waits_for_a_lock(database))
    result = await closing
    assert (0, 1) == (result.closed, result.in_doubt)


async def test_nothing_that_is_here_is_closed_as_not_found(database: Database) -> None:
    """Whoever did not find a row was wrong if it is there: it waits on, and the sweep finds it."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    result = await ledger.close(
        [reminder.reminder_id], ReminderStatus.FAILED, StatusReason.NOT_FOUND
    )
    assert 0 == result.closed
    assert await statuses(database) == {"scheduled": 1}


# ---------------------------------------------------------------- counting


async def test_attempts_are_counted_as_far_as_the_column_goes(database: Database) -> None:
    """After months in doubt one more attempt is no error, neither frozen nor taken over."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    async with database.transaction() as connection:
        await connection.execute(update(ReminderRow).values(attempts=32_767))
    batch = await frozen(ledger, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    assert await ledger.resume(batch.id) is not None
    assert 32_767 == (await row_of(database, reminder.reminder_id)).attempts


# ---------------------------------------------------------------- settling


@pytest.mark.parametrize("reason", [StatusReason.OUTCOME_UNKNOWN, StatusReason.EXPIRED])
async def test_an_acceptance_counts_after_the_request_was_given_up(
    database: Database, reason: StatusReason
) -> None:
    """A slow worker's answer comes when another has ended the reminder: it was sent."""
    slow, other = a_ledger(database, "slow"), a_ledger(database, "other")
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(slow, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    assert await other.resume(batch.id) is not None
    given_up = Settlement(
        reminder_id=reminder.reminder_id, status=ReminderStatus.FAILED, reason=reason, error="?"
    )
    await other.settle(batch.id, [given_up])
    await slow.settle(batch.id, [accepted(reminder.reminder_id)])
    await other.settle(batch.id, [given_up])
    row = await row_of(database, reminder.reminder_id)
    assert ("sent", None, None, ACCEPTED) == (
        row.email_status,
        row.status_reason,
        row.last_error,
        row.resend_email_id,
    )
    assert row.sent_at is not None


def accepted(row_id: UUID) -> Settlement:
    """The provider took it."""
    return Settlement(reminder_id=row_id, status=ReminderStatus.SENT, resend_email_id=ACCEPTED)


async def test_an_acceptance_counts_of_what_was_released(database: Database) -> None:
    """Taken for refused, it waits again; the proof that it was accepted keeps it from going twice."""
    slow, other = a_ledger(database, "slow"), a_ledger(database, "other")
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(slow, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    taken = await other.resume(batch.id)
    assert taken is not None
    await other.release(taken[0])
    assert await statuses(database) == {"scheduled": 1}
    await slow.settle(batch.id, [accepted(reminder.reminder_id)])
    assert await statuses(database) == {"sent": 1}


async def test_what_a_webhook_told_stays(database: Database) -> None:
    """Delivered already when the answer is recorded: it does not go back to sent."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(ledger, [reminder.reminder_id], starts_at=reminder.starts_at)
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow).values(email_status="delivered", resend_email_id=ACCEPTED)
        )
    await ledger.settle(batch.id, [accepted(reminder.reminder_id)])
    assert await statuses(database) == {"delivered": 1}


# ---------------------------------------------------------------- whose it is


SINK = Destination.of("redirect", "tester@platform.example")
OTHER_SINK = Destination.of("redirect", "other@platform.example")
LIVE = Destination.of("live", "tester@platform.example")


@pytest.mark.parametrize(
    ("frozen_for", "resumed_for"), [(LIVE, SINK), (SINK, LIVE), (SINK, OTHER_SINK)]
)
async def test_a_request_is_only_taken_over_where_it_belongs(
    database: Database, frozen_for: Destination, resumed_for: Destination
) -> None:
    """Under another mode or test address it is not found, but named; under its own it goes on."""
    before = a_ledger(database, destination=frozen_for)
    now = a_ledger(database, destination=resumed_for)
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(before, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    assert () == tuple(await now.in_doubt(limit=10))
    assert await now.resume(batch.id) is None
    [stranded] = await now.stranded()
    assert (batch.id, 1, frozen_for.mode) == (stranded.batch_id, stranded.reminders, stranded.mode)
    assert () == tuple(await before.stranded())
    assert [batch.id] == list(await before.in_doubt(limit=10))
    taken = await before.resume(batch.id)
    assert taken is not None
    assert taken[0].unrepeatable is None


async def test_a_request_of_another_installation_is_not_taken_over(database: Database) -> None:
    """A copy that was given an id of its own leaves alone what came along in it."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(ledger, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE reminder_installation SET id = gen_random_uuid()"))
    assert await ledger.resume(batch.id) is None
    assert 1 == len(await ledger.stranded())


async def test_what_is_too_late_is_ended_wherever_it_belongs(database: Database) -> None:
    """Also in a hold, for it takes no provider; and it is unrepeatable."""
    before, now = (a_ledger(database, destination=d) for d in (LIVE, SINK))
    [reminder] = await due_reminders(database, 1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    batch = await frozen(
        before, [reminder.reminder_id], starts_at=reminder.starts_at, repeatable_until=past
    )
    await lapse_leases(database)
    await now.hold(StatusReason.QUOTA, lasts=timedelta(hours=1))
    assert [batch.id] == list(await now.in_doubt(limit=10))
    taken = await now.resume(batch.id)
    assert taken is not None
    assert taken[0].unrepeatable is not None


async def test_a_release_before_left_no_mode_and_its_requests_are_not_posted(
    database: Database,
) -> None:
    """What such a worker froze after the upgrade of the schema is left to workers of its kind."""
    ledger = a_ledger(database)
    [reminder] = await due_reminders(database, 1)
    batch = await frozen(ledger, [reminder.reminder_id], starts_at=reminder.starts_at)
    await lapse_leases(database)
    async with database.transaction() as connection:
        await connection.execute(
            update(EmailBatchRow).values(
                delivery_mode="unknown", installation_id=None, repeatable_until=None
            )
        )
    assert await ledger.resume(batch.id) is None


# ---------------------------------------------------------------- whether it is still true


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET status = 'cancelled'",
        "UPDATE sessions SET start_time = start_time + interval '1 hour'",
        "UPDATE enrollments SET status = 'cancelled'",
        "DELETE FROM enrollments",
        "INSERT INTO reminder_preferences (user_id, reason) SELECT id, 'opted_out' FROM users",
    ],
)
async def test_a_request_that_is_not_true_any_more_is_not_repeated(
    database: Database, change: str
) -> None:
    """Its session is off or elsewhere, or nobody of it takes part: neither taken over nor retried."""
    ledger = a_ledger(database)
    reminders = await due_reminders(database, 2)
    ids = [r.reminder_id for r in reminders]
    batch = await frozen(ledger, ids, starts_at=reminders[0].starts_at)
    same, _ = await ledger.again(batch, at_least=timedelta())
    assert same.unrepeatable is None
    async with database.transaction() as connection:
        await connection.execute(text(change))
    again, _ = await ledger.again(batch, at_least=timedelta())
    assert again.unrepeatable is not None
    await lapse_leases(database)
    taken = await ledger.resume(batch.id)
    assert taken is not None
    assert taken[0].unrepeatable is not None
    assert {1} == {(await row_of(database, i)).attempts for i in ids}


async def test_one_who_left_does_not_leave_the_others_without(database: Database) -> None:
    """Of one body all is repeated or nothing: the session takes place, and somebody waits for it."""
    ledger = a_ledger(database)
    reminders = await due_reminders(database, 2)
    ids = [r.reminder_id for r in reminders]
    batch = await frozen(ledger, ids, starts_at=reminders[0].starts_at)
    gone = (await row_of(database, ids[0])).user_id
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE enrollments SET status = 'cancelled' WHERE user_id = :gone"),
            {"gone": gone},
        )
    again, _ = await ledger.again(batch, at_least=timedelta())
    assert again.unrepeatable is None


async def test_who_may_have_been_told_of_another_start_is_told_of_this_one(
    database: Database,
) -> None:
    """A move whose e-mail nobody knows the end of, taken back: they may believe in the other start."""
    [first] = await due_reminders(database, 1)
    row = await row_of(database, first.reminder_id)
    columns = ("session_id", "user_id", "workflow_id", "due_at")
    common = {name: getattr(row, name) for name in columns}

    def notice(generation: int, **fields: Any) -> dict[str, Any]:
        named = {"reminder_type": "moved", "generation": generation}
        key = (row.session_id, row.user_id, "moved", generation)
        return {**common, **named, "id": reminder_id(*key), **fields}

    async with database.transaction() as connection:
        told = {"email_status": "sent", "sent_at": datetime.now(UTC), "plan_version": 1}
        await connection.execute(update(ReminderRow).values(**told))
        later = row.starts_at + timedelta(hours=4)
        doubtful = {"email_status": "failed", "status_reason": "outcome_unknown"}
        for fields in (
            notice(1, starts_at=later, plan_version=2, **doubtful),
            notice(2, starts_at=row.starts_at, plan_version=3),
        ):
            await connection.execute(insert(ReminderRow).values(**fields))
    waiting = reminder_id(row.session_id, row.user_id, "moved", 2)
    [fact] = (await a_ledger(database).read([waiting])).facts
    assert not fact.told_already
