"""What the e-mails say about time is true, everywhere on Earth and on the odd days of the year."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from reminders.mail import wording
from reminders.mail.catalogue import translations
from reminders.mail.locales import first_known_zone
from reminders.mail.wording import Urgency, Wording, urgency_of
from tests.reminders.mail.cases import short_id

CATALOGUES = translations()


def wording_in(locale: str) -> Wording:
    """The phrases of a locale."""
    found = Locale.parse(locale)
    return Wording(found, CATALOGUES[found.language])


BRITISH = wording_in("en_GB")
time_left = BRITISH.time_left
zone_name = BRITISH.zone_name

LISBON = ZoneInfo("Europe/Lisbon")
NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2026, 12, 1, 15, tzinfo=UTC)

ZONES = [ZoneInfo(name) for name in sorted(available_timezones()) if "/" in name]
INSTANTS = st.integers(0, 10 * 366 * 86_400 * 1_000).map(
    lambda milliseconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)
LEADS = st.timedeltas(timedelta(microseconds=1), timedelta(days=40))


@pytest.mark.parametrize(
    ("left", "phrase"),
    [
        (timedelta(), "now"),
        (timedelta(microseconds=1), "in less than a minute"),
        (timedelta(seconds=59.9), "in less than a minute"),
        (timedelta(minutes=1), "in 1 minute"),
        (timedelta(minutes=30), "in 30 minutes"),
        (timedelta(minutes=29, seconds=58), "in 30 minutes"),
        (timedelta(minutes=59, seconds=40), "in 1 hour"),
        (timedelta(hours=1, minutes=5), "in 1 hour 5 minutes"),
        (timedelta(hours=2), "in 2 hours"),
        (timedelta(hours=2, minutes=1), "in 2 hours 1 minute"),
        (timedelta(hours=12), "in 12 hours"),
        (timedelta(hours=15, seconds=1), "tomorrow at 15:00"),
        (timedelta(hours=24), "tomorrow at 15:00"),
        (timedelta(hours=39), "tomorrow at 15:00"),
        (timedelta(hours=39, minutes=20), "in 39 hours"),
        (timedelta(hours=47, minutes=40), "in 2 days"),
        (timedelta(days=2, hours=23), "in 2 days 23 hours"),
        (timedelta(days=3), "in 3 days"),
        (timedelta(days=21, hours=1), "in 21 days 1 hour"),
    ],
)
def test_the_time_left_is_said_as_people_say_it(left: timedelta, phrase: str) -> None:
    """Each distance has its plain phrase, at 15:00 in Lisbon."""
    assert time_left(START, now=START - left, zone=LISBON) == phrase


def test_two_hours_across_midnight_are_two_hours() -> None:
    """Within three hours, midnight makes no "tomorrow"."""
    starts_at = datetime(2026, 12, 2, 1, tzinfo=UTC)
    assert time_left(starts_at, now=starts_at - timedelta(hours=2), zone=LISBON) == "in 2 hours"
    later = starts_at - timedelta(hours=3, minutes=1)
    assert time_left(starts_at, now=later, zone=LISBON) == "tomorrow at 01:00"


@pytest.mark.parametrize(
    ("left", "lasts"),
    [
        (timedelta(hours=2), timedelta(minutes=5)),
        (timedelta(minutes=30), timedelta(minutes=5)),
        (timedelta(minutes=12), timedelta(minutes=2)),
        (timedelta(minutes=3), timedelta(seconds=30)),
        (timedelta(days=5), timedelta(hours=1)),
        # At 09:00, "tomorrow at 09:00" holds until midnight.
        (timedelta(hours=24), timedelta(hours=15)),
    ],
)
def test_the_time_left_holds_for_a_while(left: timedelta, lasts: timedelta) -> None:
    """The nearer the start, the shorter: "in 3 minutes" is wrong when 39 seconds are left."""
    now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert now + lasts == wording.true_until(now + left, now=now, zone=UTC)


def test_tomorrow_ends_at_the_reader_s_midnight() -> None:
    """In the attendee's zone, also where the clocks change that night."""
    zone = ZoneInfo("Europe/Lisbon")
    now = datetime(2026, 10, 24, 20, 0, tzinfo=zone)
    starts = datetime(2026, 10, 25, 15, 0, tzinfo=zone)
    midnight = datetime(2026, 10, 24, 23, 0, tzinfo=UTC)
    assert midnight == wording.true_until(starts, now=now, zone=zone)


