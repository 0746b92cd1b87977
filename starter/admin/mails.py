"""The e-mail itself: at any moment, for any attendee, in light and dark; a test e-mail; a rehearsal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlencode

from babel import Locale, localedata
from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from reminders.db.audit import By
from reminders.domain.delivery_errors import DeliveryError
from reminders.domain.errors import InvalidInputError, ReminderError, TooManyTestsError
from reminders.domain.languages import ENGLISH
from reminders.mail.catalogue import languages
from starter.admin.form import parse_uuid
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, describe, error_page, page_router, redirect
from starter.api.mails import RehearsalOut
from starter.api.models import LocaleName, ZoneName, zones
from starter.api.routing import Answering
from starter.assembly import Parts
from starter.services.mails import Mails, Scene, Wanted
from starter.services.mails import scene as looked_up
from starter.services.rehearsal import rehearsed

router = page_router()

_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:;"
    " frame-ancestors 'self'; sandbox allow-popups"
)
"""An e-mail styles itself and shows pictures; it runs nothing, and only our page frames it."""


_Text = Annotated[str, StringConstraints(max_length=100)]
_ZONE: TypeAdapter[str] = TypeAdapter(ZoneName)
_LOCALE: TypeAdapter[str] = TypeAdapter(LocaleName)


class Choice(BaseModel):
    """What is to be seen, as the URL says: ids and instants only."""

    model_config = ConfigDict(frozen=True, str_strip_whitespace=True)

    session: _Text = ""
    """Empty means a sample one."""
    user: _Text = ""
    """Empty means a sample one."""
    rule: _Text = ""
    """Empty means the first."""
    at: _Text = ""
    """`2026-12-01T15:00`, in UTC; empty means the rule's own instant."""
    locale: _Text = ""
    zone: _Text = ""

    @property
    def query(self) -> str:
        """As a part of a URL."""
        return urlencode(self.model_dump())


class _Frame(Choice):
    """One of the two frames that show it."""

    scheme: Literal["light", "dark"] = "light"


@router.get("/preview")
async def preview_page(
    request: Request, parts: Answering, choice: Annotated[Choice, Query()]
) -> Response:
    """The e-mail in two frames, its text, and the form to choose another moment."""
    mails: Mails = request.app.state.mails
    message, problem, scene, shown = None, None, None, None
    try:
        shown = parse_uuid(choice.session, "session")
        scene = await _scene(parts, choice)
        message = await asyncio.to_thread(mails.preview, scene)
    except ReminderError as error:
        problem = describe(error)
    return render(
        request,
        "preview.html",
        choice=choice,
        scene=scene,
        rules=scene.rules if scene else await parts.rules.all(),
        message=message,
        problem=problem,
        test_recipient=mails.test_recipient,
        choices=await parts.browser.choices(parts.clock.now(), shown),
        locales=_locales(parts.settings.email_templates_dir),
        zones=sorted(zones()),
    )


@cache
def _locales(templates: Path | None) -> Mapping[str, str]:
    """The languages of e-mails, with the countries that write dates their own way, by their names."""
    ours = languages(templates and templates / "locale")
    known = map(Locale.parse, localedata.locale_identifiers())
    return {
        str(one).replace("_", "-"): one.get_display_name(ENGLISH) or ""
        for one in sorted(known, key=str)
        if one.language in ours and not one.script and not one.variant
    }


@router.get("/preview/mail")
async def mail(request: Request, parts: Answering, frame: Annotated[_Frame, Query()]) -> Response:
    """The HTML part alone, for the frames; nothing in it can run or reach our pages.

    A frame has the colours of the reader's system, so the wanted ones are written into its style.
    """
    mails: Mails = request.app.state.mails
    message = await asyncio.to_thread(mails.preview, await _scene(parts, frame))
    wanted = "@media all" if frame.scheme == "dark" else "@media not all"
    return HTMLResponse(
        message.html.replace("@media (prefers-color-scheme: dark)", wanted),
        headers={"Content-Security-Policy": _MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"},
    )


@router.post("/preview/test")
async def send_test(request: Request, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Send it to `VERIFIED_TEST_EMAIL`, and to nobody else; a few a minute."""
    mails: Mails = request.app.state.mails
    choice = Choice(**{name: form.text(name, longest=100) for name in Choice.model_fields})
    scene = await _scene(parts, choice)
    try:
        sent = await mails.send_test(parts, scene, By(operator.actor))
    except TooManyTestsError as error:
        page = error_page(request, 429, "Too many test e-mails", f"{error}.")
        page.headers["Retry-After"] = str(round(error.retry_after.total_seconds()))
        return page
    except DeliveryError as error:
        return error_page(request, 502, "The provider did not take it", str(error))
    return redirect(f"/audit/{sent.event_id}")


async def _scene(parts: Parts, choice: Choice) -> Scene:
    """Look up what was chosen.

    Raises:
        InvalidInputError: If something is no id or no instant.
        NotFoundError: If something does not exist.
    """
    user_id = parse_uuid(choice.user, "user")
    return await looked_up(
        parts,
        Wanted(
            session_id=parse_uuid(choice.session, "session"),
            user_id=user_id,
            reminder_type=choice.rule or None,
            at=_instant(choice.at),
            locale=None if user_id else _checked(_LOCALE, choice.locale, "locale"),
            time_zone=None if user_id else _checked(_ZONE, choice.zone, "zone"),
        ),
    )


def _checked(kind: TypeAdapter[str], text: str, field: str) -> str | None:
    try:
        return kind.validate_python(text) if text else None
    except ValidationError as error:
        raise InvalidInputError(error.errors()[0]["msg"], field=field) from error


def _instant(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.astimezone(UTC) if at.utcoffset() is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError("write for example 2026-12-01T15:00 (UTC)", field="at") from error


@router.get("/rehearsal")
async def rehearsal(
    request: Request, parts: Answering, session: str = "", user: str = ""
) -> Response:
    """Which e-mails an enrollment would get from now on, once a session is chosen; nothing is sent."""
    session_id, user_id = parse_uuid(session, "session"), parse_uuid(user, "user")
    played = None
    if session_id is not None:
        played = RehearsalOut.of(*await rehearsed(parts, session_id, user_id=user_id))
    return render(
        request,
        "rehearsal.html",
        chosen={"session": session, "user": user},
        played=played,
        choices=await parts.browser.choices(parts.clock.now(), session_id),
    )
