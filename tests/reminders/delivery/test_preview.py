"""A preview shows what the provider gets, to the byte (pretix PR#3223)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from reminders.db.engine import Database
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.db.tables import ReminderRow
from reminders.mail.samples import preview
from reminders.settings import Settings
from starter.services.mails import mail_composer
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders


async def test_what_is_previewed_is_what_the_provider_gets(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """Subject, HTML, text and headers of the preview are those that are accepted."""
    left = timedelta(minutes=29)
    (reminder,) = await due_reminders(
        database,
        1,
        starts_in=left,
        join_url="https://meet.example.org/1?a=b&c=d",
        preparation_notes="Read https://example.org <first>.\r\nThen come.",
        speaker_name="Dr. Inês Carvalho",
        time_zone="Asia/Tokyo",
    )
    async with a_pipeline(settings) as pipeline:
        await deliver(pipeline, [reminder])
    (accepted,) = await provider.accepted(bodies=True)
    async with database.transaction() as connection:
        found = await connection.execute(select(ReminderRow.session_id, ReminderRow.user_id))
        session_id, user_id = found.one()
    catalogue, rules = Catalogue(database), await RuleStore(database).of_session(session_id)
    shown = preview(
        mail_composer(settings),
        session=await catalogue.session(session_id),
        attendee=await catalogue.user(user_id),
        rule=next(rule for rule in rules if rule.reminder_type == "30min"),
        at=reminder.starts_at - left,
        reminder_id=reminder.reminder_id,
    )
    assert accepted["subject"] == shown.subject
    assert accepted["html"] == shown.html
    assert accepted["text"] == shown.text
    assert accepted["from"] == shown.sender
    assert accepted["to"] == [shown.to]
    assert accepted["headers"] == dict(shown.headers)
