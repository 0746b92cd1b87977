"""Webhook events that wait to be delivered, kept with the e-mails they tell of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from devstack.provider.instants import instant, micros
from devstack.provider.store import Store


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event on its way."""

    id: int
    message_id: str
    """Its `svix-id`: the same at every attempt."""
    email_id: str
    type: str
    created_at: int
    attempts: int
    """Made so far."""


class Outbox:
    """The queue, in the store's file."""

    def __init__(self, store: Store) -> None:
        """Take the store whose transactions put events here."""
        self._store = store
        self._pending: int | None = None

    @property
    def pending(self) -> int:
        """How many events wait; counted once, then kept up to date by `queued` and `settle`."""
        if self._pending is None:
            row = self._store.connection.execute("SELECT COUNT(*) FROM events").fetchone()
            self._pending = int(row[0])
        return self._pending

    def queued(self, events: int) -> None:
        """Say that a transaction put so many events here."""
        self._pending = self.pending + events

    def forget(self) -> None:
        """Count anew: the store was emptied."""
        self._pending = None

    def due(self, now: datetime, limit: int) -> list[QueuedEvent]:
        """Events whose time has come, oldest first."""
        rows = self._store.connection.execute(
            "SELECT id, message_id, email_id, type, created_at, attempts FROM events"
            " WHERE due_at <= ? ORDER BY due_at, id LIMIT ?",
            (micros(now), limit),
        )
        return [QueuedEvent(*row) for row in rows]

    def next_due(self) -> datetime | None:
        """When the next event's time comes; `None` when none waits."""
        row = self._store.connection.execute("SELECT MIN(due_at) FROM events").fetchone()
        return None if row[0] is None else instant(row[0])

    def settle(
        self,
        done: list[QueuedEvent],
        again: list[tuple[QueuedEvent, timedelta]],
        now: datetime,
    ) -> None:
        """Drop events that are done with, and put the others off."""
        with self._store.transaction():
            execute = self._store.connection.executemany
            execute("DELETE FROM events WHERE id = ?", [(event.id,) for event in done])
            execute(
                "UPDATE events SET attempts = attempts + 1, due_at = ? WHERE id = ?",
                [(micros(now + wait), event.id) for event, wait in again],
            )
        # The store may have been emptied while the events were under way.
        self._pending = None
