"""What attendees reach from their e-mails: the stop page and the calendar file.

No API key: the token in the address says whose it is, and that we made it. Nothing here tells a
token that was made up from one that is out of date, and nothing that a mail scanner or a link
preview does by opening an address changes anything: only a POST does.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import get_args

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from reminders.db.calendar import calendar_entry
from reminders.db.preference_store import Reader
from reminders.domain.errors import LinkNotFoundError, ServiceUnavailableError, UserNotFoundError
from reminders.domain.languages import in_language, is_by_language
from reminders.domain.model import Session
from reminders.domain.ports import Enrollment
from reminders.mail.calendar import calendar_file, media_type
from reminders.tokens import Purpose
from starter.api import reading
from starter.api.errors import RETRY_AFTER
from starter.api.reading import LinkRoute
from starter.api.routing import Documented, parts_of
from starter.assembly import Parts
from starter.attendee.pages import Action, Pages

logger = logging.getLogger(__name__)

STOP = "/stop/"
"""What the path of a stop link begins with."""
CALENDAR = "/calendar/"
"""What the path of a calendar link begins with."""
_LINK = re.compile(f"{STOP}|{CALENDAR}")
_ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The one field that a mail program posts (RFC 8058 §3.2)."""
_MOST_FIELDS = 10
_LONGEST_FIELD = 1024
"""Bytes."""
_ACTIONS: dict[str, Action] = {action: action for action in get_args(Action)}
_PRIVATE = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
"""The address is a credential: it is passed on to nobody, and found by no search."""
_FORM = {
    "description": "Posted by the page, or by a mail program (RFC 8058).",
    "content": {
        "application/x-www-form-urlencoded": {
            "schema": {
                "type": "object",
                "properties": {
                    "action": {"enum": list(_ACTIONS)},
                    "List-Unsubscribe": {"enum": ["One-Click"]},
                },
            }
        }
    },
}
_NO_LINK: Documented = {404: {"description": "The link names nobody, or links are not configured"}}
_AWAY: Documented = {503: {"description": "PostgreSQL or Temporal is away; repeat the same call"}}

router = reading.router(tags=["attendees"], route_class=LinkRoute)


def _as_pages(documented: Documented) -> Documented:
    """The documentation of errors that people see in a browser."""
    return {status: {**told, "content": {"text/html": {}}} for status, told in documented.items()}


@router.get(
    "/stop/{token}",
    summary="Ask what reminders are to stop",
    response_class=HTMLResponse,
    responses=_as_pages({**_NO_LINK, **_AWAY}),
)
async def stop_page(token: str, request: Request) -> Response:
    """The page of an attendee's stop link. Opening it changes nothing."""
    try:
        reader = await _reader_of(request, _enrollment_of(request, Purpose.STOP, token))
    except LinkNotFoundError:
        return _unknown(request)
    except ServiceUnavailableError as error:
        return _unavailable(request, error, None)
    return _stop_page(request, reader)


@router.post(
    "/stop/{token}",
    summary="Stop reminders, or take it back",
    openapi_extra={"requestBody": _FORM},
    response_class=HTMLResponse,
    responses=_as_pages(
        {**_NO_LINK, **_AWAY, 400: {"description": "Says neither what to stop nor to resume"}}
    ),
)
async def stop(token: str, request: Request) -> Response:
    """Stop the session's reminders, or all, or take that back. Safe to repeat.

    A mail program's one-click (`List-Unsubscribe=One-Click`) stops the session's, at once.
    """
    action: Action | None = None
    try:
        enrollment = _enrollment_of(request, Purpose.STOP, token)
        fields = await _fields(request)
        if fields.get(_ONE_CLICK[0]) == _ONE_CLICK[1]:
            return await _one_click(request, enrollment)
        action = _ACTIONS.get(fields.get("action", ""))
        reader = await _reader_of(request, enrollment)
        if action is None or (action == "session" and reader.session is None):
            return _stop_page(request, reader, status=400)
        preferences = parts_of(request).preferences
        if action == "resume":
            await preferences.resume(enrollment)
        else:
            await preferences.stop(enrollment, everything=action == "everything")
        reader = await _reader_of(request, enrollment)
    except (LinkNotFoundError, UserNotFoundError):
        return _unknown(request)
    except ServiceUnavailableError as error:
        return _unavailable(request, error, action)
    return _stop_page(request, reader, resumed=action == "resume")


