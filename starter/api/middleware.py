"""What every request and answer passes: `Host` and origin looked at, bodies bounded, measured.

`HEAD` is answered as `GET`, and browsers get their headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from time import monotonic

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reminders.budget import one_budget
from reminders.setting_values import is_loopback
from starter.api.errors import MalformedHostError, OtherOriginError, refusal, refused
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


_HOST = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.~!$&'()*+,;=%-]+))(?::(?P<port>\d{0,5}))?",
    re.ASCII,
)
"""`uri-host [":" port]` (RFC 9110 §7.2); a name may have an underscore, as in container networks."""
_LARGEST_PORT = 65_535
_READING = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""
_OWN = frozenset({"same-origin", "none"})
"""What `Sec-Fetch-Site` says of our own pages, and of what a person has typed."""


def host_name(request: Request) -> str:
    """The name or address by which this server was asked for, without brackets and port.

    Empty if the request has none, which HTTP/1.0 allows, or a malformed one.
    """
    found = _HOST.fullmatch(request.headers.get("host", ""))
    return (found["address"] or found["name"]).lower() if found else ""


@dataclass(frozen=True, slots=True)
class WellFormedHost:
    """Answers 400 to a request whose `Host` is missing, repeated or malformed."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and (wrong := _wrong_with(scope)):
            answer = await refusal(Request(scope), MalformedHostError(wrong))
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class OwnPagesOnly:
    """Answers 403 to a page of another origin that would have a browser change something.

    Other sites (`cross-site`), other names below the same one (`same-site`) and other ports of
    this machine are all other origins. Programs send neither `Origin` nor `Sec-Fetch-Site`.
    """

    app: ASGIApp
    but: tuple[str, ...] = ()
    """Beginnings of the paths where every request brings its own proof of what it may do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if (
            scope["type"] == "http"
            and scope["method"] not in _READING
            and not route_path(scope).startswith(self.but)
            and is_of_another_origin(Headers(scope=scope))
        ):
            answer = await refusal(Request(scope), OtherOriginError())
            await answer(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_of_another_origin(headers: Headers, *, also: str | None = None) -> bool:
    """Whether a browser asks because of a page that is not this server's own.

    Args:
        headers: Of the request, with a well-formed `Host`.
        also: Host and port under which our pages are reached as well, through a proxy.
    """
    sites = [site.strip().lower() for site in headers.getlist("sec-fetch-site")]
    if any(site not in _OWN for site in sites):
        return True
    if sites == ["same-origin"]:
        # The browser has compared; `Host` may be another one behind a proxy that rewrites it.
        return False
    own = {_without_default_port(name) for name in (headers.get("host"), also) if name}
    return any(_origin(text) not in own for text in headers.getlist("origin"))


def is_this_machine(request: Request) -> bool:
    """Whether a request reached this machine's own name or address, from this machine.

    A page elsewhere can have its own domain name resolve to 127.0.0.1 (DNS rebinding); the `Host`
    header then still carries that name.
    """
    client = request.client
    return client is not None and is_loopback(client.host) and is_loopback(host_name(request))


def caller_address(request: Request) -> str:
    """Where a request comes from; uvicorn has read the proxy's headers, if it may trust them."""
    return request.client.host if request.client else ""


def _wrong_with(scope: Scope) -> str | None:
    """What is wrong with a request's `Host`; nothing if it is one."""
    hosts = Headers(scope=scope).getlist("host")
    if not hosts:
        return None if scope.get("http_version") == "1.0" else "The header `Host` is missing."
    if len(hosts) > 1:
        return "There is more than one header `Host`."
    found = _HOST.fullmatch(hosts[0])
    if (
        found is None
        or int(found["port"] or 0) > _LARGEST_PORT
        or (found["address"] and not _is_ipv6(found["address"]))
    ):
        return (
            "The header `Host` is not a host name or an address; write for example 127.0.0.1:8000."
        )
    return None


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _origin(text: str) -> str | None:
    """Host and port of an `Origin`; `None` if it has none, such as `null`."""
    scheme, separator, host = text.strip().lower().partition("://")
    if not separator or scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return None
    return _without_default_port(host)


def _without_default_port(host: str) -> str:
    """Host and port as browsers write them."""
    return host.lower().removesuffix(":80").removesuffix(":443")
