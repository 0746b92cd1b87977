"""Turns a reminder into a subject, an HTML part and a text part.

The preview of the admin pages and the sending use this one function. Templates are compiled once,
when the renderer is built, and strict: a name that does not exist is an error, never an empty spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reminders.errors import RenderError
from reminders.mail import wording
from reminders.mail.palette import PALETTES, Palette
from reminders.mail.plain_text import one_line, paragraph, shortened
from reminders.mail.subject import filled_subject, names_another_day
from reminders.mail.zones import first_known_zone
from reminders.model import Attendee, DeliveryFacts, ReminderRule, Session

_TEMPLATES = Path(__file__).parent / "templates"
_MAIL = "session_reminder"

_TITLE = 200
_SUBJECT_TITLE = 120
"""Shorter, so that what follows the title in a subject is still seen."""
_NAME = 100
_SUBJECT = 300
_NOTES = 10_000
"""All in code points. Escaped, the longest e-mail stays below the 102 KB at which Gmail clips."""
_URL = 2_048

_PUNCTUAL = timedelta(minutes=5)
"""How far the time left may be from a rule's lead before the words of its subject are doubted."""


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """An e-mail without its envelope."""

    subject: str
    html: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Appointment:
    """When it is, in one zone."""

    date: str
    hours: str
    zone: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MailView:
    """Everything the templates show: plain text, not escaped."""

    title: str
    greeting: str
    announcement: str
    advice: str
    time_left: str
    tone: wording.Tone
    palette: Palette
    weekday: str
    day: str
    month: str
    when: Appointment
    elsewhere: Appointment | None
    """In the session's own zone, when its clocks show another time."""
    speaker: str
    location: str
    join_url: str
    """A web address; becomes a button."""
    join_note: str
    """Whatever else the platform stores for joining, shown as it is."""
    notes: tuple[str, ...]
    labels: wording.Labels = wording.LABELS
    language: str = wording.LANGUAGE
    direction: str = wording.DIRECTION


class MailRenderer:
    """Renders session reminders; stateless after it is built, safe to share."""

    def __init__(self) -> None:
        """Compile the templates."""
        loader = FileSystemLoader(_TEMPLATES)
        self._html = _environment(loader, autoescape=True).get_template(f"{_MAIL}/body.html")
        text = _environment(loader, autoescape=False)
        self._text = text.get_template(f"{_MAIL}/body.txt")
        self._subject = text.get_template(f"{_MAIL}/subject.txt")

    def render(self, facts: DeliveryFacts, *, now: datetime) -> RenderedMail:
        """The e-mail as the attendee is to read it.

        The subject is the rule's own template as long as that is true. Such templates carry fixed
        words ("in 2 hours", "tomorrow") which their author chose for the rule's lead, so the e-mail
        gets a subject of ours, which says the real time left, when

        - the time left differs from the rule's lead by more than five minutes, or
        - the template says "today" or "tomorrow" and the attendee's calendar says otherwise, or
        - it names something that this session does not have, such as a location.

        Args:
            facts: With session, attendee and rule.
            now: The instant by which the time left is judged; aware, not after the start.

        Raises:
            RenderError: If a template fails or there is nothing to render; names template and
                cause, and no data.
        """
        session, attendee, rule = facts.session, facts.attendee, facts.rule
        if session is None or attendee is None or rule is None:
            raise RenderError(f"{_MAIL}: the session, the attendee or the rule does not exist")
        part = "view"
        try:
            view = mail_view(session, attendee, now=now)
            part = "subject.txt"
            subject = self._subject_for(rule, session, attendee, view, now=now)
            part = "body.html"
            html = self._html.render(mail=view)
            part = "body.txt"
            text = self._text.render(mail=view)
        except Exception as error:  # noqa: BLE001 -- whatever it is, only this e-mail fails
            # Nothing is chained: messages and locals of the cause may quote the attendee.
            raise RenderError(f"{_MAIL}/{part}: {type(error).__name__}") from None
        return RenderedMail(subject=subject, html=html, text=text)

    def _subject_for(
        self,
        rule: ReminderRule,
        session: Session,
        attendee: Attendee,
        view: MailView,
        *,
        now: datetime,
    ) -> str:
        """The rule's subject if it is true at `now`, else ours."""
        zone = first_known_zone(attendee.time_zone, session.time_zone)
        days_ahead = wording.days_ahead(session.starts_at, now=now, zone=zone)
        left = session.starts_at.astimezone(UTC) - now.astimezone(UTC)
        title = shortened(view.title, _SUBJECT_TITLE)
        subject = None
        if abs(left - rule.lead) <= _PUNCTUAL and not names_another_day(
            rule.subject_template, days_ahead=days_ahead
        ):
            values = {
                "session_title": title,
                "speaker_name": view.speaker,
                "time_left": view.time_left,
                "start_date": view.when.date,
                "start_time": wording.clock_time(session.starts_at.astimezone(zone)),
                "time_zone": view.when.zone,
                "location": view.location,
                "attendee_name": one_line(attendee.full_name or "", _NAME),
            }
            subject = filled_subject(rule.subject_template, values)
        return one_line(subject or self._subject.render(mail=view, title=title), _SUBJECT)


