"""The same failure again and again does not fill a disk."""

from __future__ import annotations

import logging

from reminders.observability.logs import EVERY_SECONDS, MOST_ALIKE, OncePerMinute


class _Heard:
    """A logger whose clock is set by hand, and what was logged."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records: list[logging.LogRecord] = []
        self.filter = OncePerMinute(lambda: self.now)

    def log(self, level: int, text: str, *args: object, error: Exception | None = None) -> None:
        """Log from one and the same line."""
        exc_info = (type(error), error, error.__traceback__) if error else None
        record = logging.LogRecord("worker", level, __file__, 1, text, args, exc_info)
        if self.filter.filter(record):
            self.records.append(record)


def _raised(kind: type[Exception]) -> Exception:
    """An error with the place where it was raised."""
    try:
        raise kind  # noqa: TRY301 - so that it has a place
    except kind as error:
        return error


def test_the_same_failure_is_logged_once_a_minute_with_its_count() -> None:
    """A view that raises at every delivery is one line a minute, whichever reminder it was."""
    heard = _Heard()
    for number in range(500):
        heard.log(logging.ERROR, "reminder %s failed", number, error=_raised(RuntimeError))
    assert len(heard.records) == 1
    heard.log(logging.ERROR, "reminder %s failed", 1, error=_raised(LookupError))
    assert len(heard.records) == 2, "another class is another failure"


def test_what_was_held_back_is_counted() -> None:
    """After a minute the line says how many there were meanwhile."""
    heard = _Heard()
    for _ in range(30):
        heard.log(logging.WARNING, "PostgreSQL does not answer")
    heard.now = EVERY_SECONDS
    heard.log(logging.WARNING, "PostgreSQL does not answer")
    assert len(heard.records) == 2
    assert heard.records[1].__dict__["held_back"] == 29


def test_lines_that_differ_in_what_they_name_are_bounded_too() -> None:
    """Sixty thousand reminders that cannot be read are not sixty thousand lines a minute."""
    heard = _Heard()
    for number in range(60_000 // 100):
        heard.log(logging.ERROR, "reminder %s cannot be read: %s", number, "DataError")
    assert len(heard.records) == MOST_ALIKE


def test_what_is_no_failure_is_never_held_back() -> None:
    """Information passes."""
    heard = _Heard()
    for _ in range(200):
        heard.log(logging.INFO, "worker polls")
    assert len(heard.records) == 200
