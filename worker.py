"""The worker process: settings to adapters to activities to a Temporal worker.

The composition root: it knows everything, and nothing imports it but the command line and tests.
Run it as `python worker.py` or `reminders worker`; as many processes as are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.delivery import DeliveryActivities
from activities.retention import RetentionActivities
from activities.session_change import SessionChangeActivities
from activities.sweep import SweepActivities
from reminders import settings, temporal
from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.reports import LedgerGauges
from reminders.db.retention import PostgresRetention
from reminders.db.sessions import Catalogue
from reminders.db.sweep import SweepQueries
from reminders.delivery.pipeline import DeliveryPipeline, ignore
from reminders.delivery.policy import DeliveryPolicy, Step
from reminders.domain.ports import Clock, DeliveryObserver, Mailer
from reminders.mail.resend import ResendMailer
from reminders.observability import endpoint, gauges, logs, tracing
from reminders.observability.metrics import DeliveryMetrics, a_registry
from reminders.observability.scrape import Scrape
from reminders.observability.sdk import sdk
from reminders.observability.tracing import TracedMailer, Tracing
from reminders.settings import Settings
from starter.cli.running import ExitCode
from starter.health import boot
from starter.services.composing import attendee_links, mail_composer
from starter.services.enrollments import EnrollmentWorkflows
from starter.services.failures import understood
from starter.services.handover import Handover
from starter.services.reconciler import EnrollmentReconciler
from starter.services.replanning import EnrollmentReplanner
from starter.services.sweeps import Sweeps
from workflows.plugin import SessionReminderPlugin

logger = logging.getLogger("worker")

GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""What is in flight may end; longer than the delivery pipeline's patience."""


def build_worker(
    client: Client,
    activities: DeliveryActivities,
    *,
    task_queue: str,
    sweep: SweepActivities | None = None,
    session_change: SessionChangeActivities | None = None,
    forgetting: RetentionActivities | None = None,
    deployment: WorkerDeploymentConfig | None = None,
) -> Worker:
    """A Temporal worker, tuned for a herd: hundreds of reminders due in the same second.

    Activities mostly wait for their batch, so there are many slots; they bound how many reminders
    the delivery pipeline holds. A dead worker's workflows move on after the sticky time-out, so it
    is short.

    Args:
        client: Connected with `SessionReminderPlugin`.
        activities: Deliver.
        task_queue: Where to poll.
        sweep: Reconciles; absent in a worker that leaves the sweep to others, or tests.
        session_change: Tells enrollments that their session changed; absent as `sweep`.
        forgetting: Forgets what is old; absent as `sweep`.
        deployment: Which build this is, and whether tasks are routed by it; absent means this
            release, unversioned.
    """
    return Worker(
        client,
        task_queue=task_queue,
        activities=[
            activities.deliver_reminder,
            activities.close_reminders,
            *([sweep.reconcile_enrollments] if sweep else []),
            *([session_change.replan_enrollments] if session_change else []),
            *([forgetting.forget_what_is_old] if forgetting else []),
        ],
        max_concurrent_activities=4000,
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


def _database(config: Settings) -> Database:
    return Database(
        config.require_database_url(),
        pool_size=config.database_pool_size,
        host_schema=config.existing_host_schema(),
    )


@asynccontextmanager
async def delivery(
    config: Settings,
    *,
    database: Database | None = None,
    clock: Clock | None = None,
    on_step: Callable[[Step], None] = ignore,
    observer: DeliveryObserver | None = None,
    traced: Tracing | None = None,
) -> AsyncIterator[DeliveryPipeline]:
    """A running delivery pipeline on the configured database and provider.

    Args:
        config: Settings of this process.
        database: Shared with other parts of the process; absent means one of its own.
        clock: Judges what is due; tests bring their own.
        on_step: Called at every step of every batch; tests kill the process in it.
        observer: Told what happens, for metrics.
        traced: Requests to the provider get spans.

    Raises:
        ConfigurationError: If a setting is missing or contradicts another.
    """
    clock = clock or SystemClock()
    composer = mail_composer(config, links=attendee_links(config))
    async with AsyncExitStack() as stack:
        if database is None:
            database = _database(config)
            stack.push_async_callback(database.aclose)
        resend = ResendMailer(
            api_key=config.require_resend_api_key(), api_url=config.resend_api_url, clock=clock
        )
        stack.push_async_callback(resend.aclose)
        mailer: Mailer = TracedMailer(resend, traced.tracer) if traced else resend
        pipeline = DeliveryPipeline(
            ledger=PostgresDeliveryLedger(
                database,
                clock,
                owner=f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}",
                requests_per_second=config.effective_requests_per_second(),
                shadow=config.shadow_mode,
                destination=config.destination(),
                sender=config.sender_fingerprint(),
            ),
            composer=composer,
            mailer=mailer,
            clock=clock,
            policy=DeliveryPolicy(
                batch_size=config.email_batch_size,
                retries=config.email_max_retries,
                initial_backoff=timedelta(milliseconds=config.email_initial_backoff_ms),
                longest_backoff=timedelta(milliseconds=config.email_max_backoff_ms),
                backoff_multiplier=config.email_backoff_multiplier,
            ),
            on_step=on_step,
            observer=observer,
        )
        await stack.enter_async_context(pipeline.running())
        yield pipeline


