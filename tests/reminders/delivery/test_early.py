"""Reminders that are here before they are due: composed by then, gone at the instant, true at it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.delivery import early
from reminders.delivery.pipeline import DeliveryPipeline
from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.model import DeliveryFacts, Message
from reminders.domain.ports import Waiting
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders
from tests.stage import eventually

SOON = timedelta(minutes=30, seconds=10)
IN_TIME = timedelta(seconds=9)
"""For composing, on whatever machine."""
RETITLED = text("UPDATE sessions SET title = 'Neurology'")
LEFT = text("UPDATE enrollments SET status = 'cancelled' WHERE user_id = :user_id")
VERSION = text("SELECT xmin::text FROM session_reminder_emails WHERE id = :id")
SOMEBODY = text("SELECT id FROM users WHERE email = 'attendee7@hospital.example'")


HOUR = timedelta(hours=1)


class Composed:
    """When a pipeline composes, which begins in good time."""

    def __init__(self, pipeline: DeliveryPipeline) -> None:
        """Look over its shoulder."""
        pipeline._early._policy = replace(pipeline._early._policy, prepare_before=IN_TIME)
        self._composer = pipeline._drafts._composer
        self.at: list[datetime] = []
        pipeline._drafts._composer = self

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """See `Composer.compose`."""
        self.at.append(datetime.now(UTC))
        return self._composer.compose(facts, now=now)


async def test_a_crowd_is_composed_before_its_instant_and_goes_in_full_requests(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Nothing is left to compose when 250 are due; three requests, and none of them early."""
    crowd = await due_reminders(database, 250, starts_in=SOON)
    async with a_pipeline(settings) as pipeline:
        composed = Composed(pipeline)
        await deliver(pipeline, crowd)
    requests = [r for r in await provider.requests() if r["path"] == "/emails/batch"]
    assert [50, 100, 100] == sorted(r["emails"] for r in requests)
    assert 250 == len(composed.at)
    assert max(composed.at) < crowd[0].due_at
    accepted = [datetime.fromisoformat(mail["accepted_at"]) for mail in await provider.accepted()]
    assert min(accepted) >= crowd[0].due_at


