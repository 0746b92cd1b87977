"""Every phrase of the e-mails in one language, and the rules that keep them true.

Whatever is said about time is computed here from the *real* time left when the e-mail is rendered,
never from the rule that triggered it, so an e-mail that goes out late still tells the truth. The
English texts are the message ids of the catalogues in `locale/`; see `catalogue.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from gettext import NullTranslations

from babel import Locale

from reminders.mail.locales import Formats, offset
from reminders.mail.notice_wording import news_tones

NOW_WITHIN = timedelta(minutes=10)
SOON_WITHIN = timedelta(hours=3)

PUNCTUAL = timedelta(minutes=5)
"""How far the time left may be from what is said of it before that is doubted."""
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY_MINUTES = 24 * 60


class Urgency(StrEnum):
    """How near the session is."""

    CALM = "calm"
    """More than three hours away."""
    SOON = "soon"
    """Within three hours."""
    NOW = "now"
    """Within ten minutes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """How an e-mail of one urgency speaks."""

    header: str
    subject: str
    """A subject that we write ourselves, with `{title}` and `{time_left}`."""
    announcement: str
    """The message itself, with `{time_left}`."""
    advice: str
    advice_with_link: str
    call_to_action: str
    """On the button that leads to the session."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Fixed texts around the facts of a session."""

    colon: str
    """Between a label and its value, with the space that French has before it."""
    when: str
    not_held: str
    """Instead of `when`, above the time at which a cancelled session does not take place."""
    moved: str
    """Joins the header of a session that was moved."""
    moved_from: str
    speaker: str
    location: str
    join: str
    preparation: str
    link_in_full: str
    calendar: str
    calendar_update: str
    google: str
    outlook: str
    outlook_work: str
    calendar_file: str
    subscribe: str
    why: str
    stop: str
    stop_withheld: str
    """In place of the stop link, in a copy that does not go to the attendee."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Appointment:
    """When it is, in one zone."""

    date: str
    """With a capital letter, for it begins a line; French and Spanish have none within a sentence."""
    hours: str
    zone: str
    start_date: str
    """The day, as within a sentence."""
    start_time: str
    """Without the end."""
    weekday: str
    day: str
    month: str
    """Short, as on a calendar's leaf."""


def urgency_of(left: timedelta) -> Urgency:
    """How urgent a session is that starts in `left`."""
    if left <= NOW_WITHIN:
        return Urgency.NOW
    return Urgency.SOON if left <= SOON_WITHIN else Urgency.CALM


def days_ahead(starts_at: datetime, *, now: datetime, zone: tzinfo) -> int:
    """How many midnights of `zone` lie between now and the start: 0 is today, 1 tomorrow."""
    return (starts_at.astimezone(zone).date() - now.astimezone(zone).date()).days


def true_until(starts_at: datetime, *, now: datetime, zone: tzinfo) -> datetime:
    """Until when people take the words of `Wording.time_left` for true that are said at `now`.

    "Tomorrow at 15:00" is, until midnight. "In 30 minutes" is counted by the reader: it may be off
    by half a minute or a sixth, and by no more than five minutes; of days, by an hour.

    Args:
        starts_at: Start of the session; aware, not before `now`.
        now: The instant of rendering; aware.
        zone: The attendee's.
    """
    left = starts_at.astimezone(UTC) - now.astimezone(UTC)
    days = days_ahead(starts_at, now=now, zone=zone)
    if days == 1 and urgency_of(left) is Urgency.CALM:
        return midnight_after(now, zone=zone)
    is_counted_in_minutes = _rounded(left, _MINUTE) < _DAY_MINUTES or days == 0
    return now + min(max(left / 6, _MINUTE / 2), PUNCTUAL if is_counted_in_minutes else _HOUR)


