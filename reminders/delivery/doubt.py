"""Waits for requests that are in doubt while whoever owns them resolves them.

A reminder that is frozen in somebody else's request can do nothing but wait, and asking costs
Temporal an attempt each. So all that wait for a request are parked here, in the activities that
they came in, and the ledger is asked once for all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from reminders.delivery.gather import Ticket
from reminders.domain.errors import ReminderError
from reminders.domain.ports import DeliveryLedger

logger = logging.getLogger(__name__)

_LOOK_EVERY = timedelta(seconds=1)


class Doubts:
    """Reminders that wait for requests to be resolved."""

    def __init__(
        self,
        ledger: DeliveryLedger,
        *,
        patience: timedelta,
        again: Callable[[Ticket], None],
        give_up: Callable[[Ticket], None],
    ) -> None:
        """Wait for nothing yet.

        Args:
            ledger: Knows which requests are resolved.
            patience: How long after it came a reminder waits at the most.
            again: Takes a reminder whose request is resolved.
            give_up: Takes one whose patience is over.
        """
        self._ledger = ledger
        self._patience = patience.total_seconds()
        self._again = again
        self._give_up = give_up
        self._waiting: dict[UUID, list[Ticket]] = {}

    def wait_for(self, batch_id: UUID, tickets: Sequence[Ticket]) -> None:
        """Park the reminders that are frozen in a request."""
        for ticket in tickets:
            ticket.parked += 1
            self._waiting.setdefault(batch_id, []).append(ticket)

    async def watch(self) -> None:
        """Let go whoever need not wait any longer, as long as this worker lives."""
        while True:
            await asyncio.sleep(_LOOK_EVERY.total_seconds())
            try:
                await self._look()
            except ReminderError as error:
                logger.warning("what is in doubt is looked at later: %s", error)
            except Exception:
                logger.exception("looking at what is in doubt failed unexpectedly")

    def end(self) -> None:
        """Give everybody up: nobody watches any more."""
        for tickets in self._waiting.values():
            for ticket in tickets:
                self._give_up(ticket)
        self._waiting.clear()

    async def _look(self) -> None:
        # First those whose time is up: it passes also while the database does not answer.
        now = asyncio.get_running_loop().time()
        for batch_id, tickets in list(self._waiting.items()):
            self._keep(batch_id, [t for t in tickets if now - t.came_at < self._patience])
            for ticket in tickets:
                if now - ticket.came_at >= self._patience:
                    self._give_up(ticket)
        if self._waiting:
            asked = list(self._waiting)
            frozen = await self._ledger.frozen(asked)
            for batch_id in set(asked) - set(frozen):
                for ticket in self._waiting.pop(batch_id, []):
                    self._again(ticket)

    def _keep(self, batch_id: UUID, tickets: list[Ticket]) -> None:
        if tickets:
            self._waiting[batch_id] = tickets
        else:
            del self._waiting[batch_id]
