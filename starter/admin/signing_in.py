"""Signing in and out."""

from __future__ import annotations

import logging
import math
import re

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from starter.admin import form
from starter.admin.door import PATH, Access, Door, SignInNeededError
from starter.admin.guard import SEE_OTHER, PageRoute, SignedIn, pages, redirect
from starter.admin.view import render

logger = logging.getLogger(__name__)

_OURS = re.compile(rf"{PATH}(?:[/?][\w\-./?=&%:+]*)?", re.ASCII)
"""Paths to go on to; anything else could lead to another site."""

router = APIRouter(prefix=PATH, route_class=PageRoute, include_in_schema=False)
inside = pages()


@router.get("/sign-in")
async def sign_in_page(request: Request, next: str = "") -> Response:  # noqa: A002 - as it is in the URL
    """Where to say who one is."""
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A strict cookie does not come along with a link from elsewhere; from our page it does.
        return render(request, "come_again.html", target=_ours(next))
    door: Door = request.app.state.admin_door
    try:
        door.admit(request)
    except SignInNeededError:
        return render(request, "sign_in.html", next=_ours(next), problem=None)
    return RedirectResponse(_ours(next), SEE_OTHER)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Compare name and password; too many wrong ones have to wait."""
    door: Door = request.app.state.admin_door
    door.check_origin(request)
    sent = await form.read(request)
    target = _ours(sent.raw("next"))
    if door.access is not Access.SIGN_IN:
        return redirect("")
    wait = door.wait(request)
    if wait:
        seconds = math.ceil(wait.total_seconds())
        page = render(
            request,
            "sign_in.html",
            http_status=429,
            next=target,
            problem=f"Too many wrong passwords. Try again in {seconds} s.",
        )
        page.headers["Retry-After"] = str(seconds)
        return page
    visitor = door.sign_in(request, sent.raw("username"), sent.raw("password"))
    if visitor is None:
        logger.warning("a sign-in to %s was refused", PATH)
        return render(
            request,
            "sign_in.html",
            http_status=401,
            next=target,
            problem="Name or password is wrong.",
        )
    response = RedirectResponse(target, SEE_OTHER)
    door.write_cookie(request, response, visitor)
    return response


@inside.post("/sign-out")
async def sign_out(request: Request, visitor: SignedIn) -> Response:
    """End the session; a copy of its cookie is good for nothing afterwards."""
    door: Door = request.app.state.admin_door
    door.sign_out(visitor)
    response = redirect("/sign-in")
    door.clear_cookie(request, response)
    return response


def _ours(target: str) -> str:
    """Where to go afterwards."""
    return target if _OURS.fullmatch(target) and "//" not in target else PATH
