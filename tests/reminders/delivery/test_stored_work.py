"""A request that is in doubt: only repeated where it belongs, and while what it says is true."""

from __future__ import annotations

import dataclasses
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from reminders.clock import SystemClock, ticks
from reminders.db.engine import Database
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.reports import LedgerGauges
from reminders.db.tables import ReminderRow
from reminders.delivery import posting
from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.keys import reminder_id
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import Destination
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import (
    a_pipeline,
    all_sent,
    batches,
    deliver,
    due_reminders,
    lapse_leases,
    posts,
    statuses,
)
from tests.stage import eventually

SINK = "tester@platform.example"
REDIRECTED: dict[str, Any] = {"delivery_mode": "redirect", "verified_test_email": SINK}


async def left_in_doubt(
    settings: Settings, provider: ProviderClient, reminders: list[Any], **changed: Any
) -> None:
    """A worker posts once, loses the answer, and dies."""
    await provider.faults(kind="drop_before_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0, **changed) as pipeline:
        await deliver(pipeline, reminders)


async def words_are_outdated(database: Database) -> None:
    """Let time have passed: what is frozen is not true any more, and its owner is gone."""
    async with database.transaction() as connection:
        await connection.execute(
            update(EmailBatchRow).values(
                repeatable_until=datetime.now(UTC), lease_until=datetime.now(UTC)
            )
        )


@pytest.mark.parametrize("modes", [({}, REDIRECTED), (REDIRECTED, {})])
async def test_a_request_is_never_posted_in_another_delivery_mode(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    caplog: pytest.LogCaptureFixture,
    modes: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Named once, and left: what is due now goes out, and back in its mode it goes on as it was."""
    before, after = modes
    await left_in_doubt(settings, provider, await due_reminders(database, 3), **before)
    await lapse_leases(database)
    with caplog.at_level(logging.WARNING, "reminders.delivery.watching"):
        async with a_pipeline(settings, **after) as pipeline:
            await eventually(lambda: named(caplog))
            in_doubt = await batches(database)
            await deliver(pipeline, await due_reminders(database, 1))
    assert {"frozen": 1} == in_doubt
    assert {"sending": 3, "sent": 1} == await statuses(database)
    assert 1 == len(await provider.accepted())
    assert SINK not in caplog.text
    gauges = LedgerGauges(database, SystemClock(), Destination.of(**mode_of(settings, after)))
    assert 3 == (await gauges.state()).stranded
    async with a_pipeline(settings, **before):
        await eventually(lambda: all_sent(database, 4))


async def named(caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a stranded request was named."""
    return sum("is not posted" in message for message in caplog.messages) == 1


def mode_of(settings: Settings, changed: dict[str, Any]) -> dict[str, Any]:
    """Mode and test address of a pipeline."""
    return {
        "mode": changed.get("delivery_mode", settings.delivery_mode),
        "test_recipient": changed.get("verified_test_email", settings.verified_test_email),
    }


async def test_in_another_mode_its_reminders_end_as_unknown_when_it_is_outdated(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Not as sent and not as expired: nobody knows whether the attendees have it."""
    await left_in_doubt(settings, provider, await due_reminders(database, 3))
    await words_are_outdated(database)
    async with a_pipeline(settings, **REDIRECTED):
        await eventually(lambda: unknown(database, 3))
    assert [] == await provider.accepted()


async def unknown(database: Database, count: int) -> bool:
    """Whether so many reminders have an unknown outcome."""
    return (await statuses(database)).get("failed: outcome_unknown") == count


async def test_outdated_words_are_not_repeated_and_the_next_reminder_goes_out(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """After an outage that may have let it through, one e-mail: the one that is true now."""
    [first] = await due_reminders(database, 1)
    await left_in_doubt(settings, provider, [first])
    await words_are_outdated(database)
    [next_one] = await the_next(database, first.reminder_id)
    async with a_pipeline(settings) as pipeline:
        await eventually(lambda: unknown(database, 1))
        [outcome] = await deliver(pipeline, [next_one])
    assert ReminderStatus.SENT is outcome.status  # type: ignore[union-attr]
    assert 1 == len(await provider.accepted())


async def the_next(database: Database, first: Any) -> list[Any]:
    """Another reminder of the same person, due now, as its activity asks for it."""
    async with database.transaction() as connection:
        row = (
            await connection.execute(select(ReminderRow.__table__).where(ReminderRow.id == first))
        ).one()
        next_id = reminder_id(row.session_id, row.user_id, "2h", 1)
        await connection.execute(
            insert(ReminderRow).values(
                id=next_id,
                session_id=row.session_id,
                user_id=row.user_id,
                reminder_type="2h",
                due_at=row.due_at + timedelta(seconds=1),
                starts_at=row.starts_at,
                workflow_id="w",
            )
        )
    return [DeliverReminderInput(reminder_id=next_id, due_at=row.due_at, starts_at=row.starts_at)]


async def test_a_request_says_until_when_it_may_be_repeated(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """With 29 minutes left it says so, which people take for true as long as it is a sixth off."""
    reminders = await due_reminders(database, 2)
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, reminders)
    async with database.autocommit() as connection:
        batch = (await connection.execute(select(EmailBatchRow.__table__))).one()
    lasts = batch.repeatable_until - batch.frozen_at
    assert timedelta(minutes=4) < lasts <= timedelta(minutes=29) / 6
    assert batch.delivery_mode == settings.delivery_mode
    async with database.autocommit() as connection:
        ours = await connection.scalar(text("SELECT id FROM reminder_installation"))
    assert ours == batch.installation_id


async def test_a_session_called_off_meanwhile_is_not_mailed_again(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The provider answers again, and the session is cancelled: nothing is repeated."""
    await left_in_doubt(settings, provider, await due_reminders(database, 3))
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE sessions SET status = 'cancelled'"))
    await lapse_leases(database)
    before = len(await posts(provider))
    async with a_pipeline(settings):
        await eventually(lambda: unknown(database, 3))
    assert before == len(await posts(provider))


async def test_a_session_called_off_between_two_attempts_is_not_mailed_again(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Also while its owner is still trying: the second attempt is not made."""
    reminders = await due_reminders(database, 3)
    await provider.faults(kind="drop_before_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings) as pipeline:
        post = pipeline._poster._mailer.post

        async def post_and_call_off(body: bytes, *, idempotency_key: str) -> Any:
            try:
                return await post(body, idempotency_key=idempotency_key)
            finally:
                async with database.transaction() as connection:
                    await connection.execute(text("UPDATE sessions SET status = 'cancelled'"))

        pipeline._poster._mailer.post = post_and_call_off
        await deliver(pipeline, reminders)
    assert {"failed: outcome_unknown": 3} == await statuses(database)
    assert 1 == len(await posts(provider))


@pytest.mark.parametrize("after", ["read", "freeze"])
async def test_whoever_stood_still_looks_once_more(
    after: str,
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that was stopped before it froze, or before it posted, mails nobody of what was."""
    reminders = await due_reminders(database, 3)
    async with a_pipeline(settings) as pipeline:
        step = getattr(pipeline._ledger, after)

        async def step_and_stand_still(*args: Any, **kwargs: Any) -> Any:
            done = await step(*args, **kwargs)
            setattr(pipeline._ledger, after, step)
            async with database.transaction() as connection:
                await connection.execute(text("UPDATE sessions SET status = 'cancelled'"))
            if after == "freeze":
                monkeypatch.setattr(posting, "ticks", lambda: ticks() + 11)
                return done
            ago = timedelta(seconds=11)
            facts = [dataclasses.replace(f, read_at=f.read_at - ago) for f in done.facts]
            return dataclasses.replace(done, facts=facts)

        setattr(pipeline._ledger, after, step_and_stand_still)
        await deliver(pipeline, reminders)
        monkeypatch.setattr(posting, "ticks", ticks)
        await deliver(pipeline, reminders)
    assert {"cancelled: session_cancelled": 3} == await statuses(database)
    assert [] == await posts(provider)


async def test_what_only_waited_too_long_is_decided_anew(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Never posted, and its words outdated by then: it goes out all the same, in new words."""
    reminders = await due_reminders(database, 3)
    async with a_pipeline(settings) as pipeline:
        freeze = pipeline._ledger.freeze

        async def freeze_and_wait(batch: Any, *args: Any, **kwargs: Any) -> Any:
            await freeze(batch, *args, **kwargs)
            late = batch.repeatable_until - SystemClock().now()
            pipeline._poster._clock = Later(late)
            return timedelta()

        pipeline._ledger.freeze = freeze_and_wait
        outcomes = await deliver(pipeline, reminders)
        assert all(isinstance(o, Exception) for o in outcomes)
        assert {"scheduled": 3} == await statuses(database)
        pipeline._ledger.freeze, pipeline._poster._clock = freeze, SystemClock()
        await deliver(pipeline, reminders)
    assert {"sent": 3} == await statuses(database)
    assert 1 == len(await posts(provider))


class Later:
    """A clock that is ahead."""

    def __init__(self, by: timedelta) -> None:
        """By so much."""
        self._by = by

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC) + self._by


async def test_each_is_judged_by_the_start_that_was_read(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """One of six was moved by SQL to a start in ten seconds: it expires, and the others do not."""
    [moved] = await due_reminders(database, 1)
    stays = await due_reminders(database, 5, address=lambda n: f"other{n}@hospital.example")
    same = stays[0].starts_at
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE sessions SET start_time = now() + interval '10 s' WHERE id ="
                " (SELECT session_id FROM session_reminder_emails WHERE id = :id)"
            ),
            {"id": moved.reminder_id},
        )
    await provider.faults(
        kind="status", status=429, name="rate_limit_exceeded", retry_after=3,
        path="/emails/batch", containing="attendee0@hospital.example",
    )  # fmt: skip
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, [dataclasses.replace(moved, starts_at=same), *stays])
    assert {"sent": 5, "failed: expired": 1} == await statuses(database)


async def test_what_is_not_there_is_read_twice(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """An enrollment that is missing for a moment, as its table is written anew, loses nobody."""
    reminders = await due_reminders(database, 2)
    async with a_pipeline(settings) as pipeline:
        read = pipeline._ledger.read
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE aside AS SELECT * FROM enrollments"))
            await connection.execute(text("DELETE FROM enrollments"))

        async def read_and_fill(*args: Any) -> Any:
            reading = await read(*args)
            async with database.transaction() as connection:
                await connection.execute(
                    text("INSERT INTO enrollments SELECT * FROM aside ON CONFLICT DO NOTHING")
                )
            return reading

        pipeline._ledger.read = read_and_fill
        await deliver(pipeline, reminders)
    assert {"sent": 2} == await statuses(database)
