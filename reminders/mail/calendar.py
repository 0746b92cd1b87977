"""The hosted iCalendar file: one entry that follows its session.

The same UID for ever, and a SEQUENCE that rises with every change, so that a calendar replaces
what it has. A person's own file says nothing about them: no ATTENDEE, no name, no address.

Source: RFC 5545; RFC 5546 §3.2.1 and §3.2.5 (PUBLISH, CANCEL); RFC 7986 §5.7 (REFRESH-INTERVAL).
"""

from __future__ import annotations

from datetime import timedelta
from email.utils import parseaddr
from uuid import UUID, uuid5

from icalendar import Calendar, Event, vCalAddress

from reminders.domain.model import CalendarEntry, EnrollmentStatus
from reminders.mail.event import event

_ENTRIES = UUID("f3b6d7b2-50c4-5d39-8f0e-7f2f4c3f6a1e")
"""Namespace of the entries' UIDs (RFC 9562 §5.5); arbitrary, and fixed for ever."""
_NOTES = 10_000
"""Code points."""
_REFRESH = timedelta(hours=1)
"""How often a calendar that subscribed is to look again."""


def calendar_file(entry: CalendarEntry, *, organizer: str | None) -> bytes:
    """The file as UTF-8, folded; the same bytes as long as nothing changes.

    Args:
        entry: The session as one attendee has it.
        organizer: `Name <address>` of the platform; calendars show who sent the entry.
    """
    shown = event(entry.session, notes=_NOTES)
    called_off = entry.is_called_off
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
    if called_off:
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
    file.add("method", "CANCEL" if called_off else "PUBLISH")
    file.add("refresh-interval", _REFRESH, parameters={"VALUE": "DURATION"})
    file.add("x-published-ttl", "PT1H")
    file.add_component(item)
    return bytes(file.to_ical())


def entry_uid(session_id: UUID, user_id: UUID) -> UUID:
    """What calendars know the entry by; tells neither id."""
    return uuid5(_ENTRIES, f"{session_id}:{user_id}")
