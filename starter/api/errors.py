"""Every error of the API as a problem document (RFC 9457), from one table.

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
    ConfigurationError,
    ConflictError,
    DatabaseUnavailableError,
    DeliveryError,
    EnrollmentNotFoundError,
    InvalidAddressError,
    InvalidInputError,
    LinkNotFoundError,
    NotFoundError,
    PlatformOwnedError,
    ReminderError,
    ReminderNotFoundError,
    RenderError,
    RuleExistsError,
    RuleNotFoundError,
    SameLeadError,
    SendRefusedError,
    ServiceUnavailableError,
    SessionNotFoundError,
    TemporalUnavailableError,
    TooManyTestsError,
    UserNotFoundError,
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of error is told."""

    slug: str
    status: HTTPStatus
    title: str


_KINDS: dict[type[ReminderError], _Kind] = {
    SessionNotFoundError: _Kind("session-not-found", HTTPStatus.NOT_FOUND, "No such session"),
    UserNotFoundError: _Kind("user-not-found", HTTPStatus.NOT_FOUND, "No such user"),
    EnrollmentNotFoundError: _Kind("enrollment-not-found", HTTPStatus.NOT_FOUND, "Not enrolled"),
    ReminderNotFoundError: _Kind("reminder-not-found", HTTPStatus.NOT_FOUND, "No such reminder"),
    RuleNotFoundError: _Kind("rule-not-found", HTTPStatus.NOT_FOUND, "No such reminder rule"),
    RuleExistsError: _Kind("rule-exists", HTTPStatus.CONFLICT, "There is such a rule already"),
    SameLeadError: _Kind("same-lead", HTTPStatus.CONFLICT, "Two rules would be due at once"),
    SendRefusedError: _Kind("send-refused", HTTPStatus.CONFLICT, "Not to be sent"),
    ConflictError: _Kind("conflict", HTTPStatus.CONFLICT, "Not as things are"),
    LinkNotFoundError: _Kind("link-not-found", HTTPStatus.NOT_FOUND, "No such link"),
    NotFoundError: _Kind("not-found", HTTPStatus.NOT_FOUND, "No such thing"),
    PlatformOwnedError: _Kind(
        "platform-owned", HTTPStatus.CONFLICT, "The platform owns its tables"
    ),
    InvalidInputError: _Kind(
        "invalid-request", HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not acceptable"
    ),
    WebhookSignatureError: _Kind(
        "signature-invalid", HTTPStatus.UNAUTHORIZED, "The signature is not valid"
    ),
    DatabaseUnavailableError: _Kind(
        "database-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "PostgreSQL does not answer"
    ),
    TemporalUnavailableError: _Kind(
        "temporal-unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "Temporal does not answer"
    ),
    ServiceUnavailableError: _Kind(
        "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "A part of the system is away"
    ),
    TooManyTestsError: _Kind(
        "too-many-tests", HTTPStatus.TOO_MANY_REQUESTS, "Not so many test e-mails at once"
    ),
    RenderError: _Kind("not-renderable", HTTPStatus.CONFLICT, "The e-mail cannot be made"),
    InvalidAddressError: _Kind("not-renderable", HTTPStatus.CONFLICT, "The e-mail cannot be made"),
    DeliveryError: _Kind(
        "provider-refused", HTTPStatus.BAD_GATEWAY, "The provider did not take the e-mail"
    ),
    ConfigurationError: _Kind(
        "misconfigured", HTTPStatus.INTERNAL_SERVER_ERROR, "The server is not set up correctly"
    ),
}
"""The nearest class in an error's ancestry counts."""

_HTTP_KINDS = {
    400: ("malformed-body", "The body cannot be read"),
    404: ("no-such-path", "No such path"),
    405: ("method-not-allowed", "Method not allowed"),
    413: ("body-too-large", "The body is too large"),
}
"""What the framework and `starter.api.body_limit` refuse."""
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


class UnauthorizedError(Exception):
    """The request carries no key that is known here."""

    def __init__(self, detail: str, *, challenge: str) -> None:
        """Say what to send.

        Args:
            detail: For people.
            challenge: Value of `WWW-Authenticate`.
        """
        super().__init__(detail)
        self.challenge = challenge


class ForbiddenError(Exception):
    """The request's key is known, and may not do this."""


class TooManyRequestsError(Exception):
    """The caller has asked too often."""

    def __init__(self, retry_after: int) -> None:
        """Say when to come again, in seconds."""
        super().__init__(f"Too many requests; come again in {retry_after} s.")
        self.retry_after = retry_after


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
    app.add_exception_handler(UnauthorizedError, _unauthorized)
    app.add_exception_handler(ForbiddenError, _forbidden)
    app.add_exception_handler(TooManyRequestsError, _too_many)
    app.add_exception_handler(ReminderError, _failure)
    for foreign in FOREIGN:
        app.add_exception_handler(foreign, _failure)
    app.add_middleware(Mistakes)


