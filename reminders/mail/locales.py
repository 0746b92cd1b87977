"""Languages and time zones as people have them in their profiles, and how each locale writes instants.

Profiles are misspelt, or empty, at times. Dates, clock times and places are written by the tables
of the Unicode CLDR; all of it is remembered, for the attendees of one session share a handful.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.dates import (
    format_date,
    format_interval,
    format_time,
    get_timezone_location,
)

_TAG = re.compile(
    r"(?P<language>[A-Za-z]{2,3})"
    r"(?:[-_][A-Za-z]{4}(?=[-_@.]|$))?"  # a script, which our languages have only one of
    r"(?:[-_](?P<territory>[A-Za-z]{2}|[0-9]{3}))?"
    r"(?![A-Za-z0-9])"
)
"""The beginning that `de`, `de-AT`, `de_AT.UTF-8@euro`, `de-Latn-AT-u-hc-h23` have in common."""
_NAME = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*(?:\.[\w-]+)?(?:@\w+)?", re.ASCII)
"""BCP 47, or POSIX with its encoding and variant; `C` and `POSIX` name no language."""
_LONGEST = 100


def is_locale_name(text: str) -> bool:
    """Whether a text has the form of a locale's name, whichever language it is in."""
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1024)  # whatever is stored in profiles, parsed once
def locale_called(name: str | None, languages: AbstractSet[str]) -> Locale | None:
    """The locale of that name, if it is in one of these languages.

    The territory decides how dates and clocks are written; one that does not exist is passed over.

    Args:
        name: BCP 47 or POSIX, or anything else.
        languages: ISO 639 codes in lower case; hashable.
    """
    found = _TAG.match((name or "").strip()[:_LONGEST])
    language = found["language"].lower() if found else ""
    if not found or language not in languages:
        return None
    territory = found["territory"]
    try:
        return Locale(language, territory.upper() if territory else None)
    except UnknownLocaleError:
        return Locale(language)


UTC_ZONE = ZoneInfo("UTC")


@cache
def _other_names() -> Mapping[str, str]:
    """Zones by what else they are called: in another case, or by Windows (Unicode CLDR)."""
    windows: Mapping[str, str] = get_global("windows_zone_mapping")
    iana = {_plain(name): name for name in available_timezones()}
    return {_plain(name): zone for name, zone in windows.items()} | iana


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


@lru_cache(maxsize=2048)  # unknown names would otherwise search the disk for every e-mail
def zone_called(name: str | None) -> ZoneInfo | None:
    """The zone that is called so, by IANA or by Windows, in whatever case; `None` if none is."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown; not a relative path; the name of a folder ("America") or too long for a file.
        known = _other_names().get(_plain(name[:_LONGEST]))
        return ZoneInfo(known) if known else None


def first_known_zone(*names: str | None) -> ZoneInfo:
    """The first of these names that is an IANA zone; UTC if none is."""
    for name in names:
        if (zone := zone_called(name)) is not None:
            return zone
    return UTC_ZONE


_WEEKDAY_SUFFICES = timedelta(days=6)
"""A weekday names one day only, this far ahead."""
_MINUTE = timedelta(minutes=1)
_SPACES = str.maketrans({"\u202f": "\u00a0", "\u2009": None, "\u00ad": None})
"""CLDR's narrow and thin spaces and soft hyphens, which many a mail program cannot show."""
_NOWHERE = frozenset(
    [
        "UTC",
        "UCT",
        "Universal",
        "Zulu",
        "GMT",
        "Greenwich",
        "GMT0",
        "GMT+0",
        "GMT-0",
        "Factory",
        "localtime",
        "EST",
        "MST",
        "HST",
        "CET",
        "EET",
        "MET",
        "WET",
        "EST5EDT",
        "CST6CDT",
        "MST7MDT",
        "PST8PDT",
    ]
)
"""Zones that are no place, beside those in `Etc/`; CLDR would name some city for them."""


@dataclass(frozen=True, slots=True)
class Formats:
    """How one locale writes dates and clock times.

    Instants are handed in on the clocks of the reader. Their wall clock is what counts, so that
    the hour which comes twice when clocks go back is written as the clocks show it.
    """

    locale: Locale

    @property
    def has_twelve_hours(self) -> bool:
        """Whether clocks go from 1 to 12, twice a day."""
        return "h" in self.locale.time_formats["short"].pattern.split("'")[0]

    def date(self, at: datetime) -> str:
        """`Tuesday, December 1, 2026`: no reader can take the day for the month."""
        text = _tidy(format_date(at.date(), "full", self.locale))
        if self.locale.language == "fr" and at.day == 1:
            return text.replace("1 ", "1er ", 1)  # which CLDR leaves to others
        return text

    def weekday(self, at: datetime) -> str:
        """`Tuesday`."""
        return _tidy(format_date(at.date(), "EEEE", self.locale))

    def short_weekday(self, at: datetime) -> str:
        """`Tue`, as it stands alone."""
        return _tidy(format_date(at.date(), "ccc", self.locale)).rstrip(".")

    def short_month(self, at: datetime) -> str:
        """`Dec`, as it stands alone."""
        return _tidy(format_date(at.date(), "LLL", self.locale)).rstrip(".")

    def clock_time(self, at: datetime) -> str:
        """`15:00`, `3:00 PM`."""
        return _tidy(format_time(at.time(), "short", locale=self.locale))

    def hour_shown(self, at: datetime) -> int:
        """The hour as the clock shows it; grammar may depend on it (*a la 1*, *a las 2*)."""
        return (at.hour % 12 or 12) if self.has_twelve_hours else at.hour

    def hours(self, starts: datetime, ends: datetime) -> str:
        """`3:00-4:30 PM` with an en dash; the two are on one day.

        Args:
            starts: On the clocks of the reader.
            ends: On the same clocks, later.
        """
        skeleton = "hm" if self.has_twelve_hours else "Hm"
        # Naive, and so taken as they are: Babel would put both through UTC and lose the fold.
        first, last = starts.replace(tzinfo=None), ends.replace(tzinfo=None)
        return _tidy(format_interval(first, last, skeleton, locale=self.locale))

    def day_elsewhen(self, starts: datetime, ends: datetime) -> str:
        """`Wednesday`, or the date: the day of an end on another day than the start."""
        return self.weekday(ends) if ends - starts < _WEEKDAY_SUFFICES else self.date(ends)

    def place(self, zone: tzinfo) -> str | None:
        """`Lissabon` for `Europe/Lisbon` in German; nothing where a zone is no place."""
        key = zone.key if isinstance(zone, ZoneInfo) else "UTC"
        if key.startswith("Etc/") or key in _NOWHERE:
            return None
        return _place(key, self.locale)


def offset(at: datetime) -> str:
    """`UTC+5:30`: what makes a zone unambiguous, also in the hour that comes twice.

    Abbreviations are avoided: `IST` is a time in India, in Israel and in Ireland.
    """
    minutes = round((at.utcoffset() or timedelta()) / _MINUTE)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


@lru_cache(maxsize=4096)
def _place(key: str, locale: Locale) -> str:
    name = get_timezone_location(ZoneInfo(key), locale=locale, return_city=True)
    return _tidy(name).rpartition("/")[2].replace("_", " ")


def _tidy(text: str) -> str:
    return text.translate(_SPACES)
