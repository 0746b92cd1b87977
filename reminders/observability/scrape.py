"""One answer to Prometheus: what was counted, how things stand, and Temporal's own metrics.

The API answers it on a route of its own; a worker by a small HTTP server (`serving`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from time import monotonic

import httpx
import uvicorn
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reminders.domain.errors import ConfigurationError
from reminders.observability.listening import listen

logger = logging.getLogger(__name__)

Source = Callable[[], Awaitable[Sequence[Metric]]]
"""Reads how something stands."""

_FRESH = timedelta(seconds=10)
"""However often somebody scrapes, the sources are not asked more often."""
_PATIENCE = timedelta(seconds=4)
"""Of one source; Prometheus gives a scrape ten seconds."""
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: reading those of the world would hold up the event loop at every scrape."""
_SDK_PATIENCE = 2.0
"""Seconds; it answers on this machine."""


class Scrape:
    """Answers scrapes of one process; a source that is away leaves its metrics out and says so."""

    def __init__(
        self,
        registry: CollectorRegistry,
        sources: Mapping[str, Source],
        *,
        sdk_url: str | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            registry: What the process counts.
            sources: How things stand, by a short name; read at a scrape, at the same time.
            sdk_url: Where the Temporal SDK of this process exposes its metrics.
        """
        self._registry = registry
        ProcessCollector(registry=registry)
        self._sources = {name: _Cached(name, source) for name, source in sources.items()}
        self._sdk_url = sdk_url

    async def response(self) -> Response:
        """All of it, in the text format that every Prometheus reads."""
        names = list(self._sources)
        read = await asyncio.gather(*(source.read() for source in self._sources.values()))
        text = generate_latest(_Together(self._registry, dict(zip(names, read, strict=True))))
        return Response(text + await self._sdk(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def _sdk(self) -> bytes:
        """Temporal's own metrics, passed on as they are."""
        if self._sdk_url is None:
            return b""
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(
                timeout=_SDK_PATIENCE, trust_env=False, verify=_NO_CERTIFICATES
            ) as http:
                return (await http.get(self._sdk_url)).content
        return b""


class _Cached:
    """A source, asked once for all who scrape within a while."""

    def __init__(self, name: str, source: Source) -> None:
        self._name = name
        self._source = source
        self._lock = asyncio.Lock()
        self._found: Sequence[Metric] | None = None
        self._stale_at = 0.0

    async def read(self) -> Sequence[Metric] | None:
        """What the source says; `None` if it is away."""
        async with self._lock:
            if monotonic() >= self._stale_at:
                self._found = await self._ask()
                self._stale_at = monotonic() + _FRESH.total_seconds()
            return self._found

    async def _ask(self) -> Sequence[Metric] | None:
        try:
            async with asyncio.timeout(_PATIENCE.total_seconds()):
                return await self._source()
        except Exception as error:  # noqa: BLE001 - a scrape must answer, whatever is away
            logger.warning("metrics of %s are left out: %s", self._name, type(error).__name__)
            return None


class _Together(Collector):
    """A registry and what the sources said, as one."""

    def __init__(
        self, registry: CollectorRegistry, read: Mapping[str, Sequence[Metric] | None]
    ) -> None:
        self._registry = registry
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Every family once."""
        yield from self._registry.collect()
        up = GaugeMetricFamily(
            "reminders_source_up",
            "1 if what a scrape asks could be read: ledger, sweeps, checks",
            labels=["source"],
        )
        for name, found in self._read.items():
            up.add_metric([name], float(found is not None))
            yield from found or ()
        yield up


_GRACE_SECONDS = 2


@asynccontextmanager
async def serving(
    host: str, port: int, *, scrape: Scrape, alive: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serve `/metrics` for Prometheus and `/healthz` for orchestrators until the end of the block.

    Args:
        host: To listen on.
        port: 0 is any free one.
        scrape: Answers `/metrics`.
        alive: Whether the worker does its work; else `/healthz` is a 503.

    Yields:
        The port.

    Raises:
        ConfigurationError: If the address cannot be listened on.
    """

    async def metrics(_request: Request) -> Response:
        return await scrape.response()

    async def healthz(_request: Request) -> Response:
        if alive():
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "the worker has stopped"}, status_code=503)

    try:
        listener = listen(host, port)
    except OSError as error:
        msg = (
            f"METRICS_ADDRESS {host}:{port} cannot be listened on: {error.strerror};"
            " give each worker of a machine its own port, or 0 for any"
        )
        raise ConfigurationError(msg) from error
    app = Starlette(routes=[Route("/metrics", metrics), Route("/healthz", healthz)])
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    with listener:
        bound: int = listener.getsockname()[1]
        serve = asyncio.create_task(server.serve(sockets=[listener]))
        logger.info("metrics on http://%s:%d/metrics", f"[{host}]" if ":" in host else host, bound)
        try:
            yield bound
        finally:
            server.should_exit = True
            await serve


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield
