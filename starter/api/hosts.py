"""Under which name this server was asked for, and which web page asks.

A malformed name is refused before anything else looks at it (RFC 9112 §3.2). And while no API
key is set, whoever reaches this machine may change things: then a browser on it must not be made
to by a page of another site, nor by one that another program of this machine serves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reminders.setting_values import is_loopback
from starter.api.errors import MalformedHostError, OtherOriginError, refusal
from starter.api.reading import route_path

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
