"""Calendar links and files: what calendars make of them, and that nothing typed breaks out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import icalendar
import pytest

from reminders.domain.model import CalendarEntry, EnrollmentStatus, Session, SessionStatus
from reminders.mail.calendar import calendar_file, media_type
from reminders.mail.links import AttendeeLinks, SignedLinks
from reminders.tokens import Tokens
from tests.builders import SESSION, USER

STARTS = datetime(2026, 12, 1, 15, 0, tzinfo=UTC)
HOSTILE = (
    'Rounds\r\nATTENDEE:mailto:eve@example.org\r\nEND:VEVENT; a, "b" \\n <b>&x=1</b> \u202egnp.exe'
)


def a_session(**fields: Any) -> Session:
    """A session on the first of December 2026, at 15:00 UTC."""
    defaults: dict[str, Any] = {
        "title": "Cardiology & you",
        "join_url": "https://meet.example/4?a=1&b=2",
    }
    return Session(id=SESSION, starts_at=STARTS, **{**defaults, **fields})


def links(session: Session) -> AttendeeLinks:
    """The links of an attendee."""
    return SignedLinks("https://r.example/mail/", Tokens(["x" * 40])).links(session, USER)


def query(url: str) -> dict[str, str]:
    """What a calendar reads from a link."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def an_entry(session: Session, **fields: Any) -> CalendarEntry:
    """A session as an attendee has it."""
    defaults: dict[str, Any] = {"enrollment_status": EnrollmentStatus.CONFIRMED, "sequence": 3}
    return CalendarEntry(
        session=session,
        user_id=USER,
        changed_at=STARTS - timedelta(days=1),
        **{**defaults, **fields},
    )


def file(session: Session) -> bytes:
    """The calendar file of a session."""
    return calendar_file(an_entry(session), organizer='"Reminders, Inc." <r@platform.example>')


def event(content: bytes) -> Any:
    """The one entry of a file."""
    (found,) = icalendar.Calendar.from_ical(content).events
    return found


def test_google_and_outlook() -> None:
    """Title, time in UTC, place and details arrive as they are; spaces are no plus signs."""
    made = links(a_session(speaker_name="Dr. Ruiz", ends_at=STARTS + timedelta(minutes=90)))
    google, outlook = query(made.google_url), query(made.outlook_url)
    assert "20261201T150000Z/20261201T163000Z" == google["dates"]
    assert ("2026-12-01T15:00:00Z", "2026-12-01T16:30:00Z") == (
        outlook["startdt"],
        outlook["enddt"],
    )
    assert "Cardiology & you" == google["text"] == outlook["subject"]
    assert "Dr. Ruiz\n\nhttps://meet.example/4?a=1&b=2" == google["details"] == outlook["body"]
    assert "https://meet.example/4?a=1&b=2" == google["location"] == outlook["location"]
    assert "+" not in made.google_url + made.outlook_url
    assert made.stop_url == made.one_click_url
    assert made.stop_url.startswith("https://r.example/mail/stop/")
    assert made.ics_url.endswith(".ics")


def test_private_and_work_calendars_and_subscribing() -> None:
    """Outlook's two doors take the same; the file's address subscribes under another scheme."""
    made = links(a_session())
    private, work = urlsplit(made.outlook_url), urlsplit(made.outlook_work_url)
    assert ("outlook.live.com", "outlook.office.com") == (private.hostname, work.hostname)
    assert private._replace(netloc="") == work._replace(netloc="")
    assert made.webcal_url == "webcal" + made.ics_url.removeprefix("https")


def test_no_link_names_the_person() -> None:
    """Calendar services learn of the session, and not of whoever comes."""
    made = links(a_session())
    assert str(USER) not in unquote(made.google_url + made.outlook_url)


@pytest.mark.parametrize("long", ["\U0001f9d1\u200d\u2695\ufe0f" * 5000, "<" * 10_000])
def test_links_stay_short_enough(long: str) -> None:
    """The longest title and notes fit into an address that browsers and mail programs take."""
    made = links(a_session(title=long, preparation_notes=long, location=long))
    assert max(len(made.google_url), len(made.outlook_url)) < 16_000


def test_typed_text_stays_text() -> None:
    """Line breaks, separators and markup in every field end up in that field, or nowhere."""
    session = a_session(
        title=HOSTILE, location=HOSTILE, speaker_name=HOSTILE, preparation_notes=HOSTILE,
        join_url="javascript:alert(1)",
    )  # fmt: skip
    content = file(session)
    assert all(len(line) <= 75 for line in content.split(b"\r\n"))
    entry = event(content)
    assert not entry.get("attendee")
    assert not entry.get("url")
    assert entry["summary"].startswith("Rounds ATTENDEE:mailto:eve@example.org END:VEVENT; a, ")
    assert "\u202e" not in entry["summary"]
    assert "<" not in query(links(session).google_url)["details"]
    assert "javascript:alert(1)" != query(links(session).google_url)["location"]


def test_a_link_that_shows_another_host_than_it_opens_is_none() -> None:
    """An entry links what an e-mail links; the rest is there to be read."""
    entry = event(file(a_session(join_url="https://bank.example@evil.example/x")))
    assert not entry.get("url")
    assert "https://bank.example@evil.example/x" in entry["description"]


def test_what_a_file_says() -> None:
    """Instants in UTC, the organiser, an hour if there is no end, and how often to look again."""
    content = file(a_session())
    entry = event(content)
    assert (STARTS, STARTS + timedelta(hours=1)) == (entry.start, entry.end)
    assert ("CONFIRMED", 3) == (entry["status"], entry["sequence"])
    assert "mailto:r@platform.example" == entry["organizer"]
    assert STARTS - timedelta(days=1) == entry.DTSTAMP == entry.LAST_MODIFIED
    assert b"METHOD:PUBLISH" in content
    assert b"DTSTART:20261201T150000Z" in content
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT1H" in content


@pytest.mark.parametrize("takes", [timedelta(), timedelta(hours=-1)])
def test_an_end_that_is_none(takes: timedelta) -> None:
    """A platform may show an end that is not after the start: the entry takes an hour all the same."""
    session = a_session(ends_at=STARTS + takes)
    entry = event(file(session))
    assert (STARTS, STARTS + timedelta(hours=1)) == (entry.start, entry.end)
    assert "20261201T150000Z/20261201T160000Z" == query(links(session).google_url)["dates"]


@pytest.mark.parametrize(
    ("session_status", "enrollment_status", "expected"),
    [
        ("scheduled", "confirmed", "CONFIRMED"),
        ("scheduled", "pending", "TENTATIVE"),
        ("scheduled", "cancelled", "CANCELLED"),
        ("scheduled", None, "CANCELLED"),
        ("cancelled", "confirmed", "CANCELLED"),
    ],
)
def test_the_status(session_status: str, enrollment_status: str | None, expected: str) -> None:
    """It takes place for this person, may do, or does not."""
    entry = an_entry(
        replace(a_session(), status=SessionStatus(session_status)),
        enrollment_status=EnrollmentStatus(enrollment_status) if enrollment_status else None,
    )
    content = calendar_file(entry, organizer=None)
    assert expected == event(content)["status"]
    method = icalendar.Calendar.from_ical(content)["method"]
    assert method == ("CANCEL" if expected == "CANCELLED" else "PUBLISH")
    assert media_type(entry) == f"text/calendar; charset=utf-8; method={method}"
