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
from importlib.metadata import version

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig

from activities.delivery import DeliveryActivities
from reminders import observability, settings, temporal
from reminders.clock import SystemClock
from reminders.db.delivery_ledger import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.delivery.pipeline import DeliveryPipeline, ignore
from reminders.delivery.policy import DeliveryPolicy, Step
from reminders.errors import ReminderError
from reminders.mail.addressing import DeliveryMode
from reminders.mail.compose import MailComposer
from reminders.mail.render import MailRenderer
from reminders.mail.resend import ResendMailer
from reminders.ports import Clock
from reminders.settings import Settings
from workflows.plugin import SessionReminderPlugin

logger = logging.getLogger("worker")

GRACEFUL_SHUTDOWN = timedelta(seconds=30)
"""What is in flight may end; longer than the delivery pipeline's patience."""


def build_worker(client: Client, activities: DeliveryActivities, *, task_queue: str) -> Worker:
    """A Temporal worker, tuned for a herd: hundreds of reminders due in the same second.

    Activities mostly wait for their batch, so there are many slots; they bound how many reminders
    the delivery pipeline holds. A dead worker's workflows move on after the sticky time-out, so it
    is short.
    """
    return Worker(
        client,
        task_queue=task_queue,
        activities=[activities.deliver_reminder, activities.close_reminders],
        max_concurrent_activities=500,
        # More at once only makes the server write tasks down that it could have handed over.
        max_concurrent_workflow_tasks=20,
        max_concurrent_workflow_task_polls=10,
        max_concurrent_activity_task_polls=10,
        max_cached_workflows=1000,
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion("reminders", version("session-reminders")),
            use_worker_versioning=False,
        ),
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=5),
        graceful_shutdown_timeout=GRACEFUL_SHUTDOWN,
    )


@asynccontextmanager
async def delivery(
    config: Settings,
    *,
    clock: Clock | None = None,
    on_step: Callable[[Step], None] = ignore,
) -> AsyncIterator[DeliveryPipeline]:
    """A running delivery pipeline on the configured database and provider.

    Args:
        config: Settings of this process.
        clock: Judges what is due; tests bring their own.
        on_step: Called at every step of every batch; tests kill the process in it.

    Raises:
        ConfigurationError: If a setting is missing or contradicts another.
    """
    clock = clock or SystemClock()
    sender, test_recipient = config.require_envelope()
    async with AsyncExitStack() as stack:
        database = Database(config.require_database_url(), pool_size=config.database_pool_size)
        stack.push_async_callback(database.aclose)
        mailer = ResendMailer(
            api_key=config.require_resend_api_key(), api_url=config.resend_api_url, clock=clock
        )
        stack.push_async_callback(mailer.aclose)
        pipeline = DeliveryPipeline(
            ledger=PostgresDeliveryLedger(
                database,
                clock,
                owner=f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}",
                requests_per_second=config.effective_requests_per_second(),
            ),
            composer=MailComposer(
                sender=sender,
                reply_to=config.email_reply_to,
                mode=DeliveryMode(config.delivery_mode),
                test_recipient=test_recipient,
                renderer=MailRenderer(),
            ),
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
        )
        await stack.enter_async_context(pipeline.running())
        yield pipeline


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
    client = await temporal.connect([SessionReminderPlugin()])
    await temporal.ensure_search_attributes(client)
    async with delivery(config, on_step=on_step) as pipeline:
        activities = DeliveryActivities(pipeline)
        async with build_worker(client, activities, task_queue=config.temporal_task_queue):
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
        Exit code: 0 after a stop that was asked for, 1 if it could not start.
    """
    try:
        config = settings.load()
        observability.configure(config.log_format, config.log_level)
        asyncio.run(_main(config))
    except ReminderError as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - a command's last word
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
