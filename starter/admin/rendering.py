"""Pages out of templates: what all of them know, and how instants, counts and states are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reminders.clock import SystemClock
from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.admin import times
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
            times=times.Times.of(
                request.cookies.get(times.COOKIE), getattr(about, "time_zone", None)
            ),
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
                times.local,
                times.instant,
                times.clock_time,
                times.relative,
                times.duration,
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
