"""The worker process: the parts that `starter/assembly.py` puts together, and a Temporal worker.

Run it as `python worker.py` or `reminders worker`; as many processes as are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Plugin, Worker, WorkerDeploymentConfig

from reminders import collector, settings
from reminders.delivery.pipeline import ignore
from reminders.delivery.policy import Step
from reminders.observability import logs, metrics, tracing
from reminders.observability.metrics import DeliveryMetrics, a_registry
from reminders.observability.scrape import Scrape, serving
from reminders.observability.sdk import sdk
from reminders.settings import Settings
from reminders.temporal import SDK_EXIT_SECONDS
from starter.assembly import assembled
from starter.cli.options import ExitCode
from starter.health import boot
from starter.plugin import ReminderWorkerPlugin
from starter.services.failures import understood

logger = logging.getLogger("worker")

GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""What is in flight may end; longer than the delivery pipeline's patience."""


def build_worker(
    client: Client,
    activities: Sequence[Callable[..., Any]] = (),
    *,
    task_queue: str,
    plugins: Sequence[Plugin] = (),
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """A Temporal worker, tuned for a herd: hundreds of reminders due in the same second.

    Activities mostly wait for their batch, so there are many slots; they bound how many reminders
    the delivery pipeline holds. A dead worker's workflows move on after the sticky time-out, so it
    is short.

    Args:
        client: Connected with `SessionReminderPlugin`.
        activities: What it does; besides those of its plugins.
        task_queue: Where to poll.
        plugins: Such as `ReminderWorkerPlugin`.
        deployment: Which build this is, and whether tasks are routed by it; absent means this
            release, unversioned.
    """
    return Worker(
        client,
        task_queue=task_queue,
        activities=activities,
        plugins=plugins,
        max_concurrent_activities=13_000,
        # More at once only makes the server write tasks down that it could have handed over.
        max_concurrent_workflow_tasks=20,
        max_concurrent_workflow_task_polls=10,
        max_concurrent_activity_task_polls=10,
        max_cached_workflows=1000,
        deployment_config=deployment or _unversioned(version("session-reminders")),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


def _unversioned(build_id: str) -> WorkerDeploymentConfig:
    """Name the build in histories, and take any task."""
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("reminders", build_id), use_worker_versioning=False
    )


def deployment(config: Settings) -> WorkerDeploymentConfig:
    """Which build this worker is, and whether Temporal is to route tasks by it.

    Versioned, workflows move on to the current version when they next wake (AUTO_UPGRADE): pinned
    to theirs, each release's workers would have to live for as long as the longest sleeper.
    """
    build_id = config.temporal_worker_build_id or version("session-reminders")
    if config.temporal_deployment_name is None:
        return _unversioned(build_id)
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(config.temporal_deployment_name, build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def run(
    config: Settings, stop: asyncio.Event, *, on_step: Callable[[Step], None] = ignore
) -> None:
    """Work until told to stop, then let what is in flight end.

    Args:
        config: Settings of this process.
        stop: Set it to stop.
        on_step: See `ReminderWorkerPlugin`.

    Raises:
        ConfigurationError: If a setting is missing or contradicts another.
        ServiceUnavailableError: If Temporal does not answer at the start.
    """
    metrics_on = config.serve_metrics_on()
    async with AsyncExitStack() as stack:
        traced = tracing.start(config.otel_exporter_otlp_endpoint, service="reminders-worker")
        if traced is not None:
            stack.push_async_callback(traced.aclose)
        own, registry = sdk(with_metrics=metrics_on is not None), a_registry()
        parts = await stack.enter_async_context(
            assembled(
                config,
                lazy=False,
                plugins=[traced.plugin()] if traced else [],
                runtime=own.runtime,
            )
        )
        await boot.refuse_old_schema(parts.database)
        await boot.ensure_search_attributes(parts.client)
        # Before the Schedule: a worker whose settings cannot work leaves none in Temporal.
        ours = ReminderWorkerPlugin(
            parts, on_step=on_step, observer=DeliveryMetrics(registry), traced=traced
        )
        worker: Worker | None = None
        if metrics_on is not None:
            scrape = Scrape(
                registry,
                {
                    "ledger": partial(metrics.ledger, parts.ledger),
                    "sweeps": partial(metrics.last_sweep, parts.sweeps.last_completed_at),
                },
                sdk_url=own.metrics_url,
            )
            await stack.enter_async_context(
                # One that still waits for PostgreSQL is well: a restart would only make it later.
                serving(*metrics_on, scrape=scrape, alive=lambda: not worker or worker.is_running)
            )
        await boot.claim_when_known(parts, stop)
        worker = build_worker(
            parts.client,
            task_queue=config.temporal_task_queue,
            plugins=[ours],
            deployment=deployment(config),
        )
        await stack.enter_async_context(worker)
        collecting = asyncio.create_task(collector.collect_between(ours.pipeline.is_calm))
        stack.callback(collecting.cancel)
        logger.info("it posts with key and sender %s", config.sender_fingerprint())
        logger.info("worker polls %s", config.temporal_task_queue)
        await stop.wait()
        logger.info("worker stops; what is in flight may end")


async def _main(config: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    try:
        await run(config, stop)
    finally:
        await asyncio.sleep(SDK_EXIT_SECONDS)


def main() -> int:
    """Run a worker, configured by the environment.

    Returns:
        Exit code: 0 after a stop that was asked for, 4 if PostgreSQL or Temporal is away, 1 if it
        could not start for another reason.
    """
    try:
        config = settings.load()
        logs.configure(config.log_format, config.log_level)
        collector.keep_imports()
        asyncio.run(_main(config))
    except Exception as error:
        known = understood(error)
        if known is None:
            raise
        words = " ".join(str(known).split())
        print(f"worker: {words}", file=sys.stderr)  # noqa: T201 - a command's last word
        return known.exit_code
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
