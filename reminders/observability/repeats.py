"""The same failure is logged once a minute, however often it happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable

EVERY_SECONDS = 60.0
MOST_KNOWN = 1000
"""Failures that are told apart at the same time; beyond them all are logged anew."""
MOST_ALIKE = 100
"""Lines a minute that differ only in what they name, such as one for each reminder."""


class OncePerMinute(logging.Filter):
    """Lets a warning or an error pass once a minute, and with it how often it was held back.

    With an exception, the failure is its class and where it was raised; the text may name another
    reminder each time. Without one it is the text.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Measure minutes with this clock, in seconds."""
        super().__init__()
        self._monotonic = monotonic
        self._seen: dict[Hashable, tuple[float, int]] = {}
        """When the last one passed, and how many came since."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        if record.levelno < logging.WARNING:
            return True
        where = (record.name, record.levelno)
        if not self._passes((*where, _what(record)), 1, record):
            return False
        return self._passes((*where, "like", record.pathname, record.lineno), MOST_ALIKE, record)

    def _passes(self, key: Hashable, most: int, record: logging.LogRecord) -> bool:
        now = self._monotonic()
        began, count = self._seen.get(key, (now, 0))
        held_back = 0
        if now - began >= EVERY_SECONDS:
            held_back, began, count = max(count - most, 0), now, 0
        if len(self._seen) >= MOST_KNOWN and key not in self._seen:
            self._seen.clear()
        self._seen[key] = (began, count + 1)
        if held_back:
            record.held_back = held_back
        return count < most


def _what(record: logging.LogRecord) -> Hashable:
    """What makes two records the same failure."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is None:
        return record.getMessage()
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    line = (place.tb_frame.f_code.co_filename, place.tb_lineno) if place else None
    return type(error), line
