"""One row holds what nobody expects, and others are due at the same instant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from reminders.db.engine import Database
from reminders.domain.contracts import DeliverReminderInput, DeliveryOutcome
from reminders.domain.delivery_errors import UnreadableReminderError
from reminders.domain.model import ReminderStatus
from reminders.mail.render import MailRenderer
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders, statuses

_LAX = """
ALTER TABLE sessions DROP CONSTRAINT ck_sessions_status;
ALTER TABLE sessions DROP CONSTRAINT IF EXISTS ck_sessions_start_time;
ALTER TABLE reminder_configurations DROP CONSTRAINT ck_reminder_configurations_minutes_before;
"""
"""As an existing platform's tables are: nothing keeps anybody from anything."""


async def one_among_three(database: Database, odd: str) -> list[DeliverReminderInput]:
    """Three reminders of two sessions that start at once; the first one's row is made odd."""
    first, *_ = await due_reminders(database, 1)
    others = await due_reminders(database, 2)
    async with database.transaction() as connection:
        for statement in _LAX.strip().splitlines():
            await connection.execute(text(statement))
        await connection.execute(text(odd), {"id": first.reminder_id})
    return [replace(first, due_at=others[0].due_at, starts_at=others[0].starts_at), *others]


_SESSION = "(SELECT session_id FROM session_reminder_emails WHERE id = :id)"


@pytest.mark.parametrize(
    "odd",
    [
        f"UPDATE sessions SET start_time = 'infinity' WHERE id = {_SESSION}",
        f"UPDATE sessions SET start_time = '10000-01-01' WHERE id = {_SESSION}",
        f"UPDATE sessions SET start_time = '0044-03-15 BC' WHERE id = {_SESSION}",
        f"UPDATE sessions SET status = 'postponed' WHERE id = {_SESSION}",
    ],
    ids=["infinity", "10000", "BC", "status"],
)
async def test_what_cannot_be_read_fails_alone(
    settings: Settings, database: Database, provider: ProviderClient, odd: str
) -> None:
    """The others of its batch go out, and it is tried again, as it may be mended."""
    reminders = await one_among_three(database, odd)
    async with a_pipeline(settings) as pipeline:
        failed, *sent = await deliver(pipeline, reminders)
    assert [DeliveryOutcome(status=ReminderStatus.SENT)] * 2 == sent
    assert isinstance(failed, UnreadableReminderError)
    assert failed.retryable
    assert await statuses(database) == {"scheduled": 1, "sent": 2}


async def test_what_no_e_mail_can_be_made_of_fails_alone(
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that no library was known to raise ends one reminder, by the name of its class."""
    reminders = await due_reminders(database, 3)
    render = MailRenderer.render

    def raising(self: MailRenderer, facts: object, **how: object) -> object:
        if facts.reminder.id == reminders[0].reminder_id:  # type: ignore[attr-defined]
            raise ZeroDivisionError("ana@hospital.example")
        return render(self, facts, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(MailRenderer, "render", raising)
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, reminders)
    assert await statuses(database) == {"failed: render_error": 1, "sent": 2}
    async with database.autocommit() as connection:
        errors = await connection.scalars(
            text("SELECT last_error FROM session_reminder_emails WHERE last_error IS NOT NULL")
        )
        assert ["unexpected ZeroDivisionError"] == list(errors)


async def test_a_reason_of_a_later_release_reads_as_none(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """A ledger that a later release has written is read, as far as this one understands it."""
    reminders = await due_reminders(database, 2)
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE session_reminder_emails SET email_status = 'skipped',"
                " status_reason = 'too_beautiful' WHERE id = :id"
            ),
            {"id": reminders[0].reminder_id},
        )
    async with a_pipeline(settings) as pipeline:
        skipped, sent = await deliver(pipeline, reminders)
    assert DeliveryOutcome(status=ReminderStatus.SKIPPED) == skipped
    assert DeliveryOutcome(status=ReminderStatus.SENT) == sent
