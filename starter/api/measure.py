"""How many requests the API answered, and how fast, by route and never by path."""

from __future__ import annotations

from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Seconds."""
_NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measure:
    """Counts every request when its answer has begun; ids and tokens in paths are not seen."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        """Measure an application.

        Args:
            app: The application.
            registry: What the process counts.
        """
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
