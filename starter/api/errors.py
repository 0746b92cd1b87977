"""Every error of the API as a problem document (RFC 9457), from what its class says of itself.

`type` is stable, and the only thing a program should look at besides the status. A 500 shows
nothing of the inside; its log line does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reminders.domain.errors import (
    InvalidInputError,
    ReminderError,
    ServiceUnavailableError,
    TooManyTestsError,
    WebhookSignatureError,
)
from starter.api.reading import is_json
from starter.services.failures import FOREIGN, understood

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPES = "urn:session-reminders:problem:"
RETRY_AFTER = 5
"""Seconds; about what a restart of PostgreSQL or Temporal takes."""
_LONGEST_FIELD = 100


HTTP_KINDS = {
    400: ("malformed-body", "The body cannot be read"),
    404: ("no-such-path", "No such path"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "The body is too large"),
}
"""What the framework and `BodyLimit` refuse."""
_INTERNAL = "The cause is in the server's log; `reminders doctor` may name it."


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(examples=["start_time"])
    message: str = Field(examples=["has no UTC offset"])


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str = Field(examples=[f"{TYPES}session-not-found"])
    """Stable name of the kind of error."""
    title: str
    status: int
    detail: str
    """What is wrong with this request, and what to do."""
    instance: str
    """Path of the request."""
    errors: list[FieldError] | None = None
    """Of a 422 only."""


class RefusalError(Exception):
    """A request that is turned away whatever it asks for; its message says why, to the caller."""

    slug: str
    status: int
    title: str

    def __init__(self, detail: str, headers: Mapping[str, str] | None = None) -> None:
        """Say what is wrong, and what the caller's program needs to know."""
        super().__init__(detail)
        self.headers = headers


class UnauthorizedError(RefusalError):
    """The request carries no key that is known here."""

    slug = "unauthorized"
    status = 401
    title = "An API key is needed"


class ForbiddenError(RefusalError):
    """The request's key is known, and may not do this."""

    slug = "forbidden"
    status = 403
    title = "This API key may not do that"


class TooManyRequestsError(RefusalError):
    """The caller has asked too often."""

    slug = "too-many-requests"
    status = 429
    title = "Too many requests"

    def __init__(self, retry_after: int) -> None:
        """Say when to try again, in seconds."""
        super().__init__(
            f"Too many requests; try again in {retry_after} s.", {"Retry-After": str(retry_after)}
        )


class MalformedHostError(RefusalError):
    """The request does not say for which server it is, or not in a way that can be read."""

    slug = "malformed-host"
    status = 400
    title = "The header Host is not well-formed"


class OtherOriginError(RefusalError):
    """A web page that is not ours has a browser ask."""

    slug = "another-origin"
    status = 403
    title = "Pages of other origins may change nothing here"

    def __init__(self) -> None:
        super().__init__(
            "A web page of another origin asks. Without API_KEYS only programs of this"
            " machine and our own pages may change something; set API_KEYS for others."
        )


class WebhooksNotConfiguredError(RefusalError):
    """There is no secret to check the provider's signature with."""

    slug = "webhooks-not-configured"
    status = 404
    title = "Webhooks are not configured"


