"""One answer to Prometheus: what was counted, how things stand, and Temporal's own metrics."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from time import monotonic

import httpx
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from starlette.responses import Response

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
            "1 if what a scrape asks could be read: ledger, temporal, ...",
            labels=["source"],
        )
        for name, found in self._read.items():
            up.add_metric([name], float(found is not None))
            yield from found or ()
        yield up