class Mistakes:
    """Answers 500 to what raised an unexpected error.

    The framework's own way raises the error once more after its answer, so that the server drops
    the connection without having said so, and with it the caller's next request. Here the answer
    is the end of it, and whoever measures sees it. Only an answer that has begun is broken off.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def noticed(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noticed)
        except Exception:
            if has_begun:
                raise
            request = Request(scope)
            logger.exception("%s %s", scope["method"], _logged_path(request))
            await _mistaken(request)(scope, receive, send)


async def refused(request: Request, error: Exception) -> Response:
    """What the framework refuses: 400, 404, 405, 413."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    status = HTTPStatus(error.status_code)
    slug, title = _HTTP_KINDS.get(status, (f"http-{status}", status.phrase))
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
        for route in request.app.routes
        # `HEAD` is asked for as `GET`, see `starter.api.head`.
        if route.matches({**request.scope, "method": method if method != "HEAD" else "GET"})[0]
        is Match.FULL
    ]


async def _validation_error(request: Request, error: Exception) -> Response:
    """A body, path or query that is not as documented; the values themselves are not repeated."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = [_field_error(wrong) for wrong in error.errors()]
    if any(wrong["loc"] == ("body",) for wrong in error.errors()) and not is_json(request):
        message = "is not sent as JSON; say `Content-Type: application/json`"
        found = [{"field": "body", "message": message}]
    return _unacceptable(request, found)


async def _unauthorized(request: Request, error: Exception) -> Response:
    assert isinstance(error, UnauthorizedError)  # noqa: S101 - registered for it
    return problem(
        request,
        HTTPStatus.UNAUTHORIZED,
        slug="unauthorized",
        title="An API key is needed",
        detail=str(error),
        headers={"WWW-Authenticate": error.challenge},
    )


async def _forbidden(request: Request, error: Exception) -> Response:
    return problem(
        request,
        HTTPStatus.FORBIDDEN,
        slug="forbidden",
        title="This API key may not do that",
        detail=str(error),
    )


async def _too_many(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooManyRequestsError)  # noqa: S101 - registered for it
    return problem(
        request,
        HTTPStatus.TOO_MANY_REQUESTS,
        slug="too-many-requests",
        title="Too many requests",
        detail=str(error),
        headers={"Retry-After": str(error.retry_after)},
    )


async def _failure(request: Request, error: Exception) -> Response:
    """An error of ours, or one that `understood` puts into our words."""
    known = understood(error)
    kind = next((_KINDS[c] for c in type(known).__mro__ if c in _KINDS), None)
    if known is None or kind is None:
        raise error
    if isinstance(known, InvalidInputError):
        return _unacceptable(request, [{"field": known.field, "message": str(known)}])
    detail, headers = str(known), {}
    if kind.status is HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s: %s", request.method, _logged_path(request), known)
        detail = _INTERNAL
    if isinstance(known, TooManyTestsError):
        headers = {"Retry-After": str(round(known.retry_after.total_seconds()))}
    if kind.status is HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Svix"}
    if kind.status is HTTPStatus.SERVICE_UNAVAILABLE:
        logger.warning("%s %s: %s", request.method, _logged_path(request), known)
        headers = {"Retry-After": str(RETRY_AFTER)}
    return problem(
        request, kind.status, slug=kind.slug, title=kind.title, detail=detail, headers=headers
    )


def _logged_path(request: Request) -> str:
    """The path without the token of an attendee's link, which is a credential."""
    token = request.path_params.get("token")
    path: str = request.scope["path"]
    return path.replace(token, "...") if token else path


def _mistaken(request: Request) -> Response:
    """The answer to a request that met a mistake in our program: nothing of the inside."""
    return problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        slug="internal-error",
        title="Something went wrong here",
        detail=_INTERNAL,
    )


def _unacceptable(request: Request, errors: Sequence[Mapping[str, str]]) -> Response:
    kind = _KINDS[InvalidInputError]
    first = errors[0]
    detail = f"{first['field']}: {first['message']}"
    if len(errors) > 1:
        detail += f" (and {len(errors) - 1} more)"
    return problem(
        request, kind.status, slug=kind.slug, title=kind.title, detail=detail, errors=errors
    )


def _field_error(found: Mapping[str, Any]) -> dict[str, str]:
    """A validation error, with the field's own name and without the value."""
    if found["type"] == "json_invalid":
        return {"field": "body", "message": f"is not JSON from character {found['loc'][-1]} on"}
    if found["type"] == "model_attributes_type":
        return {"field": _field(found), "message": "is no JSON object"}
    return {"field": _field(found), "message": found["msg"]}


def _field(found: Mapping[str, Any]) -> str:
    """Where it is, in the caller's words: without `body`, `path` or `query` before it."""
    where = [str(part) for part in found["loc"]]
    return (".".join(where[1:]) or where[0])[:_LONGEST_FIELD]
