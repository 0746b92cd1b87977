"""What the templates show of a reminder or a notice: plain text, computed once, in the attendee's terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from reminders.domain.model import Attendee, Session
from reminders.mail import markup, wording
from reminders.mail.branding import Branding
from reminders.mail.links import AttendeeLinks
from reminders.mail.locales import first_known_zone
from reminders.mail.markup import Piece, added_by, is_web_address, pieces
from reminders.mail.notice_wording import News
from reminders.mail.plain_text import one_line, paragraph, shortened
from reminders.mail.wording import Appointment, Labels, Tone, Urgency, Wording

TITLE = 200
SUBJECT_TITLE = 120
"""Shorter, so that what follows the title in a subject is still seen."""
NAME = 100
NOTES = 10_000
"""All in code points."""
NOTES_BYTES = 30_000
"""Of the notes when escaped. With the links, the longest e-mail of all stays below the 102 KB at
which Gmail clips."""
MARKUP = 100_000
"""Code points of notes that are HTML; what an editor has written is mostly tags."""
LINKS_BYTES = 7_500
"""That links may add to the notes; further ones stay text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MailView:
    """Everything the templates may show: plain text, not escaped, but for `notes_html`."""

    subject: str
    """One of ours, true at the instant of rendering."""
    title: str
    attendee_name: str
    """Empty if it is not known."""
    greeting: str
    header: str
    announcement: str
    advice: str
    time_left: str
    start_date: str
    """The day of the start, as within a sentence."""
    start_time: str
    """The start on the attendee's clock, without the end."""
    urgency: Urgency
    tone: Tone
    weekday: str
    day: str
    month: str
    when: Appointment
    elsewhere: Appointment | None
    """In the session's own zone, when its clocks show another time."""
    moved_from: Appointment | None
    """When an earlier e-mail said it would start, if that is not so any more."""
    moved_from_elsewhere: Appointment | None = None
    """The same in the session's own zone, where a notice tells of it and the clocks differ."""
    is_struck: bool = False
    """Whether what is shown does not take place."""
    is_after_all: bool = False
    """Whether the e-mail before said that it does not."""
    join_url: str
    """A web address; becomes a button."""
    call_to_action: str
    """On that button."""
    join_note: str
    """Whatever else the platform stores for joining, shown as it is."""
    speaker: str
    location: str
    details: tuple[tuple[str, str], ...]
    """Label and value of whatever else there is to know."""
    notes: tuple[tuple[Piece, ...], ...]
    """Lines, cut into text and links."""
    notes_html: Markup | None
    """The notes as they were formatted, made safe; absent if they are text, or too long."""
    calendar_label: str
    calendars: tuple[tuple[str, str], ...]
    """Name and URL of every way into a calendar."""
    stop_url: str
    is_stop_withheld: bool
    """Whether a stop link exists and this copy must not have it."""
    brand: Branding
    labels: Labels
    language: str
    direction: str