def problem(
    request: Request,
    status: int,
    *,
    slug: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **more: object,
) -> Response:
    """A problem document as the answer to a request.

    Args:
        request: Whose path becomes `instance`.
        status: HTTP status.
        slug: Last part of `type`.
        title: The same for every problem of this type.
        detail: What is special about this one.
        headers: Of the response.
        more: Further members of the document; must fit into JSON.
    """
    content = {
        "type": TYPES + slug,
        "title": title,
        "status": int(status),
        "detail": detail,
        "instance": request.scope["path"],
        **more,
    }
    # ASCII only: a lone surrogate in a caller's field name could not be encoded otherwise.
    return Response(json.dumps(content), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of an application with a problem document."""
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(RefusalError, refusal)
    app.add_exception_handler(ReminderError, _failure)
    for foreign in FOREIGN:
        app.add_exception_handler(foreign, _failure)
    app.add_middleware(Mistakes)


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Answers 500 to what raised an unexpected error.

    The framework's own way raises the error once more after its answer, so that the server drops
    the connection without having said so, and with it the caller's next request. Here the answer
    is the end of it, and whoever measures sees it. Only an answer that has begun is broken off.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = False

        async def noticed(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noticed)
        except Exception:
            if has_begun:
                raise
            request = Request(scope)
            logger.exception("%s %s", scope["method"], _logged_path(request))
            response = _described(request, ReminderError(), detail=_INTERNAL)
            await response(scope, receive, send)


async def refused(request: Request, error: Exception) -> Response:
    """What the framework refuses: 400, 404, 405, 413."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    status = HTTPStatus(error.status_code)
    slug, title = HTTP_KINDS.get(status, (f"http-{status}", status.phrase))
    detail = {
        404: "There is no such path; /docs lists all.",
        405: f"{request.method} is not allowed here.",
    }.get(status, str(error.detail))
    headers = {"Allow": ", ".join(_allowed(request))} if status == 405 else error.headers
    return problem(request, status, slug=slug, title=title, detail=detail, headers=headers)


def _allowed(request: Request) -> list[str]:
    """All methods of a path; the framework names those of the first route that has it."""
    return [
        method
        for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE")
        # `HEAD` is asked for as `GET`, see `HeadLikeGet`.
        if any(
            route.matches({**request.scope, "method": method.replace("HEAD", "GET")})[0]
            is Match.FULL
            for route in request.app.routes
        )
    ]


async def _validation_error(request: Request, error: Exception) -> Response:
    """A body, path or query that is not as documented; the values themselves are not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = [_field_error(wrong) for wrong in error.errors()]
    if any(wrong["loc"] == ("body",) for wrong in error.errors()) and not is_json(request):
        message = "is not sent as JSON; say `Content-Type: application/json`"
        found = [{"field": "body", "message": message}]
    return _unacceptable(request, found)


async def refusal(request: Request, error: Exception) -> Response:
    """The answer to a request that is turned away."""
    assert isinstance(error, RefusalError)  # noqa: S101 - registered for it
    return _described(request, error, headers=error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    """An error of ours, or one that `understood` puts into our words."""
    known = understood(error)
    if known is None:
        raise error
    if isinstance(known, InvalidInputError):
        return _unacceptable(request, [{"field": known.field, "message": str(known)}])
    if known.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s: %s", request.method, _logged_path(request), known)
        return _described(request, known, detail=_INTERNAL)
    headers = {}
    if isinstance(known, TooManyTestsError):
        headers = {"Retry-After": str(round(known.retry_after.total_seconds()))}
    elif isinstance(known, WebhookSignatureError):
        headers = {"WWW-Authenticate": "Svix"}
    elif isinstance(known, ServiceUnavailableError):
        logger.warning("%s %s: %s", request.method, _logged_path(request), known)
        headers = {"Retry-After": str(RETRY_AFTER)}
    return _described(request, known, headers=headers)


def _described(
    request: Request,
    error: ReminderError | RefusalError,
    *,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The problem document of an error, as its class has it."""
    return problem(
        request,
        error.status,
        slug=error.slug,
        title=error.title,
        detail=detail or detail_of(error),
        headers=headers,
    )


def detail_of(error: ReminderError | RefusalError) -> str:
    """What is wrong, and what to do about it over HTTP."""
    remedy = error.remedy if isinstance(error, ReminderError) else None
    return f"{error} {remedy}." if remedy else str(error)


def _logged_path(request: Request) -> str:
    """The path without the token of an attendee's link, which is a credential."""
    token = request.path_params.get("token")
    path: str = request.scope["path"]
    return path.replace(token, "...") if token else path


def _unacceptable(request: Request, errors: Sequence[Mapping[str, str]]) -> Response:
    first = errors[0]
    detail = f"{first['field']}: {first['message']}"
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more)"
    kind = InvalidInputError
    return problem(
        request, kind.status, slug=kind.slug, title=kind.title, detail=detail, errors=errors
    )


def _field_error(found: Mapping[str, Any]) -> dict[str, str]:
    """A validation error, with the field's own name and without the value."""
    if found["type"] == "json_invalid":
        return {"field": "body", "message": f"is not JSON from character {found['loc'][-1]} on"}
    if found["type"] == "model_attributes_type":
        return {"field": _field(found), "message": "is not a JSON object"}
    return {"field": _field(found), "message": found["msg"]}


def _field(found: Mapping[str, Any]) -> str:
    """Where it is, in the caller's words: without `body`, `path` or `query` before it."""
    where = [str(part) for part in found["loc"]]
    return (".".join(where[1:]) or where[0])[:_LONGEST_FIELD]
