"""E-mails that are composed a moment before they are due, for whom nothing changes until then.

Composing is most of the work of an instant at which a crowd is due. What counts is still read at
the instant itself: a draft is used only if all that was read then is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from reminders.domain.decide import Send, decide
from reminders.domain.model import DeliveryFacts, Message
from reminders.domain.ports import Composer

_LASTS = timedelta(seconds=5)
"""For so long "in 30 minutes" is still said of the instant that a draft was composed for."""

_Draft = tuple[DeliveryFacts, datetime, Message]


class Drafts:
    """A `Composer` that has some e-mails ready."""

    def __init__(self, composer: Composer) -> None:
        """Compose with this one; nothing is ready."""
        self._composer = composer
        self._drafts: dict[UUID, _Draft] = {}

    def prepare(self, facts: Sequence[DeliveryFacts], *, due_at: datetime) -> None:
        """Compose what is to be sent at an instant, as things are; drafts of before are dropped."""
        self._drafts = {
            i: draft for i, draft in self._drafts.items() if draft[1] >= due_at - _LASTS
        }
        for fact in facts:
            with suppress(Exception):  # whatever it is, it is told when the reminder is due
                if isinstance(decide(fact, now=due_at), Send):
                    message = self._composer.compose(fact, now=due_at)
                    self._drafts[fact.reminder.id] = fact, due_at, message

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """See `Composer.compose`."""
        draft = self._drafts.pop(facts.reminder.id, None)
        if draft is not None:
            of, due_at, message = draft
            if of == facts and timedelta() <= now - due_at < _LASTS:
                return message
        return self._composer.compose(facts, now=now)
