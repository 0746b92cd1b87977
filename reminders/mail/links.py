"""The links of an e-mail that belong to its reader: calendar, and no more reminders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from reminders.model import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class AttendeeLinks:
    """Web addresses for one attendee of one session."""

    google_url: str
    """Opens Google Calendar with the session filled in."""
    outlook_url: str
    """Opens Outlook on the web with the session filled in."""
    ics_url: str
    """The session as an iCalendar file, which follows the session when it moves."""
    stop_url: str
    """The page that asks which reminders are to stop; opening it changes nothing."""
    one_click_url: str
    """A POST to it stops the reminders of this session, as RFC 8058 has it."""


class LinkMaker(Protocol):
    """Makes the links of an e-mail."""

    def links(self, session: Session, user_id: UUID) -> AttendeeLinks:
        """The links for one attendee of a session."""
