"""A preview shows what the provider gets, to the byte (pretix PR#3223)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from reminders.db.engine import Database
from reminders.db.tables import SessionRow, UserRow
from reminders.domain.model import Attendee, ReminderRule, Session
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
        session = (await connection.execute(select(SessionRow.__table__))).mappings().one()
        user = (await connection.execute(select(UserRow.__table__))).mappings().one()
    shown = preview(
        mail_composer(settings),
        session=_session(session),
        attendee=Attendee(user_id=user["id"], email=user["email"], full_name=user["full_name"]),
        rule=ReminderRule(
            reminder_type="30min",
            lead=timedelta(minutes=30),
            is_enabled=True,
            subject_template="Starting Now: {session_title} begins in 30 minutes",
            display_name="30 Minutes Before",
            sort_order=4,
        ),
        at=reminder.starts_at - left,
        reminder_id=reminder.reminder_id,
    )
    assert accepted["subject"] == shown.subject
    assert accepted["html"] == shown.html
    assert accepted["text"] == shown.text
    assert accepted["from"] == shown.sender
    assert accepted["to"] == [shown.to]
    assert accepted["headers"] == dict(shown.headers)


def _session(row: Any) -> Session:
    """A session as the ledger reads it."""
    return Session(
        id=row["id"],
        title=row["title"],
        starts_at=row["start_time"],
        ends_at=row["end_time"],
        time_zone=row["time_zone"],
        speaker_name=row["speaker_name"],
        location=row["location"],
        join_url=row["join_url"],
        preparation_notes=row["preparation_notes"],
    )
