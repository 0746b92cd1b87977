"""What a request says: looked at before its handler runs, whichever route it is for.

*Text* must be what PostgreSQL can store: it stores no NUL, and a lone surrogate, half of a character,
is not text at all. Both would fail where they are stored, long after somebody could have said which
field has them.

*Parameters* that are not understood must not be passed over: `?dry_run=true` where nobody knows it
would act. So the parameters that a route declares are all that it takes, and each once.

*Bodies* are read once and strictly; the framework passes over what is odd in JSON.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from reminders.domain.errors import InvalidInputError

DEEPEST = 20
"""Levels of arrays and objects within each other; ours have three."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_BODY = "body"
_TRACKING = re.compile(r"utm_\w+|\w*clid|mc_[ce]id|_hs\w+|mkt_tok|oly_\w+|vero_\w+|_ke", re.ASCII)
"""Parameters that count who follows a link."""


def refuse_unstorable(text: str, field: str) -> None:
    """Let text pass that can be stored.

    Args:
        text: As it came in.
        field: Where it stands, in the caller's words.

    Raises:
        InvalidInputError: If it has NUL or half a character.
    """
    if _UNSTORABLE.search(text):
        raise InvalidInputError("has a character that cannot be stored", field=field)


def route_path(scope: Scope) -> str:
    """The path as our routes have it: without what a proxy, or `--root-path`, puts before it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class LinkRoute(APIRoute):
    """A route that links in e-mails lead to: its path is a token, which we made or did not.

    Programs on the way add parameters. Opening a link changes nothing, whatever was added to it;
    calendar programs add some, too, so that nothing between keeps an old file. A POST acts: there
    only what is known to be added for counting is passed over, so that nobody who asks to stop
    is turned away because of it.
    """

    def passes_over(self, method: str, name: str) -> bool:
        """Whether a parameter that is not understood changes nothing."""
        return method == "GET" or _TRACKING.fullmatch(name) is not None


class Files(StaticFiles):
    """Files, as the pages name them: with `v`, which changes with their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or what keeps it from being sent.

        Raises:
            HTTPException: If there is none, or the address is not one of ours.
        """
        try:
            refuse_unstorable(path, "path")
            _known(Request(scope), frozenset({"v"}))
        except InvalidInputError as error:
            raise HTTPException(422, detail=f"{error.field}: {error}") from None
        return await super().get_response(path, scope)


async def well_formed(request: Request) -> None:
    """Let a request pass that says nothing unknown, nothing twice, and nothing but text.

    Every route of an application depends on it. It runs once the caller is known to be one who may
    ask, and before anything is done.

    Raises:
        InvalidInputError: Otherwise; names the field of path or query, or the header.
    """
    route: APIRoute = request.scope["route"]
    passed_over: frozenset[str] = frozenset()
    if isinstance(route, LinkRoute):
        names = request.query_params
        passed_over = frozenset(n for n in names if route.passes_over(request.method, n))
    else:
        for name, value in request.path_params.items():
            refuse_unstorable(str(value), name)
    for name, value in request.headers.items():
        refuse_unstorable(value, name)
    _known(request, frozenset(_parameters(route.dependant)), passed_over)


def router(*, dependencies: Sequence[Any] = (), **options: Any) -> APIRouter:  # noqa: ANN401
    """A router, as `APIRouter`, of routes that take well-formed requests only.

    An application takes its routes as they are: `include_router` would work each of them out anew.
    """
    return APIRouter(
        dependencies=[Depends(well_formed), *dependencies],
        generate_unique_id_function=lambda route: route.name,  # `enroll`, `put_session`: verbs
        **options,
    )


def _known(
    request: Request, known: frozenset[str], passed_over: frozenset[str] = frozenset()
) -> None:
    seen = set()
    for name, value in request.query_params.multi_items():
        if name not in known:
            if name in passed_over:
                continue
            raise InvalidInputError("is not a parameter of this path", field=name)
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


class StrictRequest(Request):
    """Reads JSON by `read_json`, in place of the framework."""

    async def read(self, *, takes_body: bool) -> None:
        """Read the body, before the framework looks for it.

        Args:
            takes_body: Whether its route wants one.

        Raises:
            InvalidInputError: If it is not acceptable, or is there and nobody would read it.
            HTTPException: If it is too large, is not text or ends early.
        """
        try:
            body = await self.body()
        except ClientDisconnect as error:
            raise HTTPException(400, "The body ended early.") from error
        if body and not takes_body:
            raise InvalidInputError("is not read here; leave it out", field="body")
        if body and is_json(self):
            await self.json()

    async def json(self) -> Any:  # noqa: ANN401 - whatever JSON may say
        """What the body says; see `read_json` for what it raises."""
        if not hasattr(self, "_json"):
            self._json = read_json(await self.body())
        return self._json


def is_json(request: Request) -> bool:
    """Whether a body says of itself that it is JSON, as the framework wants it before reading."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def read_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON may say
    """What a body of JSON says, each name of an object once.

    Raises:
        HTTPException: If it is not text.
        InvalidInputError: If it is not JSON (RFC 8259), nests too deeply, says a name twice, or has
            text that cannot be stored; names the field.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HTTPException(400, detail="The body is not UTF-8.") from None
    try:
        content = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        message = f"is not JSON from character {error.pos} on"
        raise InvalidInputError(message, field=_BODY) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # more digits than Python reads
        raise InvalidInputError("has a number that is too long", field=_BODY) from None
    _look_through(content)
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that comes twice may mean either, so it means neither."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise InvalidInputError("is given more than once", field=twice)
    return found


def _no_number(text: str) -> float:
    """Refuse what Python takes for a number and JSON does not."""
    raise InvalidInputError(f"has {text}, which is not a number in JSON", field=_BODY)


def _look_through(content: Any) -> None:  # noqa: ANN401 - whatever JSON may say
    """Look at every text in a document, without recursion."""
    left: list[tuple[Any, tuple[str, ...]]] = [(content, ())]
    while left:
        value, where = left.pop()
        if isinstance(value, str):
            refuse_unstorable(value, ".".join(where) or _BODY)
            continue
        if isinstance(value, dict):
            for name in value:
                refuse_unstorable(name, ".".join(where) or _BODY)
            inner: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list):
            inner = enumerate(value)
        else:
            continue
        if len(where) == DEEPEST:
            raise _too_deep()
        left += [(part, (*where, str(name))) for name, part in inner]


def _too_deep() -> InvalidInputError:
    return InvalidInputError(f"nests deeper than {DEEPEST} levels", field=_BODY)
