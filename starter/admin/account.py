"""What is an operator's own: signing in and out, and the zone in which they read times."""

from __future__ import annotations

import logging
import math

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from reminders.domain.errors import InvalidInputError
from reminders.mail.locales import zone_called
from starter.admin import form
from starter.admin.auth import PATH, Access, AdminAuth, SignInNeededError
from starter.admin.rendering import TIMES_COOKIE, Mode, Times, render
from starter.admin.routing import SEE_OTHER, PageRoute, Sent, SignedIn, ours, page_router, redirect
from starter.api import reading
from starter.api.models import zones

logger = logging.getLogger(__name__)

router = reading.router(prefix=PATH, route_class=PageRoute, include_in_schema=False)
signed_in = page_router()


@router.get("/sign-in")
async def sign_in_page(request: Request, next: str = "") -> Response:  # noqa: A002 - as it is in the URL
    """Where to say who one is."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A strict cookie does not come along with a link from elsewhere; from our page it does.
        return render(request, "come_again.html", target=ours(next))
    auth: AdminAuth = request.app.state.admin_auth
    try:
        auth.authenticate(request)
    except SignInNeededError:
        return render(request, "sign_in.html", next=ours(next), problem=None)
    return RedirectResponse(ours(next), SEE_OTHER)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Compare name and password; after too many wrong ones, one has to wait."""
    auth: AdminAuth = request.app.state.admin_auth
    auth.check_origin(request)
    sent = await form.read(request)
    target = ours(sent.raw("next"))
    if auth.access is not Access.SIGN_IN:
        return redirect("")
    if wait := auth.wait(request):
        seconds = math.ceil(wait.total_seconds())
        problem = f"Too many wrong passwords. Try again in {seconds} s."
        page = render(request, "sign_in.html", http_status=429, next=target, problem=problem)
        page.headers["Retry-After"] = str(seconds)
        return page
    operator = auth.sign_in(request, sent.raw("username"), sent.raw("password"))
    if operator is None:
        logger.warning("a sign-in to %s was refused", PATH)
        problem = "Name or password is wrong."
        return render(request, "sign_in.html", http_status=401, next=target, problem=problem)
    response = RedirectResponse(target, SEE_OTHER)
    auth.set_cookie(request, response, operator)
    return response


@signed_in.post("/sign-out")
async def sign_out(request: Request, operator: SignedIn) -> Response:
    """Sign out; a copy of the cookie is good for nothing afterwards."""
    auth: AdminAuth = request.app.state.admin_auth
    auth.sign_out(operator)
    response = redirect("/sign-in")
    auth.set_cookie(request, response, None)
    return response


@signed_in.post("/times")
async def choose(request: Request, form: Sent) -> Response:
    """Keep in which zone this browser is shown instants, and go back to the page.

    Its own zone is sent along by a browser that runs scripts, and asked for once of others.
    """
    mode, target = form.raw("times"), ours(form.raw("next"))
    if mode not in list(Mode):
        raise InvalidInputError("is none of utc, session and mine", field="times")
    kept = Times.of(request.cookies.get(TIMES_COOKIE)).mine
    mine = form.text("zone", longest=64) or kept
    if zone_called(mine) is None:
        if mode == Mode.MINE:
            return render(request, "times.html", next=target, zones=sorted(zones()))
        mine = kept
    response = RedirectResponse(target, SEE_OTHER)
    auth: AdminAuth = request.app.state.admin_auth
    auth.keep(request, response, TIMES_COOKIE, f"{mode}:{mine}")
    return response
