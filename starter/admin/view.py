"""Pages out of templates: what all of them know, and how instants, counts and states are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reminders.clock import SystemClock
from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.admin.door import CSRF_FIELD, Door
from starter.admin.visitors import Visitor
from starter.services import reasons as decisions

_HERE = Path(__file__).resolve().parent
TEMPLATES = _HERE / "templates"
STATIC = _HERE.parent / "static"

NAVIGATION = (
    ("", "Overview"),
    ("/sessions", "Sessions"),
    ("/people", "People"),
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
        request: Of a signed-in visitor, or of nobody yet.
        template: Its file in `templates`.
        http_status: Of the answer.
        context: What it shows; escaped where it is shown.
    """
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    door: Door = request.app.state.admin_door
    html = (
        _environment()
        .get_template(template)
        .render(
            visitor=visitor,
            is_signed_in=visitor is not None and door.access.value == "sign-in",
            csrf=_csrf(door, visitor),
            path=request.url.path,
            delivery_mode=request.app.state.settings.delivery_mode,
            now=SystemClock().now(),
            **context,
        )
    )
    return HTMLResponse(html, status_code=http_status)


def _csrf(door: Door, visitor: Visitor | None) -> Markup:
    """The hidden field that every form has."""
    if visitor is None:
        return Markup()
    field = Markup('<input type="hidden" name="{}" value="{}">')
    return field.format(CSRF_FIELD, door.csrf_token(visitor))


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
        instant=instant,
        clock_time=clock_time,
        relative=relative,
        number=number,
        decision=decision,
        reason_words=reason_words,
        lead=lead,
        pretty=pretty,
        words=words,
    )
    return environment


@cache
def _static(name: str) -> str:
    """Where a file is, in a way that changes with its content."""
    digest = sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def instant(value: datetime | None, form: str = "%Y-%m-%d %H:%M") -> Markup:
    """An instant in UTC; browsers show their own time on hovering."""
    if value is None:
        return Markup('<span class="none">&ndash;</span>')
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="seconds").replace("+00:00", "Z"), at.strftime(form)
    )


def clock_time(value: datetime | None) -> Markup:
    """An instant to the second, for what happens within one."""
    return instant(value, "%Y-%m-%d %H:%M:%S")


def relative(value: datetime, now: datetime) -> str:
    """How far an instant is from now, in its two largest units at the most."""
    seconds = (value - now).total_seconds()
    told = _duration(abs(seconds))
    return f"in {told}" if seconds > 0 else f"{told} ago"


def lead(value: timedelta) -> str:
    """A duration, such as a rule's."""
    return _duration(value.total_seconds())


def _duration(seconds: float) -> str:
    left = round(seconds)
    if left < 60:
        return f"{left} s"
    units = ((86400, "d"), (3600, "h"), (60, "min"))
    parts = []
    for size, name in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def number(value: int) -> str:
    """A count, in groups of three with narrow spaces."""
    return f"{value:,}".replace(",", "\u202f")


def decision(reminder: Reminder) -> str:
    """Why a reminder is as it is, as a sentence."""
    told = decisions.decision(reminder.status, reminder.reason)
    return told[0].upper() + told[1:] + "."


def reason_words(reason: StatusReason | None) -> str:
    """A reason as a sentence."""
    told = decisions.reason(reason)
    return told[0].upper() + told[1:]


def words(name: str) -> str:
    """`session_cancelled` as people write it."""
    return name.replace("_", " ")


def pretty(value: object) -> str:
    """JSON to be read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
