"""A session as an entry of a calendar: the same words in every kind of link and file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from reminders.domain.model import Session
from reminders.mail.plain_text import one_line, paragraph

USUAL_LENGTH = timedelta(hours=1)
"""Of a session without an end: an entry that takes no time is easily overlooked."""

_TITLE = 200
_LINE = 300
_URL = 2_048
"""All in code points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What a calendar shows: plain text without controls, instants in UTC."""

    title: str
    starts_at: datetime
    ends_at: datetime
    location: str
    """Where to go; the link if there is no place. May be empty."""
    details: str
    """Speaker, link and notes, a paragraph each; without labels, so in no language. May be empty."""
    url: str
    """The link to join, if it is a web address; else empty."""


def event(session: Session, *, notes: int) -> Event:
    """A session as its attendee's calendar shows it.

    Args:
        session: May hold anything that people typed.
        notes: Greatest length of the preparation notes, in code points.
    """
    starts_at = session.starts_at.astimezone(UTC)
    ends_at = (session.ends_at or session.starts_at + USUAL_LENGTH).astimezone(UTC)
    join = one_line(session.join_url or "", _URL)
    paragraphs = (
        one_line(session.speaker_name or "", _LINE),
        join,
        "\n".join(paragraph(session.preparation_notes or "", notes)),
    )
    url = join if _is_web_address(join) else ""
    return Event(
        title=one_line(session.title, _TITLE),
        starts_at=starts_at,
        ends_at=max(ends_at, starts_at),
        location=one_line(session.location or "", _LINE) or url,
        details="\n\n".join(filter(None, paragraphs)),
        url=url,
    )


def _is_web_address(text: str) -> bool:
    """Whether it is good for a link: calendars open whatever scheme they are given."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and " " not in text
    except ValueError:  # a malformed IPv6 host
        return False
