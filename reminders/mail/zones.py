"""Time zones as people have them in their profiles: sometimes misspelt, sometimes absent."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo

UTC_ZONE = ZoneInfo("UTC")


@lru_cache(maxsize=2048)  # unknown names would otherwise search the disk for every e-mail
def zone_called(name: str | None) -> ZoneInfo | None:
    """The IANA zone of that name, or `None` if there is none."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown; not a relative path; the name of a folder ("America") or too long for a file.
        return None


def first_known_zone(*names: str | None) -> ZoneInfo:
    """The first of these names that is an IANA zone; UTC if none is."""
    for name in names:
        if (zone := zone_called(name)) is not None:
            return zone
    return UTC_ZONE
