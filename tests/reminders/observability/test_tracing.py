"""One trace from the request to the provider, and none unless asked for."""

from __future__ import annotations

import asyncio
import gzip
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devstack.temporal import EmbeddedTemporal
from reminders.domain.errors import ConfigurationError
from reminders.observability import tracing
from reminders.observability.scrape import _Server
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.observability.running import a_running_worker
from tests.stage import eventually
from tests.starter.conftest import ADDRESS, serving


class Collector:
    """An OTLP receiver that keeps what it is sent."""

    def __init__(self) -> None:
        """Start empty."""
        self.spans: list[Any] = []
        self.raw = b""
        self.url = ""

    async def receive(self, request: Request) -> Response:
        """Take in one export."""
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return Response(media_type="application/x-protobuf")

    def trace_of(self, name: str) -> set[str]:
        """Names of all spans in the trace of the span that is called so."""
        (trace_id,) = {span.trace_id for span in self.spans if span.name == name}
        return {span.name for span in self.spans if span.trace_id == trace_id}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A receiver on loopback."""
    async with collecting() as collector:
        yield collector


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A receiver, while the block lasts."""
    collector = Collector()
    app = Starlette(routes=[Route("/v1/traces", collector.receive, methods=["POST"])])
    server = _Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())

    async def up() -> bool:
        return server.started

    await eventually(up)
    port = server.servers[0].sockets[0].getsockname()[1]
    collector.url = f"http://127.0.0.1:{port}"
    yield collector
    server.should_exit = True
    await running


async def test_one_trace_from_the_request_to_the_provider(
    *,
    settings: Settings,
    provider: ProviderClient,
    collector: Collector,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The enroll request, the workflow, its activity and the post share a trace without addresses."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    settings = settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
    async with a_running_worker(settings, caplog):
        async with serving(settings) as api:
            session_id, _ = await api.enrolled(starts_in=timedelta(minutes=30, seconds=15))

        async def accepted() -> bool:
            return any(
                m["tags"]["reminder_id"] and m["to"] == [ADDRESS] for m in await provider.accepted()
            )

        await eventually(accepted)
    trace = collector.trace_of("PostBatch")
    assert {
        "POST /v1/enrollments",
        "StartWorkflow:SessionReminderWorkflow",
        "RunWorkflow:SessionReminderWorkflow",
        "StartActivity:deliver_reminder",
        "RunActivity:deliver_reminder",
        "PostBatch",
    } <= trace
    assert isinstance(session_id, UUID)
    assert ADDRESS.encode() not in collector.raw


def test_an_endpoint_that_is_none_is_refused() -> None:
    """A typo in the URL is named at the start, not found out by missing traces."""
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        tracing.start("localhost:4318", service="test")


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exporter installed, the remedy is one command."""
    exporter = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, exporter, None)
    with pytest.raises(ConfigurationError, match="--extra otel"):
        tracing.start("http://127.0.0.1:4318", service="test")
