"""Pages out of templates: what all of them know, and how instants, counts and states are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from reminders.clock import SystemClock
from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from reminders.mail.locales import first_known_zone
from starter.admin.auth import CSRF_FIELD, Access, AdminAuth
from starter.admin.cookies import Operator
from starter.api.reading import route_path
from starter.services import reasons

_HERE = Path(__file__).resolve().parent
TEMPLATES = _HERE / "templates"
STATIC = _HERE.parent / "static"
_CSRF = Markup('<input type="hidden" name="{}" value="{}">')
"""The hidden field that every form has."""

NAVIGATION = (
    ("", "Overview"),
    ("/sessions", "Sessions"),
    ("/people", "People"),
    ("/reminders", "Reminders"),
    ("/failed", "Failed"),
    ("/rules", "Rules"),
    ("/preview", "E-mails"),
    ("/rehearsal", "Rehearsal"),
    ("/runs", "Runs"),
    ("/audit", "Audit log"),
)
"""Paths below `/admin`, and what the pages are called."""

TONES: Mapping[str, str] = {
    ReminderStatus.SCHEDULED: "wait",
    ReminderStatus.SENDING: "busy",
    ReminderStatus.SENT: "good",
    ReminderStatus.DELIVERED: "good",
    ReminderStatus.BOUNCED: "bad",
    ReminderStatus.COMPLAINED: "bad",
    ReminderStatus.SUPPRESSED: "bad",
    ReminderStatus.FAILED: "bad",
    ReminderStatus.SKIPPED: "idle",
    ReminderStatus.CANCELLED: "idle",
    "confirmed": "good",
    "pending": "wait",
    "running": "busy",
    "completed": "good",
    "timed_out": "bad",
    "terminated": "bad",
}
"""Colours of states; the word always stands beside them."""


def render(
    request: Request, template: str, *, http_status: int = 200, **context: object
) -> HTMLResponse:
    """A page.

    Args:
        request: Of an operator, or of nobody yet.
        template: Its file in `templates`.
        http_status: Of the answer.
        context: What it shows; escaped where it is shown.
    """
    operator: Operator | None = getattr(request.state, "operator", None)
    auth: AdminAuth = request.app.state.admin_auth
    path, query = route_path(request.scope), request.url.query
    about = context.get("session")
    html = (
        _environment()
        .get_template(template)
        .render(
            operator=operator,
            is_signed_in=operator is not None and auth.access is Access.SIGN_IN,
            csrf=_CSRF.format(CSRF_FIELD, auth.csrf_token(operator)) if operator else "",
            root=request.scope.get("root_path", ""),
            path=path,
            here=f"{path}?{query}" if query else path,
            can_come_back=request.method == "GET",
            settings=request.app.state.settings,
            times=Times.of(request.cookies.get(TIMES_COOKIE), getattr(about, "time_zone", None)),
            now=SystemClock().now(),
            **context,
        )
    )
    return HTMLResponse(html, status_code=http_status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        navigation=NAVIGATION, static=_static, statuses=list(ReminderStatus), tones=TONES
    )
    environment.filters.update(
        {
            f.__name__: f
            for f in (
                local,
                instant,
                clock_time,
                relative,
                reasons.lead,
                duration,
                number,
                decision,
                hold_words,
                reason_words,
                words,
                pretty,
            )
        }
    )
    return environment


@cache
def _static(name: str) -> str:
    """Where a file is, in a way that changes with its content."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def number(value: int) -> str:
    """A count, in groups of three with narrow spaces."""
    return f"{value:,}".replace(",", "\u202f")


def decision(reminder: Reminder) -> str:
    """Why a reminder is as it is, as a sentence."""
    now = SystemClock().now()
    return _capitalized(
        reasons.decision(reminder.status, reminder.reason, due_at=reminder.due_at, now=now) + "."
    )


def hold_words(reason: StatusReason) -> str:
    """Why nothing is posted, as a sentence without its full stop."""
    return _capitalized(reasons.hold(reason))


def reason_words(reason: StatusReason | None) -> str:
    """A reason as a sentence, without its full stop."""
    return _capitalized(reasons.reason(reason))


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def words(name: str) -> str:
    """`session_cancelled` as people write it, and Temporal's `canceled` as we do."""
    return name.replace("_", " ").replace("canceled", "cancelled")


def pretty(value: object) -> str:
    """JSON to be read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


TIMES_COOKIE = "reminders_admin_times"


class Mode(StrEnum):
    """Whose zone counts."""

    UTC = "utc"
    SESSION = "session"
    """The session's that a page is about; UTC on others."""
    MINE = "mine"


@dataclass(frozen=True, slots=True)
class Times:
    """In which zone a page shows instants: UTC, the session's where it is about one, or one's own.

    A cookie of the browser says so; without one it is the session's.
    """

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
