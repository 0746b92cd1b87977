"""Asks the provider about e-mails of which no event tells: slowly, and after everything else.

Webhooks are how it is known what became of an e-mail. One that is lost, or leads nowhere, would leave
it `sent` for ever; so the worker asks for those that have been silent for a while. It takes only what
the pace has to spare, and asks no more for an hour if the key may not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from reminders.domain.delivery_errors import MailNotConfiguredError
from reminders.domain.errors import ReminderError
from reminders.domain.model import ProviderEvent
from reminders.domain.pace import Pace

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
AT_ONCE = 30
"""E-mails of one round."""
_REFUSED = timedelta(hours=1)
"""Until it asks again after the key was refused."""


class Silent(Protocol):
    """Knows of which accepted e-mails nobody told the end, and keeps what is told."""

    async def next(self) -> tuple[UUID, str] | None:
        """The next one to ask for, with a turn that nobody else wants.

        Returns:
            The ledger's row and the provider's id; `None` if there is none, or no such place.
        """

    async def record(self, event: ProviderEvent) -> bool:
        """Bring what the provider says into the ledger; whether it was news."""


class Informant(Protocol):
    """Tells what became of an e-mail."""

    async def told(self, email_id: str, reminder_id: UUID) -> ProviderEvent | None:
        """What became of it; `None` if nothing did yet, or it is not known.

        Raises:
            MailNotConfiguredError: If the key may not ask.
            DeliveryError: If there is no answer this time.
        """


class Inquiry:
    """Asks, for as long as a worker runs."""

    def __init__(self, silent: Silent, informant: Informant, *, pace: Pace) -> None:
        """Ask this provider about these e-mails, aside from what the pace is there for."""
        self._silent = silent
        self._pace = pace
        self._informant = informant

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask every minute until the end of the block."""
        asking = asyncio.create_task(self._ask())
        try:
            yield
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    async def round(self) -> int:
        """Ask for some; how many answers were news.

        Raises:
            MailNotConfiguredError: If the key may not ask.
            ReminderError: If provider or database are away.
        """
        news = 0
        for _ in range(AT_ONCE):
            found = await self._silent.next()
            if found is None:
                break
            reminder_id, email_id = found
            event = await self._informant.told(email_id, reminder_id)
            news += event is not None and await self._silent.record(event)
            await asyncio.sleep(self._pace.aside.total_seconds())
        return news

    async def _ask(self) -> None:
        level = logging.INFO
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            try:
                if news := await self.round():
                    logger.info("asked for e-mails without an event: %d have one now", news)
            except MailNotConfiguredError as error:
                # A key that may only send stays so; one that is refused for now does not.
                logger.log(level, "what becomes of e-mails is known by webhooks only: %s", error)
                level = logging.DEBUG
                await asyncio.sleep(_REFUSED.total_seconds())
            except ReminderError as error:
                logger.warning("e-mails without an event wait for the next look: %s", error)
            except Exception:
                logger.exception("asking for e-mails failed unexpectedly")
