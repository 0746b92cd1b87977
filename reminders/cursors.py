"""Opaque cursors: where a page ended, as callers hand it back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from reminders.domain.errors import InvalidInputError

_Row = TypeVar("_Row")


def page(
    found: Sequence[_Row], limit: int, end: Callable[[_Row], Sequence[object]]
) -> tuple[Sequence[_Row], str | None]:
    """A page of rows of which one more than its limit was looked for, and where the next begins.

    Args:
        found: Up to `limit + 1`.
        limit: Of the page.
        end: The parts of the cursor behind a row; see `encode`.
    """
    shown = found[:limit]
    return shown, encode(*end(shown[-1])) if len(found) > limit else None


def encode(*parts: object) -> str:
    """A cursor of these parts: instants, ids and numbers, none of which has a space in it."""
    words = (part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)
    return base64.urlsafe_b64encode(" ".join(words).encode()).decode()


def decode(cursor: str, *kinds: Callable[[str], Any]) -> Sequence[Any]:
    """The parts of a cursor, each read by its kind.

    Raises:
        InvalidInputError: If it is not one of ours.
    """
    try:
        parts = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return [kind(part) for kind, part in zip(kinds, parts, strict=True)]
    except (ValueError, OverflowError) as error:
        raise unknown() from error


def instant(part: str) -> datetime:
    """An instant in a cursor; reads only what carries an offset."""
    found = datetime.fromisoformat(part)
    if found.utcoffset() is None:
        raise ValueError(part)
    return found.astimezone(UTC)


def unknown() -> InvalidInputError:
    """The refusal of a cursor that is not one of ours."""
    msg = "this cursor was not given out here; leave it out to start from the beginning"
    return InvalidInputError(msg, field="cursor")
