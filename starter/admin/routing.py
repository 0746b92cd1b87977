"""What every page has in common: who may see it, its headers, and errors that are pages too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from reminders.domain.errors import (
    InvalidInputError,
    ReminderError,
    ServiceUnavailableError,
)
from reminders.temporal import STORED
from starter.admin import form
from starter.admin.auth import PATH, AdminAuth, ForbiddenError, SignInNeededError
from starter.admin.cookies import Operator
from starter.admin.form import Form
from starter.admin.rendering import render
from starter.api.errors import RETRY_AFTER
from starter.api.reading import route_path, router
from starter.services.failures import understood

logger = logging.getLogger(__name__)

SEE_OTHER = 303

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none';"
        " base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}
"""Of every answer, unless a page says otherwise."""

_OURS = re.compile(rf"{PATH}(?:[/?][\w\-./?=&%:+~]*)?", re.ASCII)
"""Paths to go on to; anything else could lead to another site."""

_STORED = (
    "The change is stored and takes effect: nothing is sent that it forbids. Workflows that do not"
    " know it yet follow at the next sweep, or when you repeat it once Temporal answers again."
)
_TITLES = {404: "No such page", 410: "This search has expired"}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """A route for everybody, such as the one to sign in."""

    def get_route_handler(self) -> Handler:
        """The handler, with errors as pages and the headers of all pages."""
        handle = self.protected(super().get_route_handler())

        async def paged(request: Request) -> Response:
            try:
                response = await handle(request)
            except Exception as error:  # noqa: BLE001 - people are to see a page, whatever happens
                response = _error_page(request, error)
            location = response.headers.get("location", "")
            if location.startswith("/"):
                response.headers["location"] = request.scope.get("root_path", "") + location
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return paged

    def protected(self, handle: Handler) -> Handler:
        """The handler as it is."""
        return handle


class AdminRoute(PageRoute):
    """A route for those who are signed in; a form is checked before its handler sees it."""

    def protected(self, handle: Handler) -> Handler:
        """The handler, for requests of somebody who is signed in and sends our own forms."""

        async def checked(request: Request) -> Response:
            auth: AdminAuth = request.app.state.admin_auth
            signed_in = auth.authenticate(request)
            request.state.operator = signed_in.operator
            if request.method == "POST":
                request.state.form = await form.read(request)
                auth.check_csrf(request, signed_in.operator, request.state.form)
            response = await handle(request)
            if signed_in.new_cookie is not None and "set-cookie" not in response.headers:
                auth.set_cookie(request, response, signed_in.new_cookie)
            return response

        return checked


def page_router() -> APIRouter:
    """A router for pages that require signing in."""
    return router(prefix=PATH, route_class=AdminRoute, include_in_schema=False)


def redirect(path: str) -> RedirectResponse:
    """Send the browser on to a path below `/admin`, with a GET."""
    return RedirectResponse(f"{PATH}{path}", SEE_OTHER)


def ours(target: str) -> str:
    """Where to go on to as a form says, if that is one of our pages; else the first."""
    return target if _OURS.fullmatch(target) and "//" not in target else PATH


def _operator(request: Request) -> Operator:
    operator: Operator = request.state.operator
    return operator


def _form(request: Request) -> Form:
    sent: Form = request.state.form
    return sent


SignedIn = Annotated[Operator, Depends(_operator)]
Sent = Annotated[Form, Depends(_form)]


def _searched(request: Request, operator: SignedIn, search: str = "") -> str:
    if not search:
        return ""
    auth: AdminAuth = request.app.state.admin_auth
    text = auth.searched(request, operator, search)
    if text is None:
        raise HTTPException(
            410, "This browser no longer knows what was searched for: search again."
        )
    return text


Searched = Annotated[str, Depends(_searched)]
"""What was searched for: in the URL is the id of a search, see `to_results`."""


def to_results(
    request: Request, operator: Operator, path: str, text: str, *, anchor: str = ""
) -> Response:
    """Send the browser on to what a search finds, with nothing of its text in the URL.

    Args:
        request: Of the form.
        operator: Who searches.
        path: Below `/admin`, of a handler that takes `Searched`; its query may have begun.
        text: Empty for everything.
        anchor: Part of the page, such as `#roster`.
    """
    response = redirect(path + anchor)
    if text:
        auth: AdminAuth = request.app.state.admin_auth
        search_id = auth.remember_search(request, response, operator, text)
        joint = "&" if "?" in path else "?"
        response.headers["location"] = f"{PATH}{path}{joint}search={search_id}{anchor}"
    return response


def error_page(
    request: Request, status: int, title: str, detail: str, *, back: str = ""
) -> HTMLResponse:
    """A page that says why there is no other.

    Args:
        request: Whose answer it is.
        status: HTTP status.
        title: What went wrong.
        detail: What to do.
        back: Path below `/admin` of where the request came from, if it is known.
    """
    return render(request, "error.html", http_status=status, title=title, detail=detail, back=back)


def _before(request: Request) -> str:
    """The page on which the button was that a POST came from: forms post below their page."""
    if request.method != "POST":
        return ""
    page = route_path(request.scope).removeprefix(PATH).rpartition("/")[0]
    return "" if page == "/delivery" else page


def describe(error: ReminderError) -> str:
    """What is wrong, and with which field if it is one."""
    said = str(error)
    if not isinstance(error, InvalidInputError) or said.startswith(f"{error.field} "):
        return said
    if said.startswith("the subject template "):  # which is the label of that field
        return said[:1].upper() + said[1:]
    return f"{error.field}: {said}"


def _error_page(request: Request, error: Exception) -> Response:
    """What people are shown instead; a mistake in our program is told to the log."""
    if isinstance(error, SignInNeededError):
        return _to_sign_in(request)
    if isinstance(error, ForbiddenError):
        return error_page(request, 403, "Not allowed", str(error))
    if isinstance(error, RequestValidationError):
        error = _in_query(error)
    if isinstance(error, HTTPException):
        title = _TITLES.get(error.status_code, "Not possible")
        return error_page(request, error.status_code, title, str(error.detail))
    known = understood(error)
    if known is None:
        logger.error("%s %s", request.method, request.url.path, exc_info=error)
        return error_page(
            request, 500, "Something went wrong here", "The log of the API says what."
        )
    if isinstance(known, InvalidInputError):
        return error_page(request, known.status, "Not acceptable", describe(known))
    if known.status == 500:
        logger.error("%s %s: %s", request.method, request.url.path, known)
        return error_page(request, 500, "Something is not set up", "The log of the API says what.")
    if isinstance(known, ServiceUnavailableError):
        logger.warning("%s %s: %s", request.method, request.url.path, known)
        is_stored = STORED in str(known)
        title = "Stored, but Temporal does not answer" if is_stored else known.title
        detail = _STORED if is_stored else str(known)
        page = error_page(request, known.status, title, detail, back=_before(request))
        page.headers["Retry-After"] = str(RETRY_AFTER)
        return page
    return error_page(request, known.status, known.title, str(known))


def _in_query(error: RequestValidationError) -> Exception:
    """What an address is wrong in: a parameter of its query, or else there is no such page."""
    where, *names = error.errors()[0]["loc"]
    if where == "query":
        return InvalidInputError(error.errors()[0]["msg"], field=str(names[0]))
    return HTTPException(404, "There is no such page: its address is not a valid one.")


def _to_sign_in(request: Request) -> Response:
    if "hx-request" in request.headers:  # part of a page: have the whole page ask
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    if request.method != "GET":
        return redirect("/sign-in")
    wanted = route_path(request.scope) + (f"?{request.url.query}" if request.url.query else "")
    return redirect(f"/sign-in?next={quote(wanted, safe='')}")
