"""The hosted iCalendar file: one entry that follows its session.

The same UID for ever, and a SEQUENCE that rises with every change, so that a calendar replaces
what it has. A person's own file says nothing about them: no ATTENDEE, no name, no address.

Source: RFC 5545; RFC 5546 §3.2.1 and §3.2.5 (PUBLISH, CANCEL); RFC 7986 §5.7 (REFRESH-INTERVAL).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from uuid import UUID, uuid5

from icalendar import Calendar, Event, vCalAddress

from reminders.domain.model import CalendarEntry, EnrollmentStatus, Session
from reminders.mail import markup
from reminders.mail.markup import is_web_address
from reminders.mail.plain_text import one_line, paragraph

USUAL_LENGTH = timedelta(hours=1)
"""Of a session without an end: an entry that takes no time is easily overlooked."""

_TITLE = 200
_LINE = 300
_URL = 2_048
"""All in code points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CalendarEvent:
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


def calendar_event(session: Session, *, notes: int) -> CalendarEvent:
    """A session as its attendee's calendar shows it.

    Args:
        session: May hold anything that people typed.
        notes: Greatest length of the preparation notes, in code points.
    """
    starts_at = session.starts_at.astimezone(UTC)
    ends_at = session.ends_at.astimezone(UTC) if session.ends_at else starts_at
    if ends_at <= starts_at:
        ends_at = starts_at + USUAL_LENGTH
    join = one_line(session.join_url or "", _URL)
    paragraphs = (
        one_line(session.speaker_name or "", _LINE),
        join,
        "\n".join(paragraph(_as_text(session.preparation_notes or ""), notes)),
    )
    url = join if is_web_address(join) else ""
    return CalendarEvent(
        title=one_line(session.title, _TITLE),
        starts_at=starts_at,
        ends_at=ends_at,
        location=one_line(session.location or "", _LINE) or url,
        details="\n\n".join(filter(None, paragraphs)),
        url=url,
    )


def _as_text(notes: str) -> str:
    return markup.plain(notes) if markup.is_markup(notes) else notes


_ENTRIES = UUID("f3b6d7b2-50c4-5d39-8f0e-7f2f4c3f6a1e")
"""Namespace of the entries' UIDs (RFC 9562 §5.5); arbitrary, and fixed for ever."""
_NOTES = 10_000
"""Code points."""
_REFRESH = timedelta(hours=1)
"""How often a calendar that subscribed is to look again."""


def media_type(entry: CalendarEntry) -> str:
    """Of the file; its `method` is the file's own, or Outlook refuses it (RFC 5545 §8.1)."""
    return f"text/calendar; charset=utf-8; method={_method(entry)}"


def calendar_file(entry: CalendarEntry, *, organizer: str | None) -> bytes:
    """The file as UTF-8, folded; the same bytes as long as nothing changes.

    Args:
        entry: The session as one attendee has it.
        organizer: `Name <address>` of the platform; calendars show who sent the entry.
    """
    shown = calendar_event(entry.session, notes=_NOTES)
    item = Event()
    item.add("uid", str(entry_uid(entry.session.id, entry.user_id)))
    item.add("sequence", entry.sequence)
    # Of this revision, and not of this download: who looks again is to find the same file.
    item.add("dtstamp", entry.changed_at)
    item.add("last-modified", entry.changed_at)
    item.add("dtstart", shown.starts_at)
    item.add("dtend", shown.ends_at)
    item.add("summary", shown.title)
    if shown.location:
        item.add("location", shown.location)
    if shown.details:
        item.add("description", shown.details)
    if shown.url:
        item.add("url", shown.url)
    if address := parseaddr(organizer or "")[1]:
        sender = vCalAddress(f"mailto:{address}")
        if name := parseaddr(organizer or "")[0]:
            sender.params["cn"] = name
        item.add("organizer", sender, encode=False)
    if entry.is_called_off:
        status = "CANCELLED"
    elif entry.enrollment_status is EnrollmentStatus.PENDING:
        status = "TENTATIVE"
    else:
        status = "CONFIRMED"
    item.add("status", status)
    file = Calendar()
    file.add("prodid", "-//session-reminders//EN")
    file.add("version", "2.0")
    file.add("calscale", "GREGORIAN")
    file.add("method", _method(entry))
    file.add("refresh-interval", _REFRESH, parameters={"VALUE": "DURATION"})
    file.add("x-published-ttl", "PT1H")
    file.add_component(item)
    return bytes(file.to_ical())


def _method(entry: CalendarEntry) -> str:
    return "CANCEL" if entry.is_called_off else "PUBLISH"


def entry_uid(session_id: UUID, user_id: UUID) -> UUID:
    """What calendars know the entry by; reveals neither id."""
    return uuid5(_ENTRIES, f"{session_id}:{user_id}")