def mail_view(session: Session, attendee: Attendee, *, now: datetime) -> MailView:
    """What the templates show of a session to an attendee at an instant.

    Args:
        session: Starts at or after `now`.
        attendee: Whose zone is the first of: their own, the session's, UTC.
        now: The instant by which the time left is judged; aware.
    """
    own_zone = first_known_zone(attendee.time_zone, session.time_zone)
    starts = session.starts_at.astimezone(own_zone)
    at_home = session.starts_at.astimezone(first_known_zone(session.time_zone))
    left = session.starts_at.astimezone(UTC) - now.astimezone(UTC)
    urgency = wording.urgency_of(left)
    tone = wording.TONES[urgency]
    phrase = wording.time_left(session.starts_at, now=now, zone=own_zone)
    join_url, join_note = _ways_to_join(session.join_url)
    return MailView(
        title=one_line(session.title, _TITLE) or wording.UNTITLED,
        greeting=wording.greeting(one_line(attendee.full_name or "", _NAME)),
        announcement=wording.announcement(tone, phrase),
        advice=tone.advice_with_link if join_url else tone.advice,
        time_left=phrase,
        tone=tone,
        palette=PALETTES[urgency],
        weekday=wording.short_weekday(starts),
        day=str(starts.day),
        month=wording.short_month(starts),
        when=_appointment(starts, session.ends_at),
        elsewhere=(
            _appointment(at_home, session.ends_at)
            if at_home.utcoffset() != starts.utcoffset()
            else None
        ),
        speaker=one_line(session.speaker_name or "", _TITLE),
        location=one_line(session.location or "", _TITLE),
        join_url=join_url,
        join_note=join_note,
        notes=paragraph(session.preparation_notes or "", _NOTES),
    )


def _appointment(starts: datetime, ends_at: datetime | None) -> Appointment:
    """The session's time on the clocks of one zone, which is that of `starts`."""
    ends = ends_at.astimezone(starts.tzinfo) if ends_at else None
    return Appointment(
        date=wording.date(starts), hours=wording.span(starts, ends), zone=wording.zone_name(starts)
    )


def _ways_to_join(stored: str | None) -> tuple[str, str]:
    """The stored link as a web address for the button, or else as a note; one of them is empty.

    Only http and https become a link: a mail program would run or open anything else it knows.
    """
    text = (stored or "").strip()
    try:
        parts = urlsplit(text)
        is_link = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # a malformed IPv6 host
        is_link = False
    if is_link and len(text) <= _URL and text == one_line(text, _URL) and " " not in text:
        return text, ""
    return "", one_line(text, _TITLE)


def _environment(loader: FileSystemLoader, *, autoescape: bool) -> Environment:
    """A strict Jinja environment that never looks at the disk again once a template is compiled."""
    return Environment(
        loader=loader,
        autoescape=autoescape,  # noqa: S701 -- the text part and the subject are no markup
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
