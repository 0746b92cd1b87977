"""Who may ask, and how often: the platform with a key, or, while no key is set, this machine only.

Enforced by the route itself, before anything of the request's body is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from math import ceil
from time import monotonic
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from reminders import api_keys
from reminders.api_keys import ApiKey
from reminders.db.audit import asked_by
from reminders.settings import Settings
from starter.api.errors import ForbiddenError, TooManyRequestsError, UnauthorizedError
from starter.api.hosts import is_this_machine
from starter.api.reading import StrictRequest

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="One of `API_KEYS`. Without any configured, this machine needs none.",
)
"""Says in the documentation what `GuardedRoute` enforces."""

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
_LARGEST = 10_000
"""Callers that are remembered; whoever was seen longest ago is forgotten first."""


class RateLimit:
    """A bucket of permits for each caller: a burst, then one every so often; in this process only."""

    def __init__(
        self,
        *,
        burst: int,
        every: float,
        largest: int = _LARGEST,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """All buckets are full.

        Args:
            burst: Permits of a caller who has not asked for long.
            every: Seconds until one more.
            largest: Callers that are remembered at the most.
            now: Seconds since whenever; tests bring their own.
        """
        self._burst = burst
        self._every = every
        self._largest = largest
        self._now = now
        self._empty_until: OrderedDict[str, float] = OrderedDict()
        """When each caller's bucket is full again, least recently seen first."""

    def take(self, caller: str) -> int | None:
        """Use up a permit.

        Returns:
            `None` if there was one, else the whole seconds until the next.
        """
        now = self._now()
        full_at = max(self._empty_until.get(caller, now), now)
        missing = full_at + self._every - now - self._burst * self._every
        if missing > 0:
            return max(ceil(missing), 1)
        self._empty_until[caller] = full_at + self._every
        self._empty_until.move_to_end(caller)
        if len(self._empty_until) > self._largest:
            self._empty_until.popitem(last=False)
        return None


class Guard:
    """Who may ask this application, and how often."""

    def __init__(self, settings: Settings) -> None:
        """Know these keys; nobody has asked yet."""
        self.keys = settings.known_api_keys()
        self.failures = RateLimit(burst=20, every=3)
        """By address. A good key always passes: whoever shares an address with a caller that
        fails is not shut out, and keys are too long to be guessed at any rate."""
        self.costly = RateLimit(burst=30, every=1)
        """By key."""


def install(app: FastAPI, settings: Settings) -> None:
    """Let the guarded routes of an application know who may ask."""
    app.state.guard = Guard(settings)


class GuardedRoute(APIRoute):
    """A route for those who may ask; needs `install`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind the guard."""
        handle = super().get_route_handler()
        path, takes_body = self.path_format, self.body_field is not None

        async def guarded(request: Request) -> Response:
            guard: Guard = request.app.state.guard
            key = authorize(request, guard)
            if (request.method, path) in COSTLY:
                _limit(guard.costly, key.digest.hex() if key else _address(request))
            strict = StrictRequest(request.scope, request.receive)
            await strict.read(takes_body=takes_body)
            with asked_by(key.name if key else None):
                return await handle(strict)

        return guarded


def authorize(request: Request, guard: Guard) -> ApiKey | None:
    """Let a request pass, or refuse it.

    Args:
        request: With its `Authorization` header.
        guard: With the keys that are good; without any, only this machine may ask.

    Returns:
        The key; `None` where none is needed.

    Raises:
        UnauthorizedError: If it may not pass.
        TooManyRequestsError: The same, too often.
        ForbiddenError: If its key may only ask, and this would change something.
    """
    key = authenticate(request, guard)
    if key is not None and key.is_read_only and request.method not in _ASKING:
        msg = f"This API key may only ask; {request.method} needs one that may change things."
        raise ForbiddenError(msg)
    return key


def authenticate(request: Request, guard: Guard) -> ApiKey | None:
    """Find out whose request this is, or refuse it.

    Args:
        request: With its `Authorization` header.
        guard: With the keys that are good; without any, only this machine may ask.

    Returns:
        The key; `None` where none is needed.

    Raises:
        UnauthorizedError: If it may not pass.
        TooManyRequestsError: The same, too often.
    """
    if not guard.keys:
        if not is_this_machine(request):
            msg = "No API_KEYS are set here, so only this machine may ask."
            raise _unauthorized(msg)
        return None
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        _limit(guard.failures, _address(request))
        msg = "Send the header `Authorization: Bearer <API key>`."
        raise _unauthorized(msg)
    key = api_keys.known(credentials.strip(), guard.keys)
    if key is None:
        _limit(guard.failures, _address(request))
        msg = "This API key is not one of API_KEYS."
        raise _unauthorized(msg, ', error="invalid_token"')
    return key


def _unauthorized(detail: str, more: str = "") -> UnauthorizedError:
    return UnauthorizedError(detail, {"WWW-Authenticate": _CHALLENGE + more})


def _limit(limit: RateLimit, caller: str) -> None:
    retry_after = limit.take(caller)
    if retry_after is not None:
        raise TooManyRequestsError(retry_after)


def _address(request: Request) -> str:
    """Where a request comes from; uvicorn has read the proxy's headers, if it may trust them."""
    return request.client.host if request.client else ""