def test_a_session_that_has_begun_has_no_time_left() -> None:
    """Nothing is promised about the past."""
    with pytest.raises(ValueError, match="begun"):
        time_left(START, now=START + timedelta(microseconds=1), zone=LISBON)


@given(now=INSTANTS, left=LEADS, zone=st.sampled_from(ZONES))
def test_the_phrase_reads_back_as_the_time_left(
    now: datetime, left: timedelta, zone: ZoneInfo
) -> None:
    """What is said is what is left: to the minute within a day, to the hour beyond."""
    phrase = time_left(now + left, now=now, zone=zone)
    local_now, local_start = now.astimezone(zone), (now + left).astimezone(zone)
    if tomorrow := re.fullmatch(r"tomorrow at (\d\d):(\d\d)", phrase):
        assert local_start.date() - local_now.date() == timedelta(days=1)
        assert (local_start.hour, local_start.minute) == tuple(map(int, tomorrow.groups()))
        return
    said = _read(phrase)
    is_exact = left < timedelta(hours=23, minutes=59) or local_now.date() == local_start.date()
    tolerance = timedelta(minutes=1) if is_exact else timedelta(minutes=30)
    assert abs(said - left) <= tolerance


def _read(phrase: str) -> timedelta:
    """The time that a reader understands."""
    if phrase == "in less than a minute":
        return timedelta(seconds=30)
    found = re.findall(r"(\d+) (day|hour|minute)(s?)", phrase)
    assert "in " + " ".join(f"{n} {unit}{s}" for n, unit, s in found) == phrase
    assert all((n == "1") == (s == "") for n, _, s in found)
    return sum((timedelta(**{f"{unit}s": int(n)}) for n, unit, _ in found), timedelta())


def test_a_day_before_is_tomorrow_in_every_zone() -> None:
    """An e-mail sent exactly 24 hours before says "tomorrow", wherever it is read."""
    day_before = START - timedelta(hours=24)
    for zone in ZONES:
        assert wording.days_ahead(START, now=day_before, zone=zone) == 1, zone
        assert time_left(START, now=day_before, zone=zone).startswith("tomorrow at "), zone


def test_a_day_of_25_hours_may_keep_tomorrow_to_itself() -> None:
    """24 hours before 23:30 on the day the clocks go back is 00:30 of the same day."""
    starts_at = datetime(2026, 11, 1, 23, 30, tzinfo=NEW_YORK)
    now = starts_at.astimezone(UTC) - timedelta(hours=24)
    assert now.astimezone(NEW_YORK).day == 1
    assert time_left(starts_at, now=now, zone=NEW_YORK) == "in 24 hours"


@pytest.mark.parametrize(
    ("now", "starts_at", "phrase"),
    [
        # 02:00 does not exist: between 01:30 and 03:30 lies one hour.
        ((3, 8, 1, 30), (3, 8, 3, 30), "in 1 hour"),
        # 01:30 exists twice: between 00:30 and 02:30 lie three hours.
        ((11, 1, 0, 30), (11, 1, 2, 30), "in 3 hours"),
    ],
)
def test_clock_changes_do_not_change_elapsed_time(
    now: tuple[int, int, int, int], starts_at: tuple[int, int, int, int], phrase: str
) -> None:
    """The time left is counted in hours that pass, not in hours on the clock's face."""
    local_now, local_start = (datetime(2026, *at, tzinfo=NEW_YORK) for at in (now, starts_at))
    assert time_left(local_start, now=local_now, zone=NEW_YORK) == phrase


def test_the_hour_that_happens_twice_is_an_hour() -> None:
    """From the first 01:30 to the second it takes 60 minutes."""
    first = datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK)
    assert time_left(first.replace(fold=1), now=first, zone=NEW_YORK) == "in 1 hour"


@pytest.mark.parametrize(
    ("zone", "days", "date"),
    [
        ("Pacific/Kiritimati", 1, "Wednesday, 2 December 2026"),
        ("Pacific/Pago_Pago", 1, "Tuesday, 1 December 2026"),
        ("UTC", 0, "Tuesday, 1 December 2026"),
    ],
)
def test_the_date_line_decides_what_is_tomorrow(zone: str, days: int, date: str) -> None:
    """The same instant has one date here and another there, and so has "tomorrow"."""
    starts_at, now = datetime(2026, 12, 1, 21, tzinfo=UTC), datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert wording.days_ahead(starts_at, now=now, zone=ZoneInfo(zone)) == days
    assert BRITISH.formats.date(starts_at.astimezone(ZoneInfo(zone))) == date


