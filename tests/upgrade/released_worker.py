"""A worker process of release 1: its workflows to the letter, with the activities of today.

    python -m tests.upgrade.released_worker

Activities are reached by frozen names and payloads (`tests/wire.json`), so today's serve as well as
those of the release; workflows are what sleeps through an upgrade.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

import worker
from devstack.stack import WORKER_IS_READY
from reminders import settings
from reminders.db.engine import Database
from starter.assembly import assemble
from starter.plugin import ReminderWorkerPlugin
from tests.upgrade.released.v1.plugin import SessionReminderPlugin as ReleasedPlugin

BUILD = "released-v1"


async def main() -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = settings.load()
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"], plugins=[ReleasedPlugin()])
    database = Database(config.require_database_url(), pool_size=config.database_pool_size)
    async with worker.build_worker(
        client,
        task_queue=config.temporal_task_queue,
        plugins=[ReminderWorkerPlugin(assemble(config, database, client))],
        deployment=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion("reminders", BUILD), use_worker_versioning=False
        ),
    ):
        logging.getLogger(__name__).info(WORKER_IS_READY)
        await stop.wait()
    await database.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(main())