def mail_view(
    session: Session,
    attendee: Attendee,
    *,
    now: datetime,
    moved_from: datetime | None,
    words: Wording,
    brand: Branding,
    links: AttendeeLinks | None,
    is_for_attendee: bool,
) -> MailView:
    """What the templates show of a session to an attendee at an instant.

    Args:
        session: Starts at or after `now`.
        attendee: Whose zone is the first of: their own, the session's, UTC.
        now: The instant by which the time left is judged; aware.
        moved_from: The start that an earlier e-mail named; aware.
        words: In the attendee's language.
        brand: Whose e-mail it is.
        links: Absent where there is no public address to lead to.
        is_for_attendee: Whether nobody else gets it, who would stop the attendee's reminders.

    Raises:
        ValueError: If the session has begun.
    """
    own_zone = first_known_zone(attendee.time_zone, session.time_zone)
    home_zone = first_known_zone(session.time_zone)
    starts = session.starts_at.astimezone(own_zone)
    at_home = session.starts_at.astimezone(home_zone)
    left = session.starts_at.astimezone(UTC) - now.astimezone(UTC)
    urgency = wording.urgency_of(left)
    tone = words.tones[urgency]
    phrase = words.time_left(session.starts_at, now=now, zone=own_zone)
    # Aware instants of different zones are compared as instants.
    is_moved = moved_from is not None and moved_from != session.starts_at
    told = words.moved_tone if is_moved else tone
    title = one_line(session.title, TITLE) or words.untitled
    join_url, join_note = _ways_to_join(session.join_url)
    name = one_line(attendee.full_name or "", NAME)
    speaker = one_line(session.speaker_name or "", TITLE)
    location = one_line(session.location or "", TITLE)
    when = appointment(words, session.starts_at, session.ends_at, own_zone)
    labels = words.labels
    rows = ((labels.speaker, speaker), (labels.location, location), (labels.join, join_note))
    return MailView(
        subject=told.subject.format(title=shortened(title, SUBJECT_TITLE), time_left=phrase),
        title=title,
        attendee_name=name,
        greeting=words.greeting(name),
        header=f"{tone.header} \N{MIDDLE DOT} {labels.moved}" if is_moved else tone.header,
        announcement=_one_full_stop(told.announcement.format(time_left=phrase)),
        advice=tone.advice_with_link if join_url else tone.advice,
        time_left=phrase,
        start_date=when.start_date,
        start_time=when.start_time,
        urgency=urgency,
        tone=tone,
        weekday=when.weekday,
        day=when.day,
        month=when.month,
        when=when,
        elsewhere=(
            appointment(words, session.starts_at, session.ends_at, home_zone)
            if at_home.utcoffset() != starts.utcoffset()
            else None
        ),
        moved_from=(
            appointment(words, moved_from, None, own_zone) if moved_from and is_moved else None
        ),
        join_url=join_url,
        call_to_action=tone.call_to_action,
        join_note=join_note,
        speaker=speaker,
        location=location,
        details=tuple((label, value) for label, value in rows if value),
        notes=_notes(session.preparation_notes or ""),
        notes_html=_notes_html(session.preparation_notes or ""),
        calendar_label=labels.calendar,
        calendars=(
            (
                (labels.google, links.google_url),
                (labels.outlook, links.outlook_url),
                (labels.outlook_work, links.outlook_work_url),
                (labels.calendar_file, links.ics_url),
                (labels.subscribe, links.webcal_url),
            )
            if links
            else ()
        ),
        stop_url=links.stop_url if links and is_for_attendee else "",
        is_stop_withheld=links is not None and not is_for_attendee,
        brand=brand,
        labels=labels,
        language=words.language,
        direction=words.direction,
    )


def _one_full_stop(sentence: str) -> str:
    """The sentence, whose last word may be an abbreviation such as `a.m.`."""
    return sentence[:-1] if sentence.endswith("..") else sentence


def appointment(
    words: Wording, starts_at: datetime, ends_at: datetime | None, zone: ZoneInfo
) -> Appointment:
    """The session's time on the clocks of one zone."""
    return _remembered(
        words, starts_at.astimezone(UTC), ends_at.astimezone(UTC) if ends_at else None, zone
    )


@lru_cache(maxsize=4096)  # the attendees of a session share a handful
def _remembered(
    words: Wording, starts_at: datetime, ends_at: datetime | None, zone: ZoneInfo
) -> Appointment:
    return words.appointment(
        starts_at.astimezone(zone), ends_at.astimezone(zone) if ends_at else None
    )


@lru_cache(maxsize=128)  # those of a session are the same for everybody
def _notes(text: str) -> tuple[tuple[Piece, ...], ...]:
    if markup.is_markup(text):
        text = markup.plain(shortened(text, MARKUP))
    lines = []
    room = LINKS_BYTES
    for line in paragraph(_fitting(text), NOTES):
        cut = pieces(line, room=room)
        room -= sum(added_by(piece.url) for piece in cut if piece.url)
        lines.append(cut)
    return tuple(lines)


@lru_cache(maxsize=128)
def _notes_html(text: str) -> Markup | None:
    if not markup.is_markup(text) or len(text) > MARKUP:
        return None
    cleaned = markup.safe(text)
    return cleaned if len(cleaned.encode(errors="replace")) <= NOTES_BYTES else None


