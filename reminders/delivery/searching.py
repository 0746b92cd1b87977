"""The search for the one e-mail that something on the way to the provider refuses.

A firewall that takes offence at one of a hundred refuses the request: halves of it are tried, until
the one is alone. It may as well refuse all of them, so that a search ends when it finds nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from reminders.domain.delivery_errors import MailBlockedError
from reminders.domain.ports import FrozenBatch

logger = logging.getLogger(__name__)

LONGEST = 20
"""Requests in a row that are given to a search: each takes a turn from those that the
firewall lets pass."""
_AGAIN = timedelta(minutes=1)
"""After a search in vain the next one may find the one, if the firewall lets the others pass by then."""


@dataclass(slots=True)
class _Search:
    """For the reminders of a session that something before the provider refuses."""

    began_at: float
    """By `loop.time()`."""
    requests: int = 0
    """In a row that were refused."""


class Searches:
    """One at a time for each start of a session: e-mails about the same are likely to be refused together."""

    def __init__(self) -> None:
        self._by_start: dict[datetime, _Search] = {}

    def got_through(self, batch: FrozenBatch) -> None:
        """The provider took a batch: a search for what is left begins anew."""
        self._by_start.pop(batch.useful_until, None)

    def goes_on(self, batch: FrozenBatch, error: MailBlockedError) -> bool:
        """Whether the halves of a refused batch are to be tried."""
        now = asyncio.get_running_loop().time()
        over = now - _AGAIN.total_seconds()
        self._by_start = {start: s for start, s in self._by_start.items() if s.began_at > over}
        search = self._by_start.setdefault(batch.useful_until, _Search(now))
        search.requests += 1
        goes_on = len(batch.reminder_ids) > 1 and not error.in_doubt and search.requests < LONGEST
        if not goes_on:
            logger.warning(
                "%d reminders are refused before they reach the provider, and tried again until"
                " their session starts: %s",
                len(batch.reminder_ids),
                error,
            )
        return goes_on
