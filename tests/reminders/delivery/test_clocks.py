"""A worker on a machine whose clock is wrong: PostgreSQL's is the one that counts."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from reminders.clock import SharedClock
from reminders.db.engine import Database
from reminders.db.tables import ReminderRow
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders, statuses

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("seconds", [3600, 3, -3600])
async def test_nothing_is_lost_early_or_late(
    seconds: int,
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By an hour or some seconds: what is made ready early goes out at its instant, and the log says so."""

    class Machine:
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(seconds=seconds)

    ready_early = timedelta(minutes=30, seconds=1)
    with caplog.at_level(logging.WARNING):
        async with a_pipeline(settings, machine=Machine()) as pipeline:
            reminders = await due_reminders(database, 2, starts_in=ready_early)
            await deliver(pipeline, reminders)
    assert await statuses(database) == {"sent": 2}
    async with database.transaction() as connection:
        sent = [row.sent_at for row in await connection.execute(select(ReminderRow.sent_at))]
    due_at = reminders[0].due_at
    assert all(due_at <= at < due_at + timedelta(seconds=60) for at in sent)
    assert all(
        datetime.fromisoformat(mail["accepted_at"]) >= due_at for mail in await provider.accepted()
    )
    assert f"this machine's clock is {abs(seconds)} s" in caplog.text


async def test_whatever_connects_is_told_the_time(database_url: str) -> None:
    """Before it asks for anything: who does not listen, as a command, goes by PostgreSQL's as well."""

    class Machine:
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(hours=1)

    clock = SharedClock(Machine())
    database = Database(database_url, clock=clock)
    await database.scalar(text("SELECT 1"))
    await database.aclose()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