def _fitting(text: str) -> str:
    """As much of the text as fits into its share of the e-mail once it is escaped."""
    text = shortened(text.strip(), NOTES)
    while (size := len(escape(text).encode(errors="replace"))) > NOTES_BYTES:
        text = shortened(text, min(len(text) - 1, len(text) * NOTES_BYTES // size))
    return text


def _ways_to_join(stored: str | None) -> tuple[str, str]:
    """The stored link as a web address for the button, or else as a note; one of them is empty."""
    text = (stored or "").strip()
    return (text, "") if is_web_address(text) else ("", one_line(text, TITLE))


@dataclass(frozen=True, kw_only=True, slots=True)
class NoticeView(MailView):
    """Everything the templates of a notice may show: plain text, not escaped."""

    news: News


def after_all(view: MailView, words: Wording) -> MailView:
    """A reminder of a session of which the e-mail before said that it was cancelled: it says so first."""
    tone = words.news[News.AFTER_ALL]
    return replace(
        view,
        is_after_all=True,
        subject=tone.subject.format(
            title=shortened(view.title, SUBJECT_TITLE), date=view.start_date, time=view.start_time
        ),
        announcement=f"{tone.announcement} {view.announcement}",
    )


def notice_view(
    view: MailView,
    news: News,
    *,
    session: Session,
    attendee: Attendee,
    moved_from: datetime | None,
    words: Wording,
    links: AttendeeLinks | None,
) -> NoticeView:
    """What a notice shows.

    Args:
        view: What a reminder of the session would show at this instant.
        news: What it tells.
        session: Of the notice.
        attendee: Who reads it.
        moved_from: The start that they knew until now, if it is another one; aware.
        words: In the attendee's language.
        links: Absent where there is no public address.
    """
    tone, labels = words.news[news], words.labels
    own, home = (
        first_known_zone(attendee.time_zone, session.time_zone),
        first_known_zone(session.time_zone),
    )
    is_cancelled = news is News.CANCELLED
    if is_cancelled and moved_from is not None:
        # It was moved, and cancelled before anybody was told: they know the time of before.
        session = replace(session, starts_at=moved_from, ends_at=None)
    starts = session.starts_at.astimezone(own)
    differs = session.starts_at.astimezone(home).utcoffset() != starts.utcoffset()
    when = appointment(words, session.starts_at, session.ends_at, own)
    before = None if is_cancelled or news is News.CONFIRMED else view.moved_from
    was_elsewhere = (
        before is not None
        and moved_from is not None
        and (moved_from.astimezone(home).utcoffset() != moved_from.astimezone(own).utcoffset())
    )
    replaces = news is not News.CONFIRMED
    # Who has the entry needs it changed, not once more; that is what the file does.
    calendars = ((labels.calendar_file, links.ics_url),) if links and replaces else view.calendars
    fields = {name: getattr(view, name) for name in MailView.__slots__}
    fields |= {
        "subject": tone.subject.format(
            title=shortened(view.title, SUBJECT_TITLE),
            date=when.start_date,
            time=when.start_time,
        ),
        "header": tone.header,
        "announcement": tone.announcement,
        "advice": tone.advice,
        "start_date": when.start_date,
        "start_time": when.start_time,
        "weekday": when.weekday,
        "day": when.day,
        "month": when.month,
        "when": when,
        "elsewhere": (
            appointment(words, session.starts_at, session.ends_at, home) if differs else None
        ),
        "moved_from": (
            appointment(words, moved_from, None, own) if before and moved_from else None
        ),
        "join_url": "" if is_cancelled else view.join_url,
        "details": tuple(
            row for row in view.details if not (is_cancelled and row[0] == labels.join)
        ),
        "notes": view.notes if news is News.CONFIRMED else (),
        "notes_html": view.notes_html if news is News.CONFIRMED else None,
        "calendars": calendars,
        "calendar_label": labels.calendar_update if replaces else labels.calendar,
        "is_struck": is_cancelled,
        "moved_from_elsewhere": (
            appointment(words, moved_from, None, home) if was_elsewhere and moved_from else None
        ),
        "call_to_action": words.tones[Urgency.CALM].call_to_action,
    }
    return NoticeView(**fields, news=news)
