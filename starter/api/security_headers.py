"""What every answer tells a browser: this is no page to frame, to sniff, to cache or to refer to."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_JSON = ("application/json", "application/problem+json")
_OF_DATA = "default-src 'none'; frame-ancestors 'none'"
_OF_PAGES = "frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
"""The least for pages, which say more themselves."""


def protect(headers: MutableHeaders) -> None:
    """Add what is missing; what a page says itself is left."""
    is_data = headers.get("content-type", "").partition(";")[0] in _JSON
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", _OF_DATA if is_data else _OF_PAGES)
    if is_data:
        headers.setdefault("Cache-Control", "no-store")


class SecurityHeaders:
    """Puts the headers on every answer of an application."""

    def __init__(self, app: ASGIApp) -> None:
        """Guard an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                protect(MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, protected)
