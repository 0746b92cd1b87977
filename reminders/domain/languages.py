"""Texts that a platform keeps in several languages: a JSON object from language to text.

So pretix and Indico store theirs: `{"en": "Cardiology", "de": "Kardiologie"}`. Everybody gets their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reminders.domain.model import Session

ENGLISH = "en"
_FIELDS = ("title", "speaker_name", "location", "preparation_notes")


def is_by_language(session: Session) -> bool:
    """Whether some text of it may be in several languages."""
    return in_language(session) is not session


def in_language(session: Session, *names: str | None) -> Session:
    """A session whose texts are in the first of these languages that each of them has.

    Args:
        session: May hold anything that people typed; what is no such object stays as it is.
        names: BCP 47 or POSIX; English comes after them, then whichever is the first.
    """
    chosen: dict[str, Any] = {
        field: text_in(text, *names)
        for field in _FIELDS
        if (text := getattr(session, field)) and text.lstrip().startswith("{")
    }
    return replace(session, **chosen) if chosen else session


_ILLEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""What JSON can say by an escape, and nobody can encode, or should show."""


def text_in(text: str, *names: str | None) -> str:
    """A text in the first of these languages that it has; see `in_language`."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(found, dict) or not all(isinstance(v, str | None) for v in found.values()):
        return text
    texts: dict[str, str] = {
        _plain(name): legible
        for name, said in found.items()
        if said and (legible := _ILLEGIBLE.sub("", said)).strip()
    }
    # `de` has what is written for `de-informal`, if there is no better.
    broader = {name.partition("_")[0]: said for name, said in reversed(texts.items())}
    for name in (*names, ENGLISH):
        for known in _from_special(name):
            if known in texts or known in broader:
                return texts.get(known) or broader[known]
    return next(iter(texts.values()), "")


def _from_special(name: str | None) -> Iterator[str]:
    """`de_at`, then `de`."""
    parts = _plain((name or "").partition(".")[0]).split("_")
    for length in range(len(parts), 0, -1):
        yield "_".join(parts[:length])


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_")
