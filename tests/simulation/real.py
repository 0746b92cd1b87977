"""The real composer, with real templates: too slow for thousands of schedules, right for some."""

from __future__ import annotations

from datetime import datetime

from reminders.domain.model import DeliveryFacts, Message
from reminders.domain.ports import Composer
from reminders.mail.addressing import DeliveryMode
from reminders.mail.compose import MailComposer
from reminders.mail.render import MailRenderer
from tests.simulation.provider import SINK, told


class _AsModel:
    """Renders in earnest, and hands on what the simulated provider reads of an e-mail."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """See `Composer.compose`."""
        mail = self._composer.compose(facts, now=now)
        assert facts.attendee
        return Message(
            reminder_id=mail.reminder_id,
            sender=mail.sender,
            to=mail.to,
            subject=facts.attendee.email,
            html=mail.html,
            text=told(facts),
            true_until=mail.true_until,
        )


def real_composer(mode: str) -> Composer:
    """As a worker in this mode has it."""
    return _AsModel(
        MailComposer(
            sender="Reminders <reminders@platform.example>",
            reply_to=None,
            mode=DeliveryMode(mode),
            test_recipient=SINK if mode == "redirect" else None,
            renderer=MailRenderer(),
        )
    )
