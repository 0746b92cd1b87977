"""What the provider told of single reminders, for as long as its events are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from reminders.db.engine import Database
from reminders.db.tables import WebhookEventRow


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderNote:
    """Something that the provider said of an e-mail."""

    type: str
    """In its words, such as `email.delivered`."""
    occurred_at: datetime


class ProviderHistory:
    """The provider's events, read only."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def of(self, reminder_ids: Sequence[UUID]) -> dict[UUID, list[ProviderNote]]:
        """What was told of these reminders, the earliest first; those without are left out."""
        query = (
            select(WebhookEventRow.reminder_id, WebhookEventRow.type, WebhookEventRow.occurred_at)
            .where(WebhookEventRow.reminder_id.in_(reminder_ids))
            .order_by(WebhookEventRow.occurred_at, WebhookEventRow.svix_id)
        )
        notes: dict[UUID, list[ProviderNote]] = {}
        async with self._database.autocommit() as connection:
            for reminder_id, kind, occurred_at in await connection.execute(query):
                if reminder_id is not None:
                    note = ProviderNote(type=kind, occurred_at=occurred_at)
                    notes.setdefault(reminder_id, []).append(note)
        return notes
