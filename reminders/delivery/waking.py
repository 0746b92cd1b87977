"""How a crowd's workflows wake: measured here, so that the next crowd's are spread accordingly."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.errors import ReminderError
from reminders.domain.lead_in import CROWD
from reminders.domain.ports import Clock, DeliveryLedger

logger = logging.getLogger(__name__)

_EVERY = timedelta(seconds=30)
_SETTLED = timedelta(seconds=10)
"""Once nobody came for so long, all are there."""


@dataclass(slots=True)
class _Crowd:
    """Who was there before an instant, and after it."""

    first_at: datetime
    last_at: datetime
    came: set[UUID] = field(default_factory=set)


class Waking:
    """Notes when reminders of one instant come, and records how long it took them."""

    def __init__(self, ledger: DeliveryLedger, clock: Clock) -> None:
        """Nobody has come.

        Args:
            ledger: Keeps what was measured.
            clock: Says when they come.
        """
        self._ledger = ledger
        self._clock = clock
        self._crowds: dict[datetime, _Crowd] = {}

    def note(self, reminder: DeliverReminderInput) -> None:
        """Note that a workflow has woken for a reminder; one that comes again says nothing."""
        due_at, now = reminder.due_at, self._clock.now()
        crowd = self._crowds.get(due_at)
        if crowd is None:
            if now >= due_at:
                return  # who had no lead-in, or was kept by something else, says nothing
            crowd = self._crowds[due_at] = _Crowd(now, now)
        if reminder.reminder_id not in crowd.came:
            crowd.came.add(reminder.reminder_id)
            crowd.last_at = now

    async def watch(self) -> None:
        """Record every crowd once all are there, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY.total_seconds())
            now = self._clock.now()
            for due_at, crowd in list(self._crowds.items()):
                if now - max(due_at, crowd.last_at) > _SETTLED:
                    del self._crowds[due_at]
                    await self._record(due_at, crowd)

    async def _record(self, due_at: datetime, crowd: _Crowd) -> None:
        if len(crowd.came) < CROWD:
            return
        try:
            apart = await self._ledger.woke(
                due_at,
                took=crowd.last_at - crowd.first_at,
                were_late=crowd.last_at > due_at,
            )
        except ReminderError as error:
            logger.warning("how fast workflows wake is not recorded: %s", error)
        except Exception:
            logger.exception("recording how fast workflows wake failed unexpectedly")
        else:
            logger.info("%d woke for %s; %s apart from now on", len(crowd.came), due_at, apart)
