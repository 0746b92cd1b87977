"""Traces, from the request through the workflow to the provider; off unless asked for.

Needs the extra `otel`. Nothing global is set: a host that traces on its own is left alone. Spans
carry ids, counts and class names, as logs do.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from reminders.domain.errors import ConfigurationError
from reminders.domain.model import Message
from reminders.domain.pace import Usage
from reminders.domain.ports import Mailer, Receipt

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

_NAME = "session-reminders"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tracing:
    """What a process traces with."""

    provider: TracerProvider

    @property
    def tracer(self) -> Tracer:
        """For our own spans."""
        return self.provider.get_tracer(_NAME)

    def plugin(self) -> SimplePlugin:
        """For Temporal clients: takes a trace from a client's call into workflow and activity."""
        from temporalio.contrib.opentelemetry import TracingInterceptor  # noqa: PLC0415 - the extra

        return SimplePlugin(
            "session-reminders-tracing",
            interceptors=[TracingInterceptor(self.tracer)],
            workflow_runner=_with_opentelemetry,
        )

    async def aclose(self) -> None:
        """Send what is left, for some seconds at the most, and trace no more."""
        await asyncio.to_thread(self.provider.shutdown)


def start(endpoint: str | None, *, service: str) -> Tracing | None:
    """Begin to trace; `aclose` ends it, and sends what is left.

    Args:
        endpoint: Base URL of an OTLP receiver that takes HTTP; `None` traces nothing.
        service: The process, as it is called in traces.

    Raises:
        ConfigurationError: If the URL is none, or the extra is not installed.
    """
    if endpoint is None:
        return None
    try:
        url = urlsplit(endpoint)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname:
        msg = "OTEL_EXPORTER_OTLP_ENDPOINT is no URL; write for example http://127.0.0.1:4318"
        raise ConfigurationError(msg)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        msg = (
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra `otel` is not installed:"
            " `uv sync --extra otel`, or unset it"
        )
        raise ConfigurationError(msg) from error
    provider = TracerProvider(
        resource=Resource.create({"service.name": service, "service.namespace": _NAME}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider=provider)


class TracedMailer:
    """`Mailer` with a span around each request."""

    def __init__(self, mailer: Mailer, tracer: Tracer) -> None:
        self._mailer = mailer
        self._tracer = tracer

    def encode(self, messages: Sequence[Message]) -> bytes:
        """See `Mailer.encode`."""
        return self._mailer.encode(messages)

    async def post(self, body: bytes, *, idempotency_key: str) -> tuple[Receipt, ...]:
        """See `Mailer.post`; the span belongs to the trace of the batch's first reminder."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra

        attributes: dict[str, str | int] = {
            "reminders.batch_id": idempotency_key,
            "reminders.body_bytes": len(body),
        }
        with self._tracer.start_as_current_span(
            "PostBatch", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            receipts = await self._mailer.post(body, idempotency_key=idempotency_key)
            span.set_attribute("reminders.batch_size", len(receipts))
            return receipts

    async def warm(self, connections: int) -> None:
        """See `Mailer.warm`."""
        await self._mailer.warm(connections)

    async def usage(self) -> Usage | None:
        """See `Mailer.usage`."""
        return await self._mailer.usage()


def _with_opentelemetry(runner: WorkflowRunner | None) -> WorkflowRunner:
    """The sandbox, with OpenTelemetry's context shared with the interceptor outside."""
    if not isinstance(runner, SandboxedWorkflowRunner):
        msg = "workflows run in the sandbox"
        raise TypeError(msg)
    shared = runner.restrictions.with_passthrough_modules("opentelemetry")
    return dataclasses.replace(runner, restrictions=shared)
