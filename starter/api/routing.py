"""What all routes of the API share: API keys, their parts, who acts, and words for `/docs`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from reminders.db.audit import By
from starter.api.auth import KeyRoute, bearer
from starter.api.models import ReasonBody
from starter.api.reading import router
from starter.assembly import Parts

CREATED = 201
ACCEPTED = 202

Documented = dict[int | str, dict[str, Any]]
"""Descriptions of answers by status."""

_UNAUTHORIZED: Documented = {401: {"description": "No API key, or none that is known"}}
_FORBIDDEN: Documented = {
    403: {
        "description": "The API key may only ask, and this changes something; or there are no keys,"
        " and a web page of another origin asks"
    }
}
_TOO_MANY: Documented = {429: {"description": "Too often; try again after `Retry-After`"}}
_UNAVAILABLE: Documented = {
    503: {"description": "PostgreSQL or Temporal is away; repeat the same call after `Retry-After`"}
}
INVALID: Documented = {422: {"description": "Not acceptable; `errors` names the fields"}}
BODY: Documented = {
    400: {"description": "The body is not text, so it cannot be JSON"},
    413: {"description": "The body is larger than 64 KiB"},
    **INVALID,
}
NO_SESSION: Documented = {404: {"description": "There is no such session"}}
PLATFORM_OWNED: Documented = {
    409: {"description": "The platform's own (`DATABASE_MODE=existing`): to be changed there"}
}
NO_ENROLLMENT: Documented = {
    404: {"description": "No such session, or the user never was enrolled in it"}
}
CONFLICT: Documented = {409: {"description": "Not as things are; `detail` says the remedy"}}


def parts_of(request: Request) -> Parts:
    """The parts that a request is answered with."""
    parts: Parts = request.app.state.parts
    return parts


def _caller(request: Request) -> str:
    caller: str = request.state.caller
    return caller


Answering = Annotated[Parts, Depends(parts_of)]
"""The parameter of a handler that is answered with the parts."""
Caller = Annotated[str, Depends(_caller)]
"""Who asks, as the audit log says it: `api`, with the name of the key if it has one."""


def by(caller: str, body: ReasonBody | None) -> By:
    """A program with an API key, and its reason if it gives one."""
    return By(caller, body.reason if body else None)


def v1_router(tag: str) -> APIRouter:
    """A router below `/v1` whose every route asks for an API key.

    Args:
        tag: Under which `/docs` shows its routes.
    """
    return router(
        prefix="/v1",
        tags=[tag],
        route_class=KeyRoute,
        dependencies=[Depends(bearer)],
        responses={**_UNAUTHORIZED, **_FORBIDDEN, **_TOO_MANY, **_UNAVAILABLE},
    )


def created(model: type[Any], what: str) -> Documented:
    """The documentation of a 201 beside the usual 200."""
    return {CREATED: {"model": model, "description": what}}


def under_way(model: type[Any]) -> Documented:
    """The documentation of a 202 beside the usual 200."""
    return {
        ACCEPTED: {"model": model, "description": "It is stored; a workflow brings it to everybody"}
    }
