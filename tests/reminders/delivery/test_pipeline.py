"""Exactly one accepted e-mail each, on a real database and a provider that misbehaves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text, update

from devstack.provider.server import EmbeddedProvider
from reminders.clock import SystemClock
from reminders.db import deliveries
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.planning import EnrollmentPlanner
from reminders.db.provider import ProviderEvents
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.tables import ReminderRow, SessionRow
from reminders.delivery import pipeline as pipelines
from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.delivery_errors import (
    BatchBusyError,
    MailNotConfiguredError,
    MailQuotaExceededError,
    MailRateLimitedError,
    MailUnavailableError,
    NotDueYetError,
)
from reminders.domain.errors import ReminderNotFoundError
from reminders.domain.model import ProviderEvent, ReminderStatus
from reminders.domain.ports import Reading
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
    provider_ids,
    statuses,
)
from tests.stage import eventually

REAL_LIMIT = 10
"""Requests a second that Resend takes from a team."""


async def accepted_once_each(provider: ProviderClient, count: int) -> None:
    """Assert that so many e-mails were accepted, each to one person of its own and with its tag."""
    accepted = await provider.accepted()
    assert count == len(accepted)
    assert count == len({mail["to"][0] for mail in accepted})
    assert {1} == {len(mail["to"]) for mail in accepted}
    assert not any(mail["cc"] or mail["bcc"] for mail in accepted)
    assert count == len({mail["tags"]["reminder_id"] for mail in accepted})


async def test_a_hundred_reminders_are_one_request(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """They are accepted in one request, and the ledger has the provider's id of each."""
    reminders = await due_reminders(database, 100)
    async with a_pipeline(settings) as pipeline:
        outcomes = await deliver(pipeline, reminders)
    assert {ReminderStatus.SENT} == {o.status for o in outcomes}  # type: ignore[union-attr]
    assert 1 == len(await posts(provider))
    accepted = {m["tags"]["reminder_id"]: m["id"] for m in await provider.accepted()}
    assert {str(r): e for r, e in (await provider_ids(database)).items()} == accepted
    assert await batches(database) == {"settled": 1}