def midnight_after(now: datetime, *, zone: tzinfo) -> datetime:
    """When "today" and "tomorrow" of now are over in a zone; in UTC."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time.min, tzinfo=zone).astimezone(UTC)


class Wording:
    """The phrases of one locale; built once for each."""

    def __init__(self, locale: Locale, words: NullTranslations, *, product: str = "") -> None:
        """Look up what is the same in every e-mail.

        Args:
            locale: Writes dates and clock times, and says which way the text runs.
            words: The catalogue of its language.
            product: Who writes, for the sentence that says why; empty if it has no name.
        """
        self._words = words
        self.formats = Formats(locale)
        self.language = str(locale).replace("_", "-")
        self.direction = locale.text_direction
        self.tones = _tones(words)
        self.moved_tone = _moved_tone(words)
        self.news = news_tones(words)
        self.labels = _labels(words, product)
        self.untitled = words.gettext("Your session")

    def translated_subject(self, template: str) -> str:
        """A rule's subject in this language, if the catalogue has it; else as it was written."""
        return self._words.gettext(template) if template else template

    def greeting(self, name: str) -> str:
        """The opening line; the name in full, for which part of it is the first differs by culture."""
        if name:
            return self._words.gettext("Hello {name},").format(name=name)
        return self._words.gettext("Hello,")

    def time_left(self, starts_at: datetime, *, now: datetime, zone: tzinfo) -> str:
        """`in 30 minutes`, `in 1 hour 5 minutes`, `tomorrow at 15:00`, `in 3 days`, ...

        Rounded to the minute within a day and to the hour beyond. "Tomorrow" is said only when it
        is tomorrow on the calendar of `zone`, and not within the last three hours, where "in 2
        hours" is plainer even across midnight. Between one and two days that are not tomorrow it
        counts hours: "in 1 day" would be read as tomorrow.

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
            return self._words.gettext("now")
        if left < _MINUTE:
            return self._words.gettext("in less than a minute")
        days = days_ahead(starts_at, now=now, zone=zone)
        if days == 1 and urgency_of(left) is Urgency.CALM:
            return self._tomorrow(starts_at.astimezone(zone))
        minutes = _rounded(left, _MINUTE)
        if minutes < _DAY_MINUTES or days == 0:
            hours, minutes = divmod(minutes, 60)
            return self._in(self._hours(hours), self._minutes(minutes))
        days, hours = divmod(_rounded(left, _HOUR), 24)
        if days == 1:
            return self._in(self._hours(24 + hours))
        return self._in(self._days(days), self._hours(hours))

    def appointment(self, starts: datetime, ends: datetime | None) -> Appointment:
        """The session's time on the clocks of one zone.

        Args:
            starts: In that zone.
            ends: In the same zone; shown if it is later, with its day if that is another.
        """
        formats = self.formats
        if ends is None or ends <= starts:
            hours = self._clock_time(starts)
        elif ends.date() == starts.date():
            hours = formats.hours(starts, ends)
        else:
            end = f"{formats.day_elsewhen(starts, ends)}, {self._clock_time(ends)}"
            hours = f"{formats.clock_time(starts)} \N{EN DASH} {end}"
        date = formats.date(starts)
        return Appointment(
            date=date[:1].upper() + date[1:],
            hours=hours,
            zone=self.zone_name(starts),
            start_date=date,
            start_time=formats.clock_time(starts),
            weekday=formats.short_weekday(starts),
            day=str(starts.day),
            month=formats.short_month(starts),
        )

    def zone_name(self, at: datetime) -> str:
        """`Lisbon time (UTC+1)`: a place that people know, and the offset that leaves no doubt."""
        utc = offset(at)
        place = self.formats.place(at.tzinfo) if at.tzinfo else None
        if place is None:
            return "UTC" if utc == "UTC+0" else utc
        return self._words.gettext("{place} time ({offset})").format(place=place, offset=utc)

    def _clock_time(self, at: datetime) -> str:
        """`15:00` on its own, which is `15:00 Uhr` in German."""
        clock = self._words.pgettext("a time of day that stands alone", "{time}")
        return clock.format(time=self.formats.clock_time(at))

    def _tomorrow(self, starts: datetime) -> str:
        # Not a plural in English; Spanish has `a la 1:00` and `a las 2:00`.
        return self._words.ngettext(
            "tomorrow at {time}", "tomorrow at {time}", self.formats.hour_shown(starts)
        ).format(time=self.formats.clock_time(starts))

    def _days(self, number: int) -> str:
        return self._words.ngettext("{n} day", "{n} days", number).format(n=number)

    def _hours(self, number: int) -> str:
        text = self._words.ngettext("{n} hour", "{n} hours", number)
        return text.format(n=number) if number else ""

    def _minutes(self, number: int) -> str:
        text = self._words.ngettext("{n} minute", "{n} minutes", number)
        return text.format(n=number) if number else ""

    def _in(self, larger: str, smaller: str = "") -> str:
        """The parts that say something, after "in"."""
        if larger and smaller:
            both = self._words.gettext("in {larger} {smaller}")
            return both.format(larger=larger, smaller=smaller)
        return self._words.gettext("in {duration}").format(duration=larger or smaller)


def _rounded(left: timedelta, unit: timedelta) -> int:
    """How many units, halves upwards: a mail rendered a second late still says "30 minutes"."""
    return (left + unit / 2) // unit


def _tones(words: NullTranslations) -> Mapping[Urgency, Tone]:
    return {
        Urgency.CALM: Tone(
            header=words.gettext("Coming up"),
            subject=words.gettext("Reminder: {title} starts {time_left}"),
            announcement=words.gettext("Your session starts {time_left}."),
            advice=words.gettext("We look forward to seeing you."),
            advice_with_link=words.gettext("Keep this e-mail: the link below takes you there."),
            call_to_action=words.gettext("Open the session link"),
        ),
        Urgency.SOON: Tone(
            header=words.gettext("Starting soon"),
            subject=words.gettext("Starting Soon: {title} starts {time_left}"),
            announcement=words.gettext("Your session starts {time_left}."),
            advice=words.gettext("Now is a good moment to get ready."),
            advice_with_link=words.gettext("Now is a good moment to try the link and your sound."),
            call_to_action=words.gettext("Get ready to join"),
        ),
        Urgency.NOW: Tone(
            header=words.gettext("Starting now"),
            subject=words.gettext("Starting Now: {title} begins {time_left}"),
            announcement=words.gettext("Your session begins {time_left}."),
            advice=words.gettext("See you there."),
            advice_with_link=words.gettext("Join with the link below."),
            call_to_action=words.gettext("Join the session"),
        ),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class MovedTone:
    """What is said instead when the session was moved."""

    subject: str
    """With `{title}` and `{time_left}`."""
    announcement: str
    """With `{time_left}`."""


def _moved_tone(words: NullTranslations) -> MovedTone:
    return MovedTone(
        subject=words.gettext("New time: {title} now starts {time_left}"),
        announcement=words.gettext("Your session was moved and now starts {time_left}."),
    )


def _labels(words: NullTranslations, product: str) -> Labels:
    why = words.gettext("You receive this e-mail because you are enrolled in this session.")
    if product:
        why = words.gettext(
            "You receive this e-mail from {product} because you are enrolled in this session."
        ).format(product=product)
    return Labels(
        colon=words.gettext(":"),
        when=words.gettext("When"),
        not_held=words.gettext("Was planned for"),
        moved=words.gettext("New time"),
        moved_from=words.gettext("Moved from"),
        speaker=words.gettext("Speaker"),
        location=words.gettext("Location"),
        join=words.gettext("Join"),
        preparation=words.gettext("How to prepare"),
        link_in_full=words.gettext("Or copy this link into your browser:"),
        calendar=words.gettext("Add to calendar"),
        calendar_update=words.gettext("Update your calendar"),
        google=words.gettext("Google Calendar"),
        outlook=words.gettext("Outlook"),
        outlook_work=words.gettext("Outlook for work"),
        calendar_file=words.gettext("Calendar file"),
        subscribe=words.gettext("Subscribe"),
        why=why,
        stop=words.gettext("Stop these reminders"),
        stop_withheld=words.gettext(
            "Here the attendee finds a link that stops these reminders. A redirected copy has none."
        ),
    )
