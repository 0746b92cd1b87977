"""What is looked at of every request, whichever route it is for: its text and its query.

A parameter that is not understood must not be passed over: `?dry_run=true` where nobody knows it
would act. So the parameters that a route declares are all that it takes, and each once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from reminders.domain.errors import InvalidInputError
from starter.api.text import refuse_unstorable

_TRACKING = re.compile(r"utm_\w+|\w*clid|mc_[ce]id|_hs\w+|mkt_tok|oly_\w+|vero_\w+|_ke", re.ASCII)
"""Parameters that count who follows a link."""


class LinkRoute(APIRoute):
    """A route that links in e-mails lead to: its path is a token, which we made or did not.

    Programs on the way add parameters. Opening a link changes nothing, whatever was added to it;
    calendar programs add some, too, so that nothing between keeps an old file. A POST acts: there
    only what is known to be added for counting is passed over, so that nobody's wish to stop fails
    because of it.
    """

    def passes_over(self, method: str, name: str) -> bool:
        """Whether a parameter that is not understood changes nothing."""
        return method == "GET" or _TRACKING.fullmatch(name) is not None


class Files(StaticFiles):
    """Files, as the pages name them: with `v`, which changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or what keeps it from being sent.

        Raises:
            HTTPException: If there is none, or its address is none of ours.
        """
        try:
            refuse_unstorable(path, "path")
            _known(Request(scope), frozenset({"v"}))
        except InvalidInputError as error:
            raise HTTPException(422, detail=f"{error.field}: {error}") from None
        return await super().get_response(path, scope)


async def well_formed(request: Request) -> None:
    """Let a request pass that says nothing unknown, nothing twice, and nothing that is no text.

    Every route of an application depends on it. It runs once the caller is known to be one who may
    ask, and before anything is done.

    Raises:
        InvalidInputError: Otherwise; names the field of path or query, or the header.
    """
    route: APIRoute = request.scope["route"]
    known = frozenset(_parameters(route.dependant))
    if isinstance(route, LinkRoute):
        known |= {n for n in request.query_params if route.passes_over(request.method, n)}
    else:
        for name, value in request.path_params.items():
            refuse_unstorable(str(value), name)
    for name, value in request.headers.items():
        refuse_unstorable(value, name)
    _known(request, known)


def _known(request: Request, known: frozenset[str]) -> None:
    seen = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidInputError("is no parameter of this path", field=name)
        if name in seen:
            raise InvalidInputError("is given more than once", field=name)
        refuse_unstorable(value, name)
        seen.add(name)


def _parameters(dependant: Dependant) -> Iterator[str]:
    """The names in a query that a handler, or what it depends on, asks for."""
    for parameter in dependant.query_params:
        kind: Any = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (field.alias or name for name, field in kind.model_fields.items())
        else:
            yield parameter.alias
    for inner in dependant.dependencies:
        yield from _parameters(inner)
