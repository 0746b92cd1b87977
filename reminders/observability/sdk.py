"""The Temporal SDK's own logs and metrics, in this process."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from reminders.observability.listening import listen

_ATTEMPTS = 5
"""How many ports are tried when somebody is quicker to take one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sdk:
    """A runtime for clients and workers, and where its metrics are read."""

    runtime: Runtime
    metrics_url: str | None


def sdk(*, with_metrics: bool) -> Sdk:
    """A runtime that logs as the rest of the process does.

    The SDK serves its metrics by itself, on a port of its own: here a free one that only this
    machine reaches, from where the process passes them on together with ours.

    Raises:
        ValueError: If no port can be had.
    """
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger("temporalio.core")),
    )
    if not with_metrics:
        return Sdk(runtime=Runtime(telemetry=TelemetryConfig(logging=logs)), metrics_url=None)
    for attempt in range(1, _ATTEMPTS + 1):
        with listen("127.0.0.1", 0) as found:
            address = f"127.0.0.1:{found.getsockname()[1]}"
        metrics = PrometheusConfig(
            bind_address=address,
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
        )
        try:
            runtime = Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics))
        except ValueError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return Sdk(runtime=runtime, metrics_url=f"http://{address}/metrics")
    raise AssertionError