@router.get(
    "/calendar/{token}.ics",
    summary="A session as a calendar file that follows it",
    response_class=Response,
    responses={
        200: {"content": {"text/calendar": {}}},
        304: {"description": "It is as `If-None-Match` says"},
        **_NO_LINK,
        **_AWAY,
    },
)
async def calendar(token: str, request: Request) -> Response:
    """The same address for ever: the same UID, and a higher SEQUENCE after every change.

    Whoever opens it in a browser is told on a page what a calendar program is told as a problem.
    """
    try:
        return await _calendar(token, request)
    except (LinkNotFoundError, ServiceUnavailableError) as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        if isinstance(error, LinkNotFoundError):
            return _unknown(request, of=Purpose.CALENDAR)
        return _unavailable(request, error, None)


async def _calendar(token: str, request: Request) -> Response:
    enrollment = _enrollment_of(request, Purpose.CALENDAR, token)
    parts = parts_of(request)
    entry = await calendar_entry(parts.database, enrollment.session_id, enrollment.user_id)
    if entry is None or _is_out_of_date(parts, entry.session):
        raise LinkNotFoundError
    if is_by_language(entry.session):
        person = await parts.catalogue.user(enrollment.user_id)
        session = in_language(entry.session, person.locale, parts.settings.email_locale)
        entry = replace(entry, session=session)
    content = calendar_file(entry, organizer=parts.settings.email_from)
    tag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {
        **_PRIVATE,
        "ETag": tag,
        # Kept by nobody without asking again: it is to be true when the session moves.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": 'inline; filename="session.ics"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type(entry), headers=headers)


async def _one_click(request: Request, enrollment: Enrollment) -> Response:
    """What RFC 8058 asks for: no cookies, no page, no redirect, no further question."""
    reader = await _reader_of(request, enrollment)
    if reader.session is not None:  # of a session that was deleted there is nothing to stop
        await parts_of(request).preferences.stop(enrollment, everything=False)
    return Response(status_code=200, headers=_PRIVATE | {"Cache-Control": "no-store"})


def _enrollment_of(request: Request, purpose: Purpose, token: str) -> Enrollment:
    """Whose link it is, without asking anything but the token."""
    tokens = parts_of(request).tokens
    if tokens is None:
        raise LinkNotFoundError
    return tokens.read(purpose, token)


def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


async def _reader_of(request: Request, enrollment: Enrollment) -> Reader:
    parts = parts_of(request)
    reader = await parts.preferences.reader(enrollment)
    if reader is None or (reader.session and _is_out_of_date(parts, reader.session)):
        raise LinkNotFoundError
    return reader


def _is_out_of_date(parts: Parts, session: Session) -> bool:
    """Whether a session is over for so long that its links no longer open."""
    valid = timedelta(days=parts.settings.token_valid_days)
    return parts.clock.now() - session.starts_at > valid


async def _fields(request: Request) -> dict[str, str]:
    """The form's fields, whichever way it is encoded; nothing of a body that is none."""
    try:
        async with request.form(
            max_files=0, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD
        ) as form:
            return {name: value for name, value in form.items() if isinstance(value, str)}
    except HTTPException as error:
        if error.status_code == 413:  # the body as a whole
            raise
        return {}


def _page(request: Request, html: str, *, status: int = 200, **headers: str) -> Response:
    return Response(
        html,
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers=_PRIVATE
        | {"Cache-Control": "no-store", "Content-Security-Policy": _pages(request).policy}
        | headers,
    )


def _stop_page(
    request: Request, reader: Reader, *, resumed: bool = False, status: int = 200
) -> Response:
    now = parts_of(request).clock.now()
    html = _pages(request).stop(reader, now=now, resumed=resumed)
    return _page(request, html, status=status)


def _unknown(request: Request, *, of: Purpose = Purpose.STOP) -> Response:
    locale = _pages(request).preferred(request.headers.get("accept-language", ""))
    return _page(request, _pages(request).unknown(locale, of), status=404)


def _unavailable(request: Request, error: Exception, action: Action | None) -> Response:
    """The token is left out of the log: it is a credential."""
    logger.warning("%s of a link: %s", request.method, error)
    locale = _pages(request).preferred(request.headers.get("accept-language", ""))
    html = _pages(request).unavailable(locale, action)
    return _page(request, html, status=503, **{"Retry-After": str(RETRY_AFTER)})


class _RedactTokens(logging.Filter):
    """Takes the tokens out of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the path, which is the third argument; everything passes."""
        if isinstance(record.args, tuple) and len(record.args) > 2:
            path = str(record.args[2])
            link = _LINK.search(path)
            if link:
                record.args = (*record.args[:2], f"{path[: link.end()]}...", *record.args[3:])
        return True


REDACT = _RedactTokens()
"""One for all: a logger takes the same filter once."""
