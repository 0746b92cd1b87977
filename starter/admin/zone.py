"""The switch of zones: UTC, the session's, or one's own."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from reminders.domain.errors import InvalidInputError
from reminders.mail.locales import zone_called
from starter.admin.auth import AdminAuth
from starter.admin.rendering import render
from starter.admin.routing import SEE_OTHER, Sent, ours, page_router
from starter.admin.times import COOKIE, Mode, Times
from starter.api.fields import zones

router = page_router()


@router.post("/times")
async def choose(request: Request, form: Sent) -> Response:
    """Keep in which zone this browser is shown instants, and go back to the page.

    Its own zone is sent along by a browser that runs scripts, and asked for once of others.
    """
    mode, target = form.raw("times"), ours(form.raw("next"))
    if mode not in list(Mode):
        raise InvalidInputError("is none of utc, session and mine", field="times")
    mine = form.text("zone", longest=64) or Times.of(request.cookies.get(COOKIE)).mine
    if mode == Mode.MINE and zone_called(mine) is None:
        return render(request, "times.html", next=target, zones=sorted(zones()))
    response = RedirectResponse(target, SEE_OTHER)
    auth: AdminAuth = request.app.state.admin_auth
    auth.keep(request, response, COOKIE, f"{mode}:{mine}")
    return response
