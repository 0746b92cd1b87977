"""How instants are written on the pages, and in which zone.

UTC, the session's where a page is about one, or one's own: a cookie of the browser says so, and
without one it is the session's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Self
from zoneinfo import ZoneInfo

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from reminders.mail.locales import first_known_zone

COOKIE = "reminders_admin_times"


class Mode(StrEnum):
    """Whose zone counts."""

    UTC = "utc"
    SESSION = "session"
    """The session's that a page is about; UTC on others."""
    MINE = "mine"


@dataclass(frozen=True, slots=True)
class Times:
    """In which zone a page shows instants."""

    mode: Mode
    mine: str
    """The operator's own zone; empty while it is not known."""
    zone: ZoneInfo

    @classmethod
    def of(cls, cookie: str | None, session_zone: str | None = None) -> Self:
        """What a browser's cookie says of a page about a session, or about several."""
        mode, _, mine = (cookie or "").partition(":")
        chosen = Mode(mode) if mode in list(Mode) else Mode.SESSION
        whose = {Mode.UTC: None, Mode.SESSION: session_zone, Mode.MINE: mine}
        return cls(chosen, mine, first_known_zone(whose[chosen]))


@pass_context
def local(context: Context, value: datetime) -> datetime:
    """An instant in the zone of the page."""
    times: Times = context["times"]
    return value.astimezone(times.zone)


@pass_context
def instant(context: Context, value: datetime | None, form: str = "%Y-%m-%d %H:%M") -> Markup:
    """An instant in the zone of the page; browsers show their own time on hovering."""
    if value is None:
        return Markup('<span class="none dash">&ndash;</span>')
    utc = value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}">{}</time>').format(utc, local(context, value).strftime(form))


@pass_context
def clock_time(context: Context, value: datetime | None) -> Markup:
    """An instant to the second, for what happens within one."""
    return instant(context, value, "%Y-%m-%d %H:%M:%S")


def relative(value: datetime, now: datetime) -> str:
    """How far an instant is from now, in its two largest units at the most."""
    distance = duration(abs(value - now))
    return f"in {distance}" if value > now else f"{distance} ago"


def duration(value: timedelta) -> str:
    """A duration in its two largest units, such as `1 d 2 h`; what is smaller is left out.

    Seconds are rounded upwards: what arrived *within 0 s* would have arrived before it was sent.
    """
    left = ceil(value.total_seconds())
    if left < 60:
        return f"{left} s"
    counts = [(left // 86400, "d"), (left // 3600 % 24, "h"), (left // 60 % 60, "min")]
    largest = next(n for n, (count, _) in enumerate(counts) if count)
    return " ".join(f"{count} {unit}" for count, unit in counts[largest : largest + 2] if count)
