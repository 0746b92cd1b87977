"""Who is held by a refusal: us all, those who post as we do, or the one whose e-mail it is."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from activities.failures import application_error
from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.provider import ProviderState
from reminders.delivery.searching import LONGEST
from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.delivery_errors import (
    DeliveryError,
    MailBlockedError,
    MailNotConfiguredError,
    MailUnavailableError,
)
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.pace import Pace
from reminders.domain.ports import Hold
from reminders.settings import Settings
from tests.builders import NOW
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

STALE_KEY = SecretStr("re_stale_key_of_the_test")
OLD_SENDER = "reminders@old.example"


def statuses_of(outcomes: list[Any]) -> set[object]:
    """What became of each: the status, or the error's class."""
    return {type(o) if isinstance(o, BaseException) else o.status for o in outcomes}


async def the_hold(database: Database) -> Hold | None:
    """Whoever is held at present."""
    return await ProviderState(database).hold()


async def test_a_firewall_that_refuses_one_persons_e_mail_keeps_nobody_else_s(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The request is taken apart until theirs is alone; 119 others go out meanwhile, and theirs later."""
    crowd = await due_reminders(database, 100)
    others = await due_reminders(database, 20, starts_in=timedelta(minutes=28))
    await provider.faults(
        kind="status", status=403, html=True, containing="attendee37@", path="/emails/batch"
    )
    async with a_pipeline(settings) as pipeline:
        refused = crowd.pop(37)
        _, _, (failure,) = await asyncio.gather(
            deliver(pipeline, crowd), deliver(pipeline, others[:10]), deliver(pipeline, [refused])
        )
        assert isinstance(failure, MailBlockedError)
        assert failure.retryable
        assert await the_hold(database) is None
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, others[10:]))
        assert await statuses(database) == {"sent": 119, "scheduled": 1}
        await provider.clear_faults()
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, [refused]))
    assert 120 == len({mail["tags"]["reminder_id"] for mail in await provider.accepted()})


async def test_the_search_for_the_one_ends_where_all_are_refused(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A wrong URL, a proxy: few requests are spent on it, and nobody's reminder is given up for it."""
    reminders = await due_reminders(database, 300)
    await provider.faults(kind="status", status=404, html=True, path="/emails/batch")
    async with a_pipeline(settings) as pipeline:
        assert {MailBlockedError} == statuses_of(await deliver(pipeline, reminders))
        assert (
            len(await posts(provider)) <= LONGEST + 3 * 7
        )  # halves of three batches that were left
        assert await statuses(database) == {"scheduled": 300}
        await provider.clear_faults()
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, reminders))


