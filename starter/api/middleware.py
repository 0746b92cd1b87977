"""What every request and answer passes: bodies bounded, `HEAD` as `GET`, measured, headers for browsers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reminders.budget import one_budget
from starter.api.errors import refused
from starter.api.reading import route_path

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds."""
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_JSON = ("application/json", "application/problem+json")
_OF_DATA = "default-src 'none'; frame-ancestors 'none'"
_OF_PAGES = "frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
"""The least for pages, which say more themselves."""


@dataclass(frozen=True, slots=True)
class HeadLikeGet:
    """`HEAD` answers wherever `GET` does: the same, without the body (RFC 9110 §9.3.2)."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as a `GET`, and only the head of the answer back."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        # A copy: the server, too, looks at the method to know that no body follows.
        asked = {**scope, "method": "GET"}

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start" and "route" in asked:
                scope["route"] = asked["route"]  # whoever measures wants to know
            elif message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app(asked, receive, without_body)


class Measure:
    """Counts requests, and how fast they are answered, by route: ids and tokens in paths are not seen."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "reminders_http_requests",
            "Requests that the API answered.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._latency = Histogram(
            "reminders_http_request_seconds",
            "How long the API took to answer.",
            ["method", "route"],
            buckets=_LATENCY,
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at the first line of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else _NO_ROUTE
                route = getattr(scope.get("route"), "path", _NO_ROUTE)
                self._requests.labels(method, route, str(message["status"])).inc()
                self._latency.labels(method, route).observe(monotonic() - started)
            await send(message)

        await self._app(scope, receive, counted)


@dataclass(frozen=True, slots=True)
class SecurityHeaders:
    """Keeps browsers from framing, sniffing, caching and leaking the address of what is answered."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                protect(MutableHeaders(scope=message))
            await send(message)

        await self.app(scope, receive, protected)


@dataclass(frozen=True, slots=True)
class OneBudget:
    """Bounds how long a request waits, in all, for parts that do not answer; see `reminders.budget`."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        with one_budget():
            await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Refuses bodies that are too large, announced or not, before they are in memory.

    Starlette's own middleware answers an announced one with plain text, not with a problem document.
    """

    app: ASGIApp
    largest: int
    """Bytes."""
    elsewhere: Mapping[str, int]
    """Bytes, by patterns of the paths for which another limit holds."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count while its body is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = route_path(scope)
        largest = next(
            (most for pattern, most in self.elsewhere.items() if re.fullmatch(pattern, path)),
            self.largest,
        )
        too_large = HTTPException(413, detail=f"The body is larger than {largest} bytes.")
        announced = dict(scope["headers"]).get(b"content-length", b"")
        if announced.isdigit() and int(announced) > largest:
            response = await refused(Request(scope), too_large)
            await response(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > largest:
                raise too_large
            return message

        await self.app(scope, counted, send)


def protect(headers: MutableHeaders) -> None:
    """Add what is missing; what a page says itself is left."""
    is_data = headers.get("content-type", "").partition(";")[0] in _JSON
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("X-Frame-Options", "DENY")
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers.setdefault("Content-Security-Policy", _OF_DATA if is_data else _OF_PAGES)
    if is_data:
        headers.setdefault("Cache-Control", "no-store")
