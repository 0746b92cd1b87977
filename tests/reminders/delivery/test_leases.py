"""A frozen request has one owner at a time, and only the owner may give it up."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from reminders.db.engine import Database
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.tables import ReminderRow
from reminders.domain.delivery_errors import BatchBusyError, MailUnavailableError
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

LONGER_THAN_A_LEASE = timedelta(seconds=9)


async def test_a_request_that_waits_for_its_turn_is_nobody_else_s(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """However long the pace takes, its owner is alive: no other worker posts it as well."""
    async with a_pipeline(settings) as waiting, a_pipeline(settings):
        await eventually(lambda: asked_for_quota(provider, 2))
        async with database.transaction() as connection:
            await connection.execute(
                text("UPDATE provider_pace SET turns = ARRAY[now() + :wait]"),
                {"wait": LONGER_THAN_A_LEASE},
            )
        await deliver(waiting, await due_reminders(database, 3))
    assert await statuses(database) == {"sent": 3}
    assert [200] == [request["status"] for request in await posts(provider)]
    async with database.transaction() as connection:
        assert {1} == set(await connection.scalars(select(ReminderRow.attempts)))


async def test_who_waits_long_for_a_turn_is_looked_at_once_more(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Called off after it was frozen, and seconds before its turn: nothing is posted."""
    reminders = await due_reminders(database, 3)
    async with a_pipeline(settings) as pipeline:
        await eventually(lambda: asked_for_quota(provider, 1))
        async with database.transaction() as connection:
            await connection.execute(
                text("UPDATE provider_pace SET turns = ARRAY[now() + interval '6 seconds']")
            )
        delivering = asyncio.create_task(deliver(pipeline, reminders))

        async def is_frozen() -> bool:
            return await statuses(database) == {"sending": 3}

        await eventually(is_frozen)
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE sessions SET status = 'cancelled'"))
        assert {BatchBusyError} == {type(outcome) for outcome in await delivering}
    assert await statuses(database) == {"scheduled": 3}
    assert [] == await posts(provider)


async def test_turns_of_a_clock_that_was_wrong_are_not_waited_for(
    settings: Settings, database: Database
) -> None:
    """It was an hour ahead and is put right: all that were taken by it, and the pace is kept."""
    wrong = "UPDATE provider_pace SET turns = array_fill(now() + interval '1 hour', ARRAY[40])"
    async with database.transaction() as connection:
        await connection.execute(text(wrong))
    async with a_pipeline(settings, email_requests_per_second=2) as pipeline:
        began = asyncio.get_running_loop().time()
        waits = [await pipeline._ledger.pace(at_least=timedelta()) for _ in range(9)]
        took = timedelta(seconds=asyncio.get_running_loop().time() - began)
    assert timedelta(seconds=4) - took < waits[-1] < timedelta(seconds=10)


async def asked_for_quota(provider: ProviderClient, count: int) -> bool:
    """Whether so many workers have asked for the quota: each does so once, at its start."""
    asked = [r for r in await provider.requests() if r["path"] == "/usage"]
    return len(asked) == count


async def test_who_lost_the_lease_gives_nothing_up(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A worker that stood still may be refused; another has posted meanwhile: one e-mail each."""
    reminders = await due_reminders(database, 3)
    await provider.faults(
        kind="status", status=429, name="rate_limit_exceeded", retry_after=60, count=1,
        path="/emails/batch",
    )  # fmt: skip
    async with (
        a_pipeline(settings) as slow,
        a_pipeline(settings, email_max_retries=0) as other,
    ):
        release = slow._ledger.release

        async def release_too_late(batch: Any) -> None:
            await lapse_leases(database)
            await provider.faults(kind="drop_after_accept", count=1, path="/emails/batch")
            async with database.transaction() as connection:
                batch_id = await connection.scalar(select(EmailBatchRow.id))
            with pytest.raises(MailUnavailableError):
                await other._resume(batch_id, ())
            await release(batch)

        slow._ledger.release = release_too_late
        await deliver(slow, reminders)
        assert await batches(database) == {"frozen": 1}
        await eventually(lambda: all_sent(database, 3))
    assert 3 == len(await provider.accepted())


async def test_a_batch_in_doubt_that_is_refused_as_a_whole_is_decided_anew(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """One bad e-mail in a request that a dead worker left costs the others nothing."""
    reminders = await due_reminders(database, 10)
    await provider.faults(kind="drop_before_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        await deliver(pipeline, reminders)
    assert await statuses(database) == {"sending": 10}
    await hold_leases(database)
    await provider.faults(
        kind="status", status=422, name="validation_error", count=1, path="/emails/batch"
    )
    async with a_pipeline(settings) as pipeline:
        # By then the worker has looked for dead owners, and does so again in three seconds.
        await eventually(lambda: asked_for_quota(provider, 2))
        await lapse_leases(database)
        outcomes = await deliver(pipeline, reminders)
        assert {BatchBusyError} == {type(outcome) for outcome in outcomes}
        await deliver(pipeline, reminders)
    assert await statuses(database) == {"sent": 10}
    assert 10 == len(await provider.accepted())


async def hold_leases(database: Database) -> None:
    """Let all leases last, as those of a worker that lives."""
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE email_batches SET lease_until = now() + interval '1 hour'")
        )


async def test_a_batch_that_stays_in_doubt_holds_up_no_other(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The most urgent of two that a dead worker left gets no answer; the other is settled at once."""
    await provider.faults(kind="drop_before_accept", count=2, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        for minutes in (20, 29):
            await deliver(
                pipeline, await due_reminders(database, 1, starts_in=timedelta(minutes=minutes))
            )
    await lapse_leases(database)
    async with database.autocommit() as connection:
        urgent, other = await connection.scalars(
            select(EmailBatchRow.id).order_by(EmailBatchRow.useful_until)
        )
    tried: list[str] = []
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        post = pipeline._poster._mailer.post

        async def post_but_the_urgent(body: bytes, *, idempotency_key: str) -> Any:
            tried.append(idempotency_key)
            if idempotency_key == str(urgent):
                raise MailUnavailableError(outcome_unknown=True)
            return await post(body, idempotency_key=idempotency_key)

        pipeline._poster._mailer.post = post_but_the_urgent
        await eventually(lambda: settled(database, 1))
    assert [str(urgent), str(other)] == tried[:2]


async def settled(database: Database, count: int) -> bool:
    """Whether so many batches are settled, and the others are not."""
    return (await batches(database)).get("settled") == count