async def test_what_a_copy_has_sent_keeps_nobody_from_being_reminded(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A copy of the database mails its tester of the same rows, while the provider asks us to wait.

    All of a team's endpoints hear of it, ours too.
    """
    [reminder] = await due_reminders(database, 1)
    await provider.faults(
        kind="status",
        status=429,
        name="rate_limit_exceeded",
        retry_after=1,
        count=1,
        path="/emails/batch",
    )

    async def is_refused() -> bool:
        return [429] == [post["status"] for post in await posts(provider)]

    async with a_pipeline(settings) as pipeline:
        delivering = asyncio.create_task(deliver(pipeline, [reminder]))
        await eventually(is_refused)
        assert await statuses(database) == {"sending": 1}
        await ProviderEvents(database).record(
            ProviderEvent(
                svix_id="msg_of_the_copy",
                type="email.delivered",
                occurred_at=datetime.now(UTC),
                email_id="the-copy",
                reminder_id=reminder.reminder_id,
                installation=uuid4(),
                status=ReminderStatus.DELIVERED,
            )
        )
        await delivering
    assert await statuses(database) == {"sent": 1}
    [mail] = await provider.accepted()
    ours = await database.scalar(text("SELECT id FROM reminder_installation"))
    assert {"reminder_id": str(reminder.reminder_id), "installation_id": str(ours)} == mail["tags"]


async def test_a_batch_costs_three_statements_whatever_its_size(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Read, freeze and settle: one statement each, and each its own transaction."""
    reminders = await due_reminders(database, 100)
    seen: list[str] = []
    async with a_pipeline(settings) as pipeline:
        engine = pipeline._ledger._database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
        await deliver(pipeline, reminders)
    aside = ("ORDER BY useful_until LIMIT", "provider_usage")
    about_batches = [
        s
        for s in seen
        if not s.startswith("UPDATE provider_pace") and not any(part in s for part in aside)
    ]
    assert len(about_batches) == 3, about_batches


async def test_frozen_bodies_are_purged_once_settled(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """After the settlement no e-mail, and so no address, is left in `email_batches`."""
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, await due_reminders(database, 3))
    async with database.transaction() as connection:
        bodies = await connection.scalar(text("SELECT count(body) FROM email_batches"))
    assert bodies == 0


async def test_one_bad_record_fails_alone(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Of 100 due, number 7 cannot be rendered and number 9 has no address: 98 are accepted."""
    reminders = await due_reminders(
        database, 100, address=lambda n: "nowhere" if n == 9 else f"a{n}@hospital.example"
    )
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO reminder_configurations (reminder_type, minutes_before, display_name,"
                " email_subject_template) VALUES ('odd', 30, 'Odd', 'Hello {nonsense}')"
            )
        )
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id == reminders[7].reminder_id)
            .values(reminder_type="odd")
        )
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, reminders)
        again = await deliver(pipeline, [reminders[7], reminders[9]])
    assert await statuses(database) == {
        "sent": 98,
        "failed: render_error": 1,
        "failed: invalid_address": 1,
    }
    assert {ReminderStatus.FAILED} == {o.status for o in again}  # type: ignore[union-attr]
    await accepted_once_each(provider, 98)


@pytest.mark.parametrize("count", [2, 50])
async def test_what_the_provider_refuses_fails_alone(
    settings: Settings, database: Database, provider: ProviderClient, count: int
) -> None:
    """A recipient whom only the provider refuses does not hold up the others, be it only one."""
    await provider.faults(
        kind="status", status=422, name="validation_error", containing="attendee1@",
        path="/emails/batch",
    )  # fmt: skip
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, await due_reminders(database, count))
    assert {"sent": count - 1, "failed: rejected": 1} == await statuses(database)
    assert count - 1 == len(await provider.accepted())


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_after_accept"},
        {"kind": "drop_before_accept"},
        {"kind": "status", "status": 500, "name": "application_error"},
        {"kind": "status", "status": 502, "html": True},
        {"kind": "status", "status": 503, "name": "service_unavailable"},
        {"kind": "status", "status": 429, "name": "rate_limit_exceeded", "retry_after": 1},
    ],
    ids=lambda f: "-".join(str(v) for v in f.values()),
)
async def test_trouble_is_repeated_under_the_same_key(
    settings: Settings, database: Database, provider: ProviderClient, fault: dict[str, Any]
) -> None:
    """Whatever the provider does to the first two attempts, each reminder is accepted once."""
    await provider.faults(count=2, path="/emails/batch", **fault)
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, await due_reminders(database, 20))
    assert await statuses(database) == {"sent": 20}
    await accepted_once_each(provider, 20)
    keys = {request["idempotency_key"] for request in await posts(provider)}
    assert len(keys) == 1


async def test_a_storm_of_429_loses_nothing(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """With nine of ten requests refused, every reminder is accepted once in the end."""
    reminders = await due_reminders(database, 300)
    await provider.faults(
        kind="status",
        status=429,
        name="rate_limit_exceeded",
        retry_after=1,
        probability=0.9,
        count=12,
    )
    async with a_pipeline(settings) as pipeline:
        waiting = reminders
        for _ in range(10):
            outcomes = await deliver(pipeline, waiting)
            failed = [isinstance(o, MailRateLimitedError) for o in outcomes]
            waiting = [r for r, f in zip(waiting, failed, strict=True) if f]
            if not waiting:
                break
    assert await statuses(database) == {"sent": 300}
    await accepted_once_each(provider, 300)


async def test_a_refused_request_is_released(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """What was provably not accepted is due again, so that a cancel or a move can still win."""
    reminders = await due_reminders(database, 5)
    await provider.faults(kind="status", status=429, name="rate_limit_exceeded", retry_after=60)
    async with a_pipeline(settings) as pipeline:
        outcomes = await deliver(pipeline, reminders)
    assert {MailRateLimitedError} == {type(o) for o in outcomes}
    assert await statuses(database) == {"scheduled": 5}
    assert await batches(database) == {"released": 1}


async def test_an_unknown_outcome_stays_frozen_and_is_resolved_by_whoever_comes_next(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Accepted, but the answer was lost, and then the worker died: nobody is mailed twice."""
    reminders = await due_reminders(database, 10)
    await provider.faults(kind="drop_after_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        outcomes = await deliver(pipeline, reminders)
    assert {MailUnavailableError} == {type(o) for o in outcomes}
    assert await statuses(database) == {"sending": 10}
    async with a_pipeline(settings):
        await eventually(lambda: all_sent(database, 10))
    await accepted_once_each(provider, 10)
    assert None not in (await provider_ids(database)).values()


async def test_a_retry_resumes_the_batch_it_was_frozen_in(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The retry of one reminder settles all that share its request."""
    reminders = await due_reminders(database, 10)
    await provider.faults(kind="drop_after_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        await deliver(pipeline, reminders)
    await lapse_leases(database)
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, reminders[:1])
        await eventually(lambda: all_sent(database, 10))
    await accepted_once_each(provider, 10)


async def test_a_key_that_the_provider_has_forgotten_is_never_used_again(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A batch in doubt for a day ends as outcome unknown, and nobody is mailed twice."""
    reminders = await due_reminders(database, 3, starts_in=timedelta(minutes=20))
    await provider.faults(kind="drop_after_accept", count=1, path="/emails/batch")
    async with a_pipeline(settings, email_max_retries=0) as pipeline:
        await deliver(pipeline, reminders)
    async with database.transaction() as connection:
        await connection.execute(
            update(EmailBatchRow).values(
                frozen_at=datetime.now(UTC) - timedelta(hours=24), lease_until=datetime.now(UTC)
            )
        )
    async with a_pipeline(settings):
        await eventually(lambda: unknown(database, 3))
    await accepted_once_each(provider, 3)


async def unknown(database: Database, count: int) -> bool:
    """Whether so many reminders have an unknown outcome."""
    return await statuses(database) == {"failed: outcome_unknown": count}


async def test_four_workers_and_their_retries_send_hundreds_once(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """All four deliver the same 400 at the same moment: 400 accepted, no reminder twice."""
    reminders = await due_reminders(database, 400)
    async with (
        a_pipeline(settings) as a,
        a_pipeline(settings) as b,
        a_pipeline(settings) as c,
        a_pipeline(settings) as d,
    ):
        await asyncio.gather(*(deliver(p, reminders) for p in (a, b, c, d)))
        await eventually(lambda: all_sent(database, 400))
    await accepted_once_each(provider, 400)


async def test_a_few_are_not_behind_what_a_crowd_has_booked(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Of twenty requests, two a second, theirs is one of the next few: no more were frozen."""
    crowd = await due_reminders(database, 60)
    few = await due_reminders(database, 1, address=lambda _: "few@hospital.example")
    async with a_pipeline(settings, email_batch_size=3, email_requests_per_second=2) as pipeline:
        delivering = asyncio.create_task(deliver(pipeline, crowd))
        await eventually(lambda: some_are_sent(database))
        await deliver(pipeline, few)
        delivering.cancel()
        addresses = [mail["to"][0] for mail in await provider.accepted()]
        assert addresses.index("few@hospital.example") <= 6 * 3


async def some_are_sent(database: Database) -> bool:
    """Whether the first requests are through."""
    return (await statuses(database)).get("sent", 0) >= 6


async def test_a_refused_key_holds_the_queue_until_an_operator_has_acted(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Those under way find out, the others do not even try, and afterwards all are sent."""
    reminders = await due_reminders(database, 150)
    await provider.faults(kind="status", status=403, name="invalid_api_key")
    async with a_pipeline(settings, email_batch_size=10) as pipeline:
        outcomes = await deliver(pipeline, reminders)
        assert {MailNotConfiguredError} == {type(o) for o in outcomes}
        assert len(await posts(provider)) <= DeliveryPolicy().requests_in_flight
        assert await statuses(database) == {"scheduled": 150}
        await provider.clear_faults()
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE provider_pace SET held_until = NULL"))
        await deliver(pipeline, reminders)
    await accepted_once_each(provider, 150)


async def test_a_used_up_quota_is_waited_for(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The error says when the quota is renewed, the reminders are due again, and nobody asks before."""
    reminders = await due_reminders(database, 5)
    await provider.faults(kind="status", status=429, name="daily_quota_exceeded")
    async with a_pipeline(settings) as pipeline:
        outcomes = [o for _ in range(2) for o in await deliver(pipeline, reminders)]
    assert {MailQuotaExceededError} == {type(o) for o in outcomes}
    assert 1 == len(await posts(provider))
    assert all(o.resets_at > datetime.now(UTC) for o in outcomes)  # type: ignore[union-attr]
    assert await statuses(database) == {"scheduled": 5}


async def test_a_change_between_reading_and_freezing_wins(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A reminder cancelled while its e-mail is rendered is not sent; the others are."""
    reminders = await due_reminders(database, 10)
    leaves = reminders[4].reminder_id
    async with a_pipeline(settings) as pipeline:
        freeze = pipeline._ledger.freeze

        async def freeze_after_the_cancel(*args: Any, **kwargs: Any) -> Any:
            async with database.transaction() as connection:
                await connection.execute(
                    update(ReminderRow)
                    .where(ReminderRow.id == leaves, ReminderRow.email_status == "scheduled")
                    .values(email_status="cancelled", status_reason="unenrolled")
                )
            return await freeze(*args, **kwargs)

        pipeline._ledger.freeze = freeze_after_the_cancel
        await deliver(pipeline, reminders)
    assert await statuses(database) == {"sent": 9, "cancelled: unenrolled": 1}
    await accepted_once_each(provider, 9)


async def test_what_is_read_too_slowly_is_read_in_parts(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A platform's view takes its time for each person: what is too old together is not, in halves."""
    monkeypatch.setattr(deliveries, "BELIEVED", timedelta(seconds=1))
    monkeypatch.setattr(pipelines, "_SLOW", timedelta(seconds=0.8))
    async with a_pipeline(settings) as pipeline:
        read = pipeline._ledger.read

        async def slowly(reminder_ids: Sequence[UUID]) -> Reading:
            reading: Reading = await read(reminder_ids)
            await asyncio.sleep(0.02 * len(reminder_ids))
            return reading

        monkeypatch.setattr(pipeline._ledger, "read", slowly)
        await deliver(pipeline, await due_reminders(database, 60))
    await accepted_once_each(provider, 60)
    assert 1 < len(await posts(provider)) <= 4


async def test_withdrawing_before_the_freeze_leaves_the_reminder_alone(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A cancelled call whose reminder still gathers takes it back; nothing is sent."""
    (reminder,) = await due_reminders(database, 1)
    async with a_pipeline(settings) as pipeline:
        call = asyncio.create_task(pipeline.deliver(reminder, run_id="run"))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await statuses(database) == {"scheduled": 1}
    assert await provider.accepted() == []


async def test_what_is_under_way_when_its_worker_stops_comes_to_its_end(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Asked for already: the answer is heard and recorded, and nobody is left in doubt."""
    await provider.faults(kind="slow", latency_ms=300, path="/emails/batch")
    asked = asyncio.Event()
    async with a_pipeline(settings) as pipeline:
        post = pipeline._poster._mailer.post

        async def post_and_say_so(*args: Any, **kwargs: Any) -> Any:
            asked.set()
            return await post(*args, **kwargs)

        pipeline._poster._mailer.post = post_and_say_so
        calls = asyncio.create_task(deliver(pipeline, await due_reminders(database, 3)))
        await asked.wait()
    assert {"sent": 3} == await statuses(database)
    assert {ReminderStatus.SENT} == {o.status for o in await calls}  # type: ignore[union-attr]


async def test_an_unknown_reminder_is_a_final_error(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """The ledger has no such row: say so, and do not try again."""
    now = datetime.now(UTC)
    (real,) = await due_reminders(database, 1)
    bogus = DeliverReminderInput(
        reminder_id=real.reminder_id.__class__(int=1), due_at=now, starts_at=real.starts_at
    )
    async with a_pipeline(settings) as pipeline:
        error, sent = await deliver(pipeline, [bogus, real])
    assert isinstance(error, ReminderNotFoundError)
    assert not error.retryable
    assert ReminderStatus.SENT is sent.status  # type: ignore[union-attr]


async def test_redirect_mode_writes_to_nobody_but_the_test_recipient(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """With real addresses in the ledger, every accepted recipient is the sink."""
    reminders = await due_reminders(database, 5)
    async with a_pipeline(
        settings, delivery_mode="redirect", verified_test_email="sink@platform.example"
    ) as pipeline:
        await deliver(pipeline, reminders)
    accepted = await provider.accepted()
    assert [mail["to"] for mail in accepted] == [["sink@platform.example"]] * 5
    assert {f"[Originally for: attendee{n}@hospital.example]" for n in range(5)} == {
        mail["subject"].partition("] ")[0] + "]" for mail in accepted
    }


async def test_three_workers_keep_the_provider_s_pace_together(
    settings: Settings, database: Database
) -> None:
    """Thirty requests at the default pace and the provider's real limit: no storm of 429s."""
    reminders = await due_reminders(database, 300)
    with EmbeddedProvider(rate=REAL_LIMIT, latency_ms=20) as server:
        paced: dict[str, Any] = {
            "email_requests_per_second": Settings.model_fields["email_requests_per_second"].default,
            "email_batch_size": 10,
            "resend_api_url": server.url,
        }
        async with (
            ProviderClient(server.url) as provider,
            a_pipeline(settings, **paced) as a,
            a_pipeline(settings, **paced) as b,
            a_pipeline(settings, **paced) as c,
        ):
            await asyncio.gather(
                deliver(a, reminders[:100]),
                deliver(b, reminders[100:200]),
                deliver(c, reminders[200:]),
            )
            requests = await posts(provider)
            await accepted_once_each(provider, 300)
    refused = [request for request in requests if request["status"] == 429]
    # After a stall those that were booked go out with others; each at a pace of its own, it is twenty.
    assert len(refused) < 10
    assert 30 == len(requests) - len(refused)


@pytest.mark.parametrize(("set_to", "kept"), [(None, 10), (4, 4), (1000, 10)])
async def test_the_pace_is_what_the_provider_takes_below_what_is_set(
    settings: Settings, database: Database, set_to: float | None, kept: int
) -> None:
    """Its answers say it; nothing is set by default."""
    given = settings.model_dump(include=settings.model_fields_set - {"email_requests_per_second"})
    if set_to is not None:
        given["email_requests_per_second"] = set_to
    with EmbeddedProvider(rate=REAL_LIMIT, latency_ms=0) as server:
        given["resend_api_url"] = server.url
        async with a_pipeline(Settings(_env_file=None, **given)) as pipeline:
            await deliver(pipeline, await due_reminders(database, 1))
            assert kept == pipeline._ledger._kept.requests


async def test_what_still_fits_the_quota_goes_out_and_the_rest_waits(
    settings: Settings, database: Database
) -> None:
    """With 30 e-mails left for the day, 30 of a hundred are sent, and 70 are due again."""
    with EmbeddedProvider(rate=0, latency_ms=0, daily_quota=30) as server:
        reminders = await due_reminders(database, 100)
        async with a_pipeline(settings, resend_api_url=server.url) as pipeline:
            outcomes = await deliver(pipeline, reminders)
        async with ProviderClient(server.url) as provider:
            await accepted_once_each(provider, 30)
            requests = len(await provider.requests())
    async with database.autocommit() as connection:
        turns = await connection.scalar(text("SELECT cardinality(turns) FROM provider_pace"))
    assert requests == turns, "asking how much is left is a request as well"
    assert 70 == sum(isinstance(o, MailQuotaExceededError) for o in outcomes)
    assert {"sent": 30, "scheduled": 70} == await statuses(database)


async def test_a_plan_between_reading_and_moving_wins(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A session that moved unannounced, and once more with notice: the newest plan stays."""
    (reminder,) = await due_reminders(database, 1)
    first, newest = (reminder.starts_at + timedelta(hours=n) for n in (5, 3))
    await move_sessions(database, first)
    async with a_pipeline(settings) as pipeline:
        move = pipeline._ledger.move

        async def move_after_the_plan(*args: Any) -> bool:
            await move_sessions(database, newest)
            ledger = await ReminderQueries(database).list(limit=1)
            (row,) = ledger.reminders
            planner = EnrollmentPlanner(database, SystemClock())
            await planner.replan(row.session_id, row.user_id)
            return bool(await move(*args))

        pipeline._ledger.move = move_after_the_plan
        (error,) = await deliver(pipeline, [reminder])
        assert isinstance(error, BatchBusyError)
        pipeline._ledger.move = move
        (outcome,) = await deliver(pipeline, [reminder])
    rows = (await ReminderQueries(database).list(limit=10)).reminders
    (row,) = [r for r in rows if r.id == reminder.reminder_id]
    assert (newest, newest - timedelta(minutes=30)) == (row.starts_at, row.due_at)
    assert (newest, row.due_at) == (outcome.starts_at, outcome.due_at)  # type: ignore[union-attr]


async def move_sessions(database: Database, starts_at: datetime) -> None:
    """The host moves its session."""
    async with database.transaction() as connection:
        await connection.execute(update(SessionRow).values(start_time=starts_at))


async def test_a_crowd_that_waits_leaves_room_for_what_is_due(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """So many wait for their instant; whoever comes then is to come again, and what is due goes out."""
    starts_in = timedelta(minutes=30, seconds=10)
    early = await due_reminders(database, 3, starts_in=starts_in)
    due = await due_reminders(database, 1, address=lambda _: "due@hospital.example")
    async with a_pipeline(settings) as pipeline:
        policy = dataclasses.replace(pipeline._policy, early_at_once=2)
        pipeline._early._policy = policy
        waiting = asyncio.create_task(deliver(pipeline, early[:2]))
        await asyncio.sleep(0)
        (error,) = await deliver(pipeline, early[2:])
        assert isinstance(error, NotDueYetError)
        assert error.retry_after is not None
        assert timedelta() < error.retry_after <= timedelta(seconds=10)
        await deliver(pipeline, due)
        assert ["due@hospital.example"] == [m["to"][0] for m in await provider.accepted()]
        await waiting
        await deliver(pipeline, early[2:])
    await accepted_once_each(provider, 4)
