"""The links of an e-mail that belong to its reader: calendar, and no more reminders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode
from uuid import UUID

from reminders.domain.model import Session
from reminders.mail.calendar import CalendarEvent, calendar_event
from reminders.tokens import Purpose, Tokens

_NOTES = 300
"""Code points of the notes in a link: mail programs and calendars cut off long addresses."""
_LOOK_ALIKES = {ord("<"): "\u2039", ord(">"): "\u203a"}
"""Single angle quotation marks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttendeeLinks:
    """Web addresses for one attendee of one session."""

    google_url: str
    """Opens Google Calendar with the session filled in."""
    outlook_url: str
    """Opens Outlook on the web with the session filled in, for private accounts."""
    outlook_work_url: str
    """The same for the accounts of companies and schools (Microsoft 365)."""
    ics_url: str
    """The session as an iCalendar file, which follows the session when it moves."""
    webcal_url: str
    """The same address under the scheme by which calendar programs subscribe."""
    stop_url: str
    """The page that asks which reminders are to stop; opening it changes nothing."""
    one_click_url: str
    """A POST to it stops the reminders of this session, as RFC 8058 has it."""


class LinkMaker(Protocol):
    """Makes the links of an e-mail."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
        """The links for one attendee of a session."""


@dataclass(frozen=True, slots=True)
class SignedLinks:
    """Makes links that carry a token; a `LinkMaker`."""

    base_url: str
    """Where attendees reach the API; a path is kept."""
    tokens: Tokens

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
        """See `LinkMaker.links`."""
        base = self.base_url.rstrip("/")
        file = f"/calendar/{self.tokens.make(Purpose.CALENDAR, session.id, user_id)}.ics"
        stop = f"{base}/stop/{self.tokens.make(Purpose.STOP, session.id, user_id)}"
        entry = calendar_event(session, notes=_NOTES)
        return AttendeeLinks(
            google_url=_google(entry),
            outlook_url=_outlook("outlook.live.com", entry),
            outlook_work_url=_outlook("outlook.office.com", entry),
            ics_url=base + file,
            webcal_url=f"webcal://{base.partition('://')[2]}{file}",
            stop_url=stop,
            # RFC 8058 posts to the address that a person would open: the body tells them apart.
            one_click_url=stop,
        )


def _google(entry: CalendarEvent) -> str:
    span = f"{entry.starts_at:%Y%m%dT%H%M%SZ}/{entry.ends_at:%Y%m%dT%H%M%SZ}"
    return _url(
        "https://calendar.google.com/calendar/render",
        action="TEMPLATE",
        text=entry.title,
        dates=span,
        details=_no_markup(entry.details),
        location=entry.location,
    )


def _outlook(host: str, entry: CalendarEvent) -> str:
    return _url(
        f"https://{host}/calendar/0/deeplink/compose",
        path="/calendar/action/compose",
        rru="addevent",
        subject=entry.title,
        startdt=f"{entry.starts_at:%Y-%m-%dT%H:%M:%SZ}",
        enddt=f"{entry.ends_at:%Y-%m-%dT%H:%M:%SZ}",
        body=_no_markup(entry.details),
        location=entry.location,
    )


def _url(address: str, **query: str) -> str:
    """With what is empty left out. A space is `%20`: Outlook shows a plus sign as one."""
    given = {name: value for name, value in query.items() if value}
    return f"{address}?{urlencode(given, quote_via=quote, safe='')}"


def _no_markup(text: str) -> str:
    """Both calendars read the details as HTML; look-alikes keep typed markup from being any."""
    return text.translate(_LOOK_ALIKES)
