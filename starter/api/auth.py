"""Who may ask, and how often: the platform with a key, or, while no key is set, this machine only.

Enforced by the route itself, before anything of the request's body is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from time import monotonic
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from reminders import api_keys
from reminders.api_keys import ApiKey
from reminders.settings import Settings
from starter.api.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from starter.api.middleware import caller_address, is_this_machine
from starter.api.reading import StrictRequest

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="One of `API_KEYS`. Without any configured, this machine needs none.",
)
"""Says in the documentation what `KeyRoute` enforces."""

COSTLY = frozenset(
    {
        ("POST", "/v1/sweeps"),
        ("POST", "/v1/reminders/redrive"),
        ("POST", "/v1/reminder-configurations/diff"),
        ("GET", "/v1/runs"),
    }
)
"""Method and path of what reads or starts much with one request."""

_CHALLENGE = 'Bearer realm="session-reminders"'
_ASKING = frozenset({"GET", "HEAD"})


@dataclass(kw_only=True, slots=True)
class RateLimit:
    """A bucket of permits for each caller: a burst, then one every so often; in this process only."""

    burst: int
    """Permits of a caller who has not asked for long."""
    every: float
    """Seconds until one more."""
    largest: int = 10_000
    """Callers that are remembered; whoever was seen longest ago is forgotten first."""
    now: Callable[[], float] = monotonic
    """Seconds since whenever."""
    _full_at: OrderedDict[str, float] = field(default_factory=OrderedDict, init=False)
    """When each caller's bucket is full again, least recently seen first."""

    def take(self, caller: str) -> int | None:
        """Use up a permit.

        Returns:
            `None` if there was one, else the whole seconds until the next.
        """
        now = self.now()
        full_at = max(self._full_at.get(caller, now), now)
        missing = full_at + self.every - now - self.burst * self.every
        if missing > 0:
            return max(ceil(missing), 1)
        self._full_at[caller] = full_at + self.every
        self._full_at.move_to_end(caller)
        if len(self._full_at) > self.largest:
            self._full_at.popitem(last=False)
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask this application, and how often."""

    keys: Sequence[ApiKey]
    failures: RateLimit = field(default_factory=partial(RateLimit, burst=20, every=3))
    """By address. A good key always passes: whoever shares an address with a caller that
    fails is not shut out, and keys are too long to be guessed at any rate."""
    costly: RateLimit = field(default_factory=partial(RateLimit, burst=30, every=1))
    """By key."""


def install(app: FastAPI, settings: Settings) -> None:
    """Let the routes of an application know who may ask."""
    app.state.access = Access(settings.known_api_keys())


class KeyRoute(APIRoute):
    """A route for those who may ask; needs `install`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, once the caller is known to be one who may ask."""
        handle = super().get_route_handler()
        path, takes_body = self.path_format, self.body_field is not None

        async def asked(request: Request) -> Response:
            access: Access = request.app.state.access
            key = authorize(request, access)
            request.state.caller = f"api:{key.name}" if key and key.name else "api"
            if (request.method, path) in COSTLY:
                _limit(access.costly, key.digest.hex() if key else caller_address(request))
            strict = StrictRequest(request.scope, request.receive)
            await strict.read(takes_body=takes_body)
            return await handle(strict)

        return asked


def authorize(request: Request, access: Access) -> ApiKey | None:
    """Find out whose request this is, and let it pass or refuse it.

    Args:
        request: With its `Authorization` header.
        access: With the keys that are good; without any, only this machine may ask.

    Returns:
        The key; `None` where none is needed.

    Raises:
        UnauthorizedError: If it may not pass.
        TooManyRequestsError: The same, too often.
        ForbiddenError: If its key may only ask, and this would change something.
    """
    if not access.keys:
        if not is_this_machine(request):
            raise _unauthorized("No API_KEYS are set here, so only this machine may ask.")
        return None
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        _limit(access.failures, caller_address(request))
        raise _unauthorized("Send the header `Authorization: Bearer <API key>`.")
    key = api_keys.known(credentials.strip(), access.keys)
    if key is None:
        _limit(access.failures, caller_address(request))
        raise _unauthorized("This API key is not one of API_KEYS.", ', error="invalid_token"')
    if key.is_read_only and request.method not in _ASKING:
        msg = f"This API key may only ask; {request.method} needs one that may change things."
        raise ForbiddenError(msg)
    return key


def _unauthorized(detail: str, more: str = "") -> UnauthorizedError:
    return UnauthorizedError(detail, {"WWW-Authenticate": _CHALLENGE + more})


def _limit(limit: RateLimit, caller: str) -> None:
    retry_after = limit.take(caller)
    if retry_after is not None:
        raise TooManyRequestsError(retry_after)