async def test_a_session_whose_title_a_firewall_refuses_keeps_no_other_session(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """However many are refused with it, whoever comes meanwhile goes out with the first request."""
    title = "UNION SELECT"
    await provider.faults(
        kind="status", status=403, html=True, containing=title, path="/emails/batch"
    )
    refused = await due_reminders(database, 150, title=title)
    others = await due_reminders(database, 30, starts_in=timedelta(minutes=28))
    async with a_pipeline(settings) as pipeline:
        assert {MailBlockedError} == statuses_of(await deliver(pipeline, refused))
        sent, again = await asyncio.gather(deliver(pipeline, others), deliver(pipeline, refused))
    assert {ReminderStatus.SENT} == statuses_of(sent)
    assert {MailBlockedError} == statuses_of(again)


async def test_a_worker_with_a_stale_key_holds_only_workers_with_that_key(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """It says whose hold it is, those with another key go on, and those with the same do not even try."""
    mine, others = await due_reminders(database, 5), await due_reminders(database, 20)
    stale = settings.model_copy(update={"resend_api_key": STALE_KEY})
    async with a_pipeline(stale) as bad, a_pipeline(stale) as as_bad, a_pipeline(settings) as good:
        assert {MailNotConfiguredError} == statuses_of(await deliver(bad, mine))
        hold = await the_hold(database)
        assert hold is not None
        assert (StatusReason.MISCONFIGURED, stale.sender_fingerprint()) == (
            hold.reason,
            hold.sender,
        )
        assert hold.detail is not None
        assert hold.detail.startswith("Resend answered 403 ")
        assert "re_" not in hold.detail
        assert {ReminderStatus.SENT} == statuses_of(await deliver(good, others))
        assert {MailNotConfiguredError} == statuses_of(await deliver(as_bad, mine))
        assert [403, 200] == [request["status"] for request in await posts(provider)]
        # What another worker accepts says nothing about this one's key.
        assert hold == await the_hold(database)
        assert {ReminderStatus.SENT} == statuses_of(await deliver(good, mine))


def test_what_a_worker_posts_as_gives_nothing_away(settings: Settings) -> None:
    """The fingerprint differs by key, sender and URL, and is too short to say which."""
    changed: tuple[dict[str, Any], ...] = (
        {},
        {"resend_api_key": STALE_KEY},
        {"email_from": "Reminders <reminders@new.example>"},
        {"resend_api_url": "http://127.0.0.1:9"},
    )
    found = {settings.model_copy(update=each).sender_fingerprint() for each in changed}
    assert 4 == len(found)
    assert {8} == {len(fingerprint) for fingerprint in found}


@pytest.mark.parametrize(
    ("reason", "whose", "stays"),
    [
        (StatusReason.MISCONFIGURED, "mine", False),
        (StatusReason.MISCONFIGURED, "another's", True),
        (StatusReason.QUOTA, "another's", False),
    ],
)
async def test_an_accepted_e_mail_ends_a_hold(  # noqa: PLR0917 - fixtures and cases
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    reason: StatusReason,
    whose: str,
    stays: bool,
) -> None:
    """What was on its way when somebody was refused proves that key, sender and quota are good."""
    refused = PostgresDeliveryLedger(
        database,
        SystemClock(),
        owner="refused",
        pace=Pace.of(8),
        sender=settings.sender_fingerprint() if whose == "mine" else "another",
    )
    async with a_pipeline(settings) as pipeline:
        settle = pipeline._ledger.settle

        async def settle_after_the_refusal(*args: Any) -> None:
            await refused.hold(reason, lasts=timedelta(minutes=1))
            await settle(*args)

        pipeline._ledger.settle = settle_after_the_refusal
        await deliver(pipeline, await due_reminders(database, 1))
    assert stays is (await the_hold(database) is not None)


async def test_a_hold_for_everybody_is_not_forgotten_for_one_key(
    settings: Settings, database: Database
) -> None:
    """A refused key does not end the wait for a quota; a quota comes before a refused key."""
    ledger = PostgresDeliveryLedger(
        database, SystemClock(), owner="w", pace=Pace.of(8), sender="mine"
    )
    for reason, held in (
        (StatusReason.MISCONFIGURED, StatusReason.MISCONFIGURED),
        (StatusReason.QUOTA, StatusReason.QUOTA),
        (StatusReason.MISCONFIGURED, StatusReason.QUOTA),
    ):
        await ledger.hold(reason, lasts=timedelta(minutes=1))
        hold = await the_hold(database)
        assert hold is not None
        assert held is hold.reason


async def test_a_request_of_an_old_sender_holds_itself_alone(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Frozen before the sender changed, it stays in doubt; what is due now goes out under the new one."""
    old: dict[str, Any] = {"email_from": f"Reminders <{OLD_SENDER}>", "email_max_retries": 0}
    await provider.faults(kind="drop_before_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, **old) as pipeline:
        await deliver(pipeline, await due_reminders(database, 3))
    await provider.faults(kind="status", status=403, name="validation_error", containing=OLD_SENDER)
    await lapse_leases(database)
    async with a_pipeline(settings) as pipeline:
        await eventually(lambda: was_refused(provider))
        new = await due_reminders(database, 2)
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, new))
    assert await the_hold(database) is None
    assert await batches(database) == {"frozen": 1, "settled": 1}
    async with database.transaction() as connection:
        left = await connection.scalar(
            text("SELECT lease_until - now() FROM email_batches WHERE state = 'frozen'")
        )
    assert timedelta(seconds=10) < left < timedelta(minutes=1)


async def was_refused(provider: ProviderClient) -> bool:
    """Whether a request was answered 403."""
    return 403 in {request["status"] for request in await posts(provider)}


@pytest.mark.parametrize("name", ["invalid_from_address", "domain_not_verified"])
async def test_a_refused_sender_burns_nobody_s_reminder(
    settings: Settings, database: Database, provider: ProviderClient, name: str
) -> None:
    """Whatever the status, it is not taken for a bad e-mail: all wait for an operator."""
    reminders = await due_reminders(database, 30)
    await provider.faults(kind="status", status=422, name=name)
    async with a_pipeline(settings) as pipeline:
        assert {MailNotConfiguredError} == statuses_of(await deliver(pipeline, reminders))
    assert 1 == len(await posts(provider))
    assert await statuses(database) == {"scheduled": 30}
    hold = await the_hold(database)
    assert hold is not None
    assert StatusReason.MISCONFIGURED is hold.reason


@pytest.mark.parametrize(
    ("status", "name"), [(503, "service_unavailable"), (429, "rate_limit_exceeded")]
)
async def test_an_hour_that_one_answer_asks_for_is_not_waited(
    settings: Settings, database: Database, provider: ProviderClient, status: int, name: str
) -> None:
    """The provider is well again at once: a reminder waits no more than a tenth of what it has left."""
    await provider.faults(
        kind="status", status=status, name=name, retry_after=3600, count=1, path="/emails/batch"
    )
    reminders = await due_reminders(database, 2, starts_in=timedelta(seconds=30))
    async with a_pipeline(settings) as pipeline:  # the session begins in less than what is asked
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, reminders))


@pytest.mark.parametrize(
    ("status", "name"), [(503, "service_unavailable"), (429, "rate_limit_exceeded")]
)
async def test_what_one_request_is_asked_to_wait_the_others_do_not(
    settings: Settings, database: Database, provider: ProviderClient, status: int, name: str
) -> None:
    """Half a minute at the most for the one; neither pace nor lease of anybody else knows of it."""
    await provider.faults(
        kind="status", status=status, name=name, retry_after=3600, count=1, path="/emails/batch"
    )
    asked, others = await due_reminders(database, 2), await due_reminders(database, 2)
    async with a_pipeline(settings) as pipeline:
        failures = await deliver(pipeline, asked)
        for failure in failures:
            assert timedelta(seconds=29) < failure.retry_after < timedelta(seconds=31)  # type: ignore[union-attr]
        assert await pipeline._ledger.pace(at_least=timedelta()) < timedelta(seconds=1)
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, others))
    async with database.transaction() as connection:
        longest = await connection.scalar(
            text("SELECT max(lease_until) - now() FROM email_batches")
        )
    assert longest < timedelta(seconds=31)


async def test_who_is_in_doubt_comes_back_one_after_the_other(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Ten a second from one worker, over a minute, then again from the front."""
    await provider.faults(kind="drop_before_accept", path="/emails/batch")
    reminders = await due_reminders(database, 300)
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        failures = await deliver(pipeline, reminders)
    assert {MailUnavailableError} == statuses_of(failures)
    turns = sorted(f.retry_after for f in failures)  # type: ignore[union-attr]
    assert timedelta(seconds=15) < turns[-1] - turns[0] < timedelta(seconds=35)
    assert 300 == len(set(turns))


@pytest.mark.proof
async def test_a_herd_in_doubt_asks_twenty_times_a_second_at_the_most(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """While the provider is away 600 reminders come back as their activities would: slowly, and all go out."""
    count, seconds = 600, 20
    reminders = await due_reminders(database, count)
    await provider.faults(kind="drop_before_accept", path="/emails/batch")
    attempts = 0

    async def as_temporal_would(reminder: DeliverReminderInput) -> None:
        nonlocal attempts
        attempt = 0
        while True:
            attempt += 1
            attempts += 1
            try:
                await pipeline.deliver(reminder, run_id="run")
            except DeliveryError as error:
                delay = application_error(error, now=NOW, attempt=attempt).next_retry_delay
                backoff = timedelta(seconds=min(2 ** (attempt - 1), 30))
                await asyncio.sleep((delay or backoff).total_seconds())
            else:
                return

    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        activities = [asyncio.create_task(as_temporal_would(r)) for r in reminders]
        await eventually(lambda: in_doubt(database, count))
        began = asyncio.get_running_loop().time()
        await eventually(lambda: after(began + seconds), within=timedelta(seconds=2 * seconds))
        took = asyncio.get_running_loop().time() - began
        assert attempts - count <= 20 * took
        await provider.clear_faults()
        await eventually(lambda: all_sent(database, count), within=timedelta(seconds=30))
        for activity in activities:
            activity.cancel()
        await asyncio.gather(*activities, return_exceptions=True)
    assert count == len(await provider.accepted())


async def in_doubt(database: Database, count: int) -> bool:
    """Whether so many reminders are frozen in requests without an outcome."""
    return await statuses(database) == {"sending": count}


async def after(instant: float) -> bool:
    """Whether an instant has passed, by the loop's clock."""
    return asyncio.get_running_loop().time() >= instant


async def test_who_waits_for_another_worker_is_told_when_it_is_done(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """It does not fail and come back meanwhile: it waits until the request has been resolved."""
    reminders = await due_reminders(database, 3)
    await provider.faults(kind="drop_after_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        await deliver(pipeline, reminders)
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE email_batches SET lease_until = now() + :left"),
            {"left": timedelta(seconds=4)},
        )
    async with a_pipeline(settings) as pipeline:
        assert {ReminderStatus.SENT} == statuses_of(await deliver(pipeline, reminders))
    assert 3 == len(await provider.accepted())


async def test_a_request_that_failed_is_not_repeated_at_once(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """It backs off, twice as long each time; who is told to slow down waits for a turn instead."""
    reminders = await due_reminders(database, 1)
    await provider.faults(
        kind="status", status=500, name="application_error", count=2, path="/emails/batch"
    )
    async with a_pipeline(
        settings, email_initial_backoff_ms=200, email_max_backoff_ms=1000
    ) as pipeline:
        await deliver(pipeline, reminders)
    first, second, third = (datetime.fromisoformat(p["at"]) for p in await posts(provider))
    assert second - first >= timedelta(milliseconds=200)
    assert third - second >= timedelta(milliseconds=400)
    assert 1 == len(await provider.accepted())
