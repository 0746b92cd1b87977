"""Who may ask: the platform with a key, or, while no key is set, this machine only.

Enforced by the route itself, before anything of the request's body is read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import SecretStr

from reminders.settings import is_loopback
from starter.problems import UnauthorizedError

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="One of `API_KEYS`. Without any configured, this machine needs none.",
)
"""Says in the documentation what `GuardedRoute` enforces."""

_CHALLENGE = 'Bearer realm="session-reminders"'


class GuardedRoute(APIRoute):
    """A route for those who may ask; needs `Settings` as `app.state.settings`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind the guard."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            authorize(request, request.app.state.settings.api_keys)
            return await handle(request)

        return guarded


def authorize(request: Request, keys: tuple[SecretStr, ...]) -> None:
    """Let a request pass, or refuse it.

    Args:
        request: With its `Authorization` header.
        keys: Those that are good; without any, only this machine may ask.

    Raises:
        UnauthorizedError: If it may not pass.
    """
    if not keys:
        if not is_from_this_machine(request):
            msg = "No API_KEYS are set here, so only this machine may ask."
            raise UnauthorizedError(msg, challenge=_CHALLENGE)
        return
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip():
        msg = "Send the header `Authorization: Bearer <API key>`."
        raise UnauthorizedError(msg, challenge=_CHALLENGE)
    if not _is_known(credentials.strip(), keys):
        msg = "This API key is not one of API_KEYS."
        raise UnauthorizedError(msg, challenge=f'{_CHALLENGE}, error="invalid_token"')


def _is_known(credentials: str, keys: tuple[SecretStr, ...]) -> bool:
    """Compare with every key, in a time that tells nothing about any of them."""
    digest = _digest(credentials)
    matches = [hmac.compare_digest(digest, _digest(key.get_secret_value())) for key in keys]
    return any(matches)


def _digest(secret: str) -> bytes:
    """All secrets at one length, which is what a constant-time comparison needs."""
    return sha256(secret.encode(errors="surrogatepass")).digest()


def is_from_this_machine(request: Request) -> bool:
    """Whether a program on this machine asks, rather than a web page open in a browser on it.

    A page elsewhere can have its own domain name resolve to 127.0.0.1 (DNS rebinding); the `Host`
    header then still carries that name. Names without a dot resolve to nothing public.
    """
    client = request.client
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    return (
        client is not None and is_loopback(client.host) and (is_loopback(host) or "." not in host)
    )
