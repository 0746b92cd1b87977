"""E-mails of which no event tells are asked for: seldom, politely, and only by a key that may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text, update

from devstack.provider.server import EmbeddedProvider
from reminders.clock import SystemClock
from reminders.db.arrivals import AGAIN, PostgresInquiries
from reminders.db.engine import Database
from reminders.db.provider import ProviderEvents
from reminders.db.tables import ReminderRow
from reminders.delivery.inquiry import Inquiry
from reminders.domain.delivery_errors import MailNotConfiguredError, MailRateLimitedError
from reminders.domain.pace import Pace
from reminders.mail.resend import ResendMailer
from reminders.mail.webhooks import answered
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders, statuses
from tests.stage import eventually

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def inquiry(database: Database, provider_server: EmbeddedProvider) -> AsyncIterator[Inquiry]:
    """As a worker has it."""
    pace = Pace.of(100_000)
    silent = PostgresInquiries(database, SystemClock(), pace=pace)
    async with ResendMailer(
        api_key=provider_server.api_key, api_url=provider_server.url, clock=SystemClock()
    ) as mailer:
        yield Inquiry(silent, mailer, pace=pace)


async def sent_ago(
    settings: Settings, database: Database, ago: timedelta, *addresses: str
) -> list[UUID]:
    """Reminders that the provider accepted so long ago."""
    due = await due_reminders(database, len(addresses), address=lambda n: addresses[n])
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, due)
    ids = [reminder.reminder_id for reminder in due]
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id.in_(ids))
            .values(sent_at=datetime.now(UTC) - ago, due_at=datetime.now(UTC) - ago)
        )
    return ids


async def asked(provider: ProviderClient) -> int:
    """How many e-mails the provider was asked for."""
    return sum(r["method"] == "GET" and "/emails/" in r["path"] for r in await provider.requests())


async def test_silent_ones_are_asked_for_once_an_hour(
    settings: Settings, database: Database, provider: ProviderClient, inquiry: Inquiry
) -> None:
    """What the provider knows is in the ledger and the history; who is new, or told of, is left alone."""
    one, other = await sent_ago(
        settings, database, 20 * MINUTE, "ana@hospital.example", "bounced@resend.dev"
    )
    await sent_ago(settings, database, 5 * MINUTE, "ben@hospital.example")
    assert await inquiry.round() == 2
    assert await statuses(database) == {"delivered": 1, "bounced": 1, "sent": 1}
    notes = await ProviderEvents(database).of([one, other])
    assert ["email.delivered"] == [note.type for note in notes[one]]
    assert await inquiry.round() == 0
    assert await asked(provider) == 2


async def test_one_that_is_still_on_its_way_is_asked_for_again(
    settings: Settings, database: Database, provider: ProviderClient, inquiry: Inquiry
) -> None:
    """Not before an hour; that it is delayed is kept, once."""
    (reminder,) = await sent_ago(settings, database, 20 * MINUTE, "ana@hospital.example")
    told = inquiry._informant.told

    async def delayed(email_id: str, reminder_id: UUID) -> object:
        await told(email_id, reminder_id)
        answer = {"last_event": "delivery_delayed", "to": ["ana@hospital.example"]}
        now = datetime.now(UTC)
        return answered(answer, email_id=email_id, reminder_id=reminder_id, now=now)

    inquiry._informant.told = delayed  # type: ignore[method-assign,assignment]
    assert [1, 0] == [await inquiry.round() for _ in range(2)]
    async with database.transaction() as connection:
        asked_at = await connection.scalar(select(ReminderRow.asked_at))
        assert asked_at is not None
        await connection.execute(update(ReminderRow).values(asked_at=asked_at - AGAIN))
    assert await inquiry.round() == 0  # asked, and no news
    assert await asked(provider) == 2
    assert await statuses(database) == {"sent": 1}
    notes = await ProviderEvents(database).of([reminder])
    assert ["email.delivery_delayed"] == [note.type for note in notes[reminder]]


@pytest.mark.parametrize(
    "state",
    [
        "turns = ARRAY[clock_timestamp() + interval '1 minute']",
        "held_until = clock_timestamp() + interval '1 minute', held_because = 'quota'",
    ],
)
async def test_it_waits_for_everything_else(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    inquiry: Inquiry,
    state: str,
) -> None:
    """While deliveries wait for a place, or are held, nobody is asked for, nor counted as asked."""
    await sent_ago(settings, database, 20 * MINUTE, "ana@hospital.example")
    async with database.transaction() as connection:
        await connection.execute(text(f"UPDATE provider_pace SET {state}"))
    assert await inquiry.round() == 0
    assert await asked(provider) == 0
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE provider_pace SET held_until = NULL, turns = '{}'"))
    assert await inquiry.round() == 1


@pytest.mark.parametrize(("seconds_ago", "finds"), [(0.6, False), (1.2, True)])
async def test_a_full_window_is_waited_out(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    seconds_ago: float,
    *,
    finds: bool,
) -> None:
    """A crowd of as many requests as fit into it leaves no place, however long ago the last was."""
    await sent_ago(settings, database, 20 * MINUTE, "ana@hospital.example")
    silent = PostgresInquiries(database, SystemClock(), pace=Pace.of(10))
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE provider_pace SET turns ="
                " array_fill(clock_timestamp() - make_interval(secs => :ago), ARRAY[10])"
            ),
            {"ago": seconds_ago},
        )
    assert finds is (await silent.next() is not None)


async def test_a_key_that_may_only_send_and_a_provider_that_is_busy(
    settings: Settings, database: Database, provider: ProviderClient, inquiry: Inquiry
) -> None:
    """Each is told apart: one ends the asking, the other lets it wait for the next round."""
    await sent_ago(settings, database, 20 * MINUTE, *(f"a{n}@hospital.example" for n in range(3)))
    await provider.faults(kind="status", status=401, name="restricted_api_key")
    with pytest.raises(MailNotConfiguredError):
        await inquiry.round()
    await provider.clear_faults()
    await provider.faults(kind="status", status=429, name="rate_limit_exceeded")
    with pytest.raises(MailRateLimitedError):
        await inquiry.round()
    await provider.clear_faults()
    assert await inquiry.round() == 1
    assert await statuses(database) == {"sent": 2, "delivered": 1}


@pytest.mark.parametrize(
    ("last_event", "type_"),
    [
        ("delivered", "email.delivered"),
        ("opened", "email.delivered"),
        ("clicked", "email.delivered"),
        ("complained", "email.complained"),
        ("failed", "email.failed"),
        ("suppressed", "email.suppressed"),
        ("sent", None),
        ("queued", None),
        ("of tomorrow", None),
        (None, None),
    ],
)
def test_what_an_answer_says(last_event: str | None, type_: str | None) -> None:
    """The last event, in the words of a webhook; nothing while nothing became of the e-mail."""
    event = answered(
        {"last_event": last_event}, email_id="e", reminder_id=UUID(int=1), now=datetime.now(UTC)
    )
    assert (event.type if event else None) == type_


async def test_a_key_that_is_refused_for_a_while_is_asked_with_again(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    inquiry: Inquiry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An account that was suspended for an hour is told what became of its e-mails."""
    monkeypatch.setattr("reminders.delivery.inquiry.EVERY", MINUTE / 1000)
    monkeypatch.setattr("reminders.delivery.inquiry._REFUSED", MINUTE / 1000)
    await sent_ago(settings, database, 20 * MINUTE, "ana@hospital.example", "ben@hospital.example")
    await provider.faults(kind="status", status=403, name="suspended_api_key", count=1)

    async def delivered() -> bool:
        return 1 == (await statuses(database)).get("delivered")

    async with inquiry.running():
        await eventually(delivered)
