"""Languages and time zones as people have them in their profiles: misspelt, or absent, at times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache, lru_cache
from zoneinfo import ZoneInfo, available_timezones

from babel import Locale, UnknownLocaleError
from babel.core import get_global

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
