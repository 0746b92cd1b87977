"""Every phrase of the e-mails, and the rules that keep them true.

English. A translation replaces this module's phrases and nothing else: whatever is said about time
is computed here from the *real* time left when the e-mail is rendered, never from the rule that
triggered it, so an e-mail that goes out late still tells the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

LANGUAGE = "en"
DIRECTION = "ltr"

NOW_WITHIN = timedelta(minutes=45)
SOON_WITHIN = timedelta(hours=3)

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_WEEKDAY_SUFFICES = timedelta(days=6)
"""A weekday names one day only, this far ahead."""
_DAY_MINUTES = 24 * 60
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


class Urgency(StrEnum):
    """How near the session is."""

    CALM = "calm"
    """More than three hours away."""
    SOON = "soon"
    """Within three hours."""
    NOW = "now"
    """Within 45 minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """How an e-mail of one urgency speaks."""

    header: str
    subject: str
    """Opens a subject that we write ourselves."""
    verb: str
    advice: str
    advice_with_link: str
    call_to_action: str
    """On the button that leads to the session."""


TONES = {
    Urgency.CALM: Tone(
        header="Coming up",
        subject="Reminder",
        verb="starts",
        advice="We look forward to seeing you.",
        advice_with_link="Keep this e-mail: the link below takes you there.",
        call_to_action="Open the session link",
    ),
    Urgency.SOON: Tone(
        header="Starting soon",
        subject="Starting Soon",
        verb="starts",
        advice="Now is a good moment to get ready.",
        advice_with_link="Now is a good moment to try the link and your sound.",
        call_to_action="Get ready to join",
    ),
    Urgency.NOW: Tone(
        header="Starting now",
        subject="Starting Now",
        verb="begins",
        advice="See you there.",
        advice_with_link="Join with the link below.",
        call_to_action="Join the session",
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Fixed texts around the facts of a session."""

    when: str = "When"
    speaker: str = "Speaker"
    location: str = "Location"
    join: str = "Join"
    preparation: str = "How to prepare"
    link_in_full: str = "Or copy this link into your browser:"
    why: str = "You receive this e-mail because you are enrolled in this session."


LABELS = Labels()
UNTITLED = "Your session"
"""For a session whose title is empty."""


def urgency_of(left: timedelta) -> Urgency:
    """How urgent a session is that starts in `left`."""
    if left <= NOW_WITHIN:
        return Urgency.NOW
    return Urgency.SOON if left <= SOON_WITHIN else Urgency.CALM


def greeting(name: str | None) -> str:
    """The opening line; the name in full, for which part of it is the first differs by culture."""
    return f"Hello {name}," if name else "Hello,"


def announcement(tone: Tone, phrase: str) -> str:
    """The message itself: `Your session starts in 2 hours.`."""
    return f"Your session {tone.verb} {phrase}."


def days_ahead(starts_at: datetime, *, now: datetime, zone: tzinfo) -> int:
    """How many midnights of `zone` lie between now and the start: 0 is today, 1 tomorrow."""
    return (starts_at.astimezone(zone).date() - now.astimezone(zone).date()).days


def time_left(starts_at: datetime, *, now: datetime, zone: tzinfo) -> str:
    """`in 30 minutes`, `in 1 hour 5 minutes`, `tomorrow at 15:00`, `in 3 days`, ...

    Rounded to the minute within a day and to the hour beyond. "Tomorrow" is said only when it is
    tomorrow on the calendar of `zone`, and not within the last three hours, where "in 2 hours" is
    plainer even across midnight. Between one and two days that are not tomorrow it counts hours:
    "in 1 day" would be read as tomorrow.

    Args:
        starts_at: Start of the session; aware.
        now: The instant of rendering; aware, not after the start.
        zone: The attendee's.

    Raises:
        ValueError: If the session has begun: nothing true can be promised.
    """
    # In UTC first: two instants of the same zone object are subtracted by their wall clocks.
    left = starts_at.astimezone(UTC) - now.astimezone(UTC)
    if left < timedelta():
        raise ValueError("the session has begun")
    if left == timedelta():
        return "now"
    if left < _MINUTE:
        return "in less than a minute"
    days = days_ahead(starts_at, now=now, zone=zone)
    if days == 1 and urgency_of(left) is Urgency.CALM:
        return f"tomorrow at {clock_time(starts_at.astimezone(zone))}"
    minutes = _rounded(left, _MINUTE)
    if minutes < _DAY_MINUTES or days == 0:
        hours, minutes = divmod(minutes, 60)
        return _in(_count(hours, "hour"), _count(minutes, "minute"))
    days, hours = divmod(_rounded(left, _HOUR), 24)
    if days == 1:
        return _in(_count(24 + hours, "hour"))
    return _in(_count(days, "day"), _count(hours, "hour"))


def date(at: datetime) -> str:
    """`Tuesday, 1 December 2026`: no reader can take the day for the month."""
    return f"{weekday(at)}, {at.day} {month(at)} {at.year}"


def weekday(at: datetime) -> str:
    """`Tuesday`; not from the C locale, which belongs to the machine."""
    return _WEEKDAYS[at.weekday()]


def month(at: datetime) -> str:
    """`December`."""
    return _MONTHS[at.month - 1]


def short_weekday(at: datetime) -> str:
    """`Tue`."""
    return weekday(at)[:3]


def short_month(at: datetime) -> str:
    """`Dec`."""
    return month(at)[:3]


def clock_time(at: datetime) -> str:
    """`15:00`."""
    return f"{at.hour:02}:{at.minute:02}"


def span(starts: datetime, ends: datetime | None) -> str:
    """`15:00-16:30` with an en dash; with the weekday of an end on another day, or its date.

    Args:
        starts: In the zone of the reader.
        ends: In the same zone; ignored unless it is later.
    """
    if ends is None or ends <= starts:
        return clock_time(starts)
    if ends.date() == starts.date():
        return f"{clock_time(starts)}\N{EN DASH}{clock_time(ends)}"
    last_day = weekday(ends) if ends - starts < _WEEKDAY_SUFFICES else date(ends)
    return f"{clock_time(starts)} \N{EN DASH} {last_day}, {clock_time(ends)}"


def zone_name(at: datetime) -> str:
    """`Lisbon time (UTC+1)`: a name people know, and the offset that makes it unambiguous.

    Abbreviations are avoided: `IST` is a time in India, in Israel and in Ireland.
    """
    offset = at.utcoffset() or timedelta()
    minutes = round(offset / _MINUTE)
    hours, rest = divmod(abs(minutes), 60)
    utc = f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
    key = at.tzinfo.key if isinstance(at.tzinfo, ZoneInfo) else "UTC"
    area, _, place = key.rpartition("/")
    if place in ("UTC", "UCT", "Universal", "Zulu"):
        return "UTC"
    if area == "Etc":
        return utc  # the signs of `Etc/GMT+5` mean the opposite of what they say
    if not area:
        return f"{place} ({utc})"
    return f"{place.replace('_', ' ')} time ({utc})"


def _rounded(left: timedelta, unit: timedelta) -> int:
    """How many units, halves upwards: a mail rendered a second late still says "30 minutes"."""
    return (left + unit / 2) // unit


def _count(number: int, noun: str) -> str:
    """`1 hour`, `2 hours`, or nothing for none."""
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _in(*parts: str) -> str:
    """The parts that say something, after "in"."""
    return " ".join(("in", *filter(None, parts)))
