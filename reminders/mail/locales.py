"""Languages as people have them in their profiles: BCP 47, POSIX, misspelt, or absent."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache

from babel import Locale, UnknownLocaleError

ENGLISH = "en"

_TAG = re.compile(
    r"(?P<language>[A-Za-z]{2,3})"
    r"(?:[-_][A-Za-z]{4}(?=[-_@.]|$))?"  # a script, which our languages have only one of
    r"(?:[-_](?P<territory>[A-Za-z]{2}|[0-9]{3}))?"
    r"(?![A-Za-z0-9])"
)
"""The beginning that `de`, `de-AT`, `de_AT.UTF-8@euro`, `de-Latn-AT-u-hc-h23` have in common."""
_LONGEST = 100


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
