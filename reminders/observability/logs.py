"""Structured logs: one line an event, workflow ids and no personal data."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Hashable
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from reminders.domain.errors import ReminderError

_DEEPEST = 5
"""Causes of an exception that are told."""
_MOST_FRAMES = 30
"""Of a traceback, those nearest to where it was raised."""


def configure(log_format: Literal["json", "console"], level: str) -> None:
    """Send every logger of the process to standard error in one format; call it once.

    Args:
        log_format: `json` for machines, `console` for people.
        level: `debug`, `info`, `warning` or `error`.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        _flatten_temporal,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _describe_exception,
            renderer,
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(OncePerMinute())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # A line for every request to the provider says nothing that the ledger does not; and one for
    # every look at the schema's revision says nothing.
    for name in ("httpx", "httpcore", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _describe_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Render a traceback without the messages of foreign errors: those may quote an address."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple) and exc_info[1] is not None:
        lines = []
        error: BaseException | None = exc_info[1]
        for _ in range(_DEEPEST):
            if error is None:
                break
            message = f": {error}" if isinstance(error, ReminderError) else ""
            frames = traceback.format_tb(error.__traceback__, -_MOST_FRAMES)
            lines += [*frames, f"{type(error).__name__}{message}"]
            error = error.__cause__
        event["exception"] = "\n".join(line.rstrip() for line in lines)
    return event


def _flatten_temporal(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Lift the workflow's id and type out of the dictionary that Temporal's loggers attach."""
    event.pop("color_message", None)  # uvicorn's, for terminals
    for key in ("temporal_workflow", "temporal_activity"):
        details = event.pop(key, None)
        if isinstance(details, dict):
            for name in ("workflow_id", "workflow_type", "activity_type", "attempt"):
                if name in details:
                    event[name] = details[name]
    return event


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