async def test_connections_are_made_for_the_requests_that_follow(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Three for 250 people, before they are due."""
    crowd = await due_reminders(database, 250, starts_in=SOON)
    warmed: list[tuple[int, datetime]] = []

    async def warm(connections: int) -> None:
        warmed.append((connections, datetime.now(UTC)))

    async with a_pipeline(settings) as pipeline:
        Composed(pipeline)
        pipeline._early._warm = warm
        await deliver(pipeline, crowd)
    [(connections, at)] = warmed
    assert 3 == connections
    assert at < crowd[0].due_at
    assert 250 == len(await provider.accepted())


async def test_what_changes_after_it_was_composed_is_said_as_it_is(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A new title is in everybody's e-mail, and who has left gets none, a moment before."""
    crowd = await due_reminders(database, 20, starts_in=SOON)
    async with a_pipeline(settings) as pipeline:
        composed = Composed(pipeline)
        delivering = asyncio.create_task(deliver(pipeline, crowd))

        async def all_are() -> bool:
            return len(composed.at) == 20

        await eventually(all_are)
        user_id = await database.scalar(SOMEBODY)
        async with database.transaction() as connection:
            await connection.execute(RETITLED)
            await connection.execute(LEFT, {"user_id": user_id})
        assert datetime.now(UTC) < crowd[0].due_at, "too slow to show anything"
        await delivering
    accepted = await provider.accepted()
    assert {f"attendee{n}@hospital.example" for n in range(20) if n != 7} == {
        mail["to"][0] for mail in accepted
    }
    assert all("Neurology" in mail["subject"] for mail in accepted)


@pytest.mark.parametrize(
    ("change", "became"),
    [
        ("email_status = 'cancelled', status_reason = 'session_cancelled'", "cancelled"),
        (
            "due_at = due_at + interval '1 hour', starts_at = starts_at + interval '1 hour'",
            "scheduled",
        ),
    ],
)
async def test_who_is_not_due_then_any_more_need_not_wait(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    monkeypatch: pytest.MonkeyPatch,
    *,
    change: str,
    became: str,
) -> None:
    """A newer plan may have told them something by then; their workflows go on to it at once."""
    monkeypatch.setattr(early, "_NAP", timedelta(milliseconds=100))
    monkeypatch.setattr(early, "_ASKED_AT_ONCE", 2)
    crowd = await due_reminders(database, 5, starts_in=timedelta(minutes=31))
    changed, *others = crowd
    async with a_pipeline(settings) as pipeline:
        waiting = [
            asyncio.create_task(pipeline.deliver(one, run_id="run-1")) for one in (changed, *others)
        ]

        async def all_wait() -> bool:
            return bool(pipeline._early._waiting == 5)

        await eventually(all_wait)
        async with database.transaction() as connection:
            if became == "scheduled":
                await connection.execute(
                    text("UPDATE sessions SET start_time = start_time + interval '1 hour'")
                )
            await connection.execute(
                text(f"UPDATE session_reminder_emails SET {change} WHERE id = :id"),
                {"id": changed.reminder_id},
            )
        written = await database.scalar(VERSION, {"id": changed.reminder_id})
        outcome = await asyncio.wait_for(waiting[0], 20)
        assert became == outcome.status
        if became == "scheduled":  # as the ledger had it
            assert written == await database.scalar(VERSION, {"id": changed.reminder_id})
        assert datetime.now(UTC) < changed.due_at
        assert [False] * 4 == [task.done() for task in waiting[1:]]
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert [] == await provider.accepted()


async def test_a_pipeline_says_whether_something_is_due_soon(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """What waits for its instant counts from then on, what is under way at once."""
    crowd = await due_reminders(database, 2, starts_in=SOON)
    under_way: list[bool] = []
    async with a_pipeline(
        settings, lambda _: under_way.append(pipeline.is_calm(timedelta()))
    ) as pipeline:
        assert pipeline.is_calm(HOUR)
        delivering = asyncio.create_task(deliver(pipeline, crowd))

        async def all_wait() -> bool:
            return bool(pipeline._early._waiting == 2)

        await eventually(all_wait)
        assert pipeline.is_calm(timedelta())
        assert not pipeline.is_calm(HOUR)
        await delivering
        assert pipeline.is_calm(HOUR)
    assert {False} == set(under_way)
    assert 2 == len(await provider.accepted())


async def test_what_is_overdue_is_told_once_the_e_mails_are_out(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """After an outage the ends of workflows wait for those who are still to be reminded."""
    overdue = await due_reminders(database, 2)
    async with a_pipeline(settings) as pipeline:
        pipeline._calm._quiet = pipeline._calm._longest = HOUR.total_seconds()
        delivering = asyncio.create_task(deliver(pipeline, overdue))

        async def both_wait() -> bool:
            return len(pipeline._calm._waiting) == 2

        await eventually(both_wait)
        assert 2 == len(await provider.accepted())
        assert not delivering.done()
        pipeline._calm.end()
        outcomes = await delivering
    assert {"sent"} == {getattr(outcome, "status", outcome) for outcome in outcomes}


async def test_those_of_many_instants_are_asked_for_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A move is told to one after the other: a look for each would be thousands of statements."""
    monkeypatch.setattr(early, "_NAP", timedelta(milliseconds=20))
    asked: list[Collection[Waiting]] = []
    now = datetime.now(UTC)
    due = [(uuid4(), now + timedelta(minutes=1, seconds=n)) for n in range(3)]

    async def overtaken(waiting: Collection[Waiting]) -> Collection[Waiting]:
        asked.append(waiting)
        return waiting

    arrivals = early.EarlyArrivals(
        SystemClock(), DeliveryPolicy(), overtaken=overtaken, prepare=no_mail, warm=no_connection
    )
    waits = [
        arrivals.wait(DeliverReminderInput(reminder_id=i, due_at=at, starts_at=at + HOUR))
        for i, at in due
    ]
    await asyncio.wait_for(asyncio.gather(*waits), 10)
    arrivals.end()
    assert [due] == asked


async def no_mail(_reminders: Sequence[UUID], _due_at: datetime) -> None:
    """Nothing is composed."""


async def no_connection(_connections: int) -> None:
    """Nothing is opened."""