def reconciliation(
    config: Settings, client: Client, database: Database, *, clock: Clock | None = None
) -> SweepActivities:
    """What the sweep does, on this database and client.

    Args:
        config: Settings of this process.
        client: Connected with `SessionReminderPlugin`.
        database: Migrated.
        clock: Judges what is overdue; tests bring their own.
    """
    clock = clock or SystemClock()
    threshold = config.reschedule_resend_threshold
    planner = EnrollmentPlanner(database, clock, resend_threshold=threshold)
    return SweepActivities(
        EnrollmentReconciler(
            client,
            workflows=EnrollmentWorkflows(
                client, task_queue=config.temporal_task_queue, installation=planner.installation
            ),
            planner=planner,
            queries=SweepQueries(database, clock, resend_threshold=threshold),
        )
    )


def retention(database: Database, *, clock: Clock | None = None) -> RetentionActivities:
    """What forgets, in this database."""
    return RetentionActivities(PostgresRetention(database, clock or SystemClock()))


def session_changes(
    config: Settings, client: Client, database: Database, *, clock: Clock | None = None
) -> SessionChangeActivities:
    """What a session's change does to its enrollments, on this database and client.

    Args:
        config: Settings of this process.
        client: Connected with `SessionReminderPlugin`.
        database: Migrated.
        clock: Judges what is past due; tests bring their own.
    """
    planner = EnrollmentPlanner(
        database, clock or SystemClock(), resend_threshold=config.reschedule_resend_threshold
    )
    workflows = EnrollmentWorkflows(
        client, task_queue=config.temporal_task_queue, installation=planner.installation
    )
    return SessionChangeActivities(
        EnrollmentReplanner(
            Handover(workflows, planner=planner), planner=planner, catalogue=Catalogue(database)
        )
    )


async def run(
    config: Settings, stop: asyncio.Event, *, on_step: Callable[[Step], None] = ignore
) -> None:
    """Work until told to stop, then let what is in flight end.

    Args:
        config: Settings of this process.
        stop: Set it to stop.
        on_step: See `delivery`.

    Raises:
        ConfigurationError: If a setting is missing or contradicts another.
        ServiceUnavailableError: If Temporal does not answer at the start.
    """
    metrics_on = config.serve_metrics_on()
    async with AsyncExitStack() as stack:
        traced = tracing.start(config.otel_exporter_otlp_endpoint, service="reminders-worker")
        if traced is not None:
            stack.push_async_callback(traced.aclose)
        # Our own settings first: what cannot work leaves no trace in Temporal.
        database = _database(config)
        stack.push_async_callback(database.aclose)
        await boot.refuse_old_schema(database)
        own = sdk(with_metrics=metrics_on is not None)
        plugins = [SessionReminderPlugin(), *([traced.plugin()] if traced else [])]
        client = await temporal.connect(plugins, runtime=own.runtime)
        await boot.ensure_search_attributes(client)
        registry = a_registry()
        pipeline = await stack.enter_async_context(
            delivery(
                config,
                database=database,
                on_step=on_step,
                observer=DeliveryMetrics(registry),
                traced=traced,
            )
        )
        await boot.ensure_schedule(config, client)
        worker = build_worker(
            client,
            DeliveryActivities(pipeline),
            sweep=reconciliation(config, client, database),
            session_change=session_changes(config, client, database),
            forgetting=retention(database),
            task_queue=config.temporal_task_queue,
            deployment=deployment(config),
        )
        if metrics_on is not None:
            scrape = Scrape(
                registry,
                {
                    "ledger": partial(
                        gauges.ledger, LedgerGauges(database, SystemClock(), config.destination())
                    ),
                    "sweeps": partial(
                        gauges.last_sweep,
                        Sweeps(client, task_queue=config.temporal_task_queue).last_completed_at,
                    ),
                },
                sdk_url=own.metrics_url,
            )
            await stack.enter_async_context(
                endpoint.serving(*metrics_on, scrape=scrape, alive=lambda: worker.is_running)
            )
        await stack.enter_async_context(worker)
        logger.info("it posts with key and sender %s", config.sender_fingerprint())
        logger.info("worker polls %s", config.temporal_task_queue)
        await stop.wait()
        logger.info("worker stops; what is in flight may end")


async def _main(config: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    await run(config, stop)


def main() -> int:
    """Run a worker, configured by the environment.

    Returns:
        Exit code: 0 after a stop that was asked for, 4 if PostgreSQL or Temporal is away, 1 if it
        could not start for another reason.
    """
    try:
        config = settings.load()
        logs.configure(config.log_format, config.log_level)
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
