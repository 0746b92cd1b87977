"""E-mails to look at, and one to oneself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Self
from uuid import UUID

from pydantic import Field

from reminders.domain.model import Message
from starter.api.answers.base import Out

if TYPE_CHECKING:  # they bring the templates along, which nobody needs who only answers
    from starter.services.mails import Scene, TestSent


class PreviewOut(Out):
    """An e-mail as an attendee would get it, but for links, which lead nowhere."""

    session_id: UUID | None
    """Null for the sample session."""
    reminder_type: str
    at: datetime
    """The instant by which it is worded."""
    start_time: datetime
    """Of the session."""
    sender: str = Field(examples=["Session Reminders <reminders@example.com>"])
    subject: str = Field(examples=["Reminder: Cardiology update starts tomorrow"])
    text: str
    html: str
    headers: dict[str, str]

    @classmethod
    def of(cls, scene: Scene, message: Message, session_id: UUID | None) -> Self:
        """The message as JSON, without the address."""
        return cls(
            session_id=session_id,
            reminder_type=scene.rule.reminder_type,
            at=scene.at,
            start_time=scene.session.starts_at,
            sender=message.sender,
            subject=message.subject,
            text=message.text,
            html=message.html,
            headers=dict(message.headers),
        )


class TestSentOut(Out):
    """A test e-mail that the provider took; it is at `VERIFIED_TEST_EMAIL`."""

    resend_email_id: str
    reminder_type: str
    at: datetime
    """The instant by which it is worded."""
    event_id: int
    """Of its entry in the audit log."""

    @classmethod
    def of(cls, scene: Scene, sent: TestSent) -> Self:
        """The receipt as JSON."""
        return cls(
            resend_email_id=sent.email_id,
            reminder_type=scene.rule.reminder_type,
            at=scene.at,
            event_id=sent.event_id,
        )