def test_a_day_that_a_country_skips_is_not_counted_as_time() -> None:
    """Samoa left out 30 December 2011: the 31st was two dates but twelve hours away."""
    apia = ZoneInfo("Pacific/Apia")
    starts_at = datetime(2011, 12, 31, 6, tzinfo=apia)
    now = starts_at.astimezone(UTC) - timedelta(hours=12)
    assert now.astimezone(apia).day == 29
    assert time_left(starts_at, now=now, zone=apia) == "in 12 hours"


@pytest.mark.parametrize(
    ("left", "urgency"),
    [
        (timedelta(hours=3, microseconds=1), Urgency.CALM),
        (timedelta(hours=3), Urgency.SOON),
        (timedelta(minutes=10, microseconds=1), Urgency.SOON),
        (timedelta(minutes=10), Urgency.NOW),
        (timedelta(), Urgency.NOW),
    ],
)
def test_urgency_goes_by_the_real_time_left(left: timedelta, urgency: Urgency) -> None:
    """The limits themselves belong to the more urgent side."""
    assert urgency_of(left) is urgency


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/Lisbon", "Lisbon time (UTC+0)"),
        ("America/New_York", "New York time (UTC-5)"),
        ("America/Argentina/Buenos_Aires", "Buenos Aires time (UTC-3)"),
        ("Asia/Kolkata", "Kolkata time (UTC+5:30)"),
        ("America/St_Johns", "St John’s time (UTC-3:30)"),
        ("Pacific/Kiritimati", "Kiritimati time (UTC+14)"),
        ("UTC", "UTC"),
        ("Etc/UTC", "UTC"),
        ("Etc/GMT+5", "UTC-5"),
        ("Japan", "Tokyo time (UTC+9)"),
        ("EST", "UTC-5"),
        ("Factory", "UTC"),
    ],
)
def test_a_zone_is_named_for_people(zone: str, name: str) -> None:
    """The place is named and the offset leaves no doubt."""
    assert zone_name(START.astimezone(ZoneInfo(zone))) == name


def test_the_offset_tells_the_two_hours_of_a_fold_apart() -> None:
    """01:30 happens twice when the clocks go back, and is named differently."""
    first = datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK)
    assert zone_name(first) == "New York time (UTC-4)"
    assert zone_name(first.replace(fold=1)) == "New York time (UTC-5)"


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (None, "15:00"),
        (timedelta(), "15:00"),
        (timedelta(hours=-1), "15:00"),
        (timedelta(minutes=90), "15:00\N{EN DASH}16:30"),
        (timedelta(hours=10), "15:00 \N{EN DASH} Wednesday, 01:00"),
        (timedelta(days=6, hours=1), "15:00 \N{EN DASH} Monday, 7 December 2026, 16:00"),
    ],
)
def test_an_end_is_shown_when_it_makes_sense(length: timedelta | None, shown: str) -> None:
    """An end on another day says which; an end before the start is not shown."""
    ends = None if length is None else START + length
    assert BRITISH.appointment(START, ends).hours == shown


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("eastern standard time", "America/New_York"),
        ("europe/BERLIN", "Europe/Berlin"),
        ("America/new york ", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_a_zone_has_other_names(name: str, zone: str) -> None:
    """As Windows has it, and in whatever case somebody has stored it."""
    assert zone == first_known_zone(name, "Asia/Tokyo").key


@pytest.mark.parametrize(
    "name",
    [None, "", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "America", "a\x00b", "x" * 5000],
    ids=short_id,
)
def test_an_unknown_zone_falls_back(name: str | None) -> None:
    """A misspelt zone is passed over; the session's is next, and UTC the last."""
    assert first_known_zone(name, "Europe/Lisbon").key == "Europe/Lisbon"
    assert first_known_zone(name, name).key == "UTC"


def test_each_urgency_has_its_own_words() -> None:
    """Header, message and call to action differ between all three, in every language."""
    for part in ("header", "advice", "advice_with_link", "call_to_action", "subject"):
        for language in CATALOGUES:
            tones = wording_in(language).tones
            assert len({getattr(tones[urgency], part) for urgency in Urgency}) == len(Urgency)
