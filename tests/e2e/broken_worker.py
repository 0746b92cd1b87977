"""A worker process of a bad deploy: its workflow was changed without a gate.

python -m tests.e2e.broken_worker
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from reminders.domain.contracts import SessionReminderInput
from reminders.domain.keys import TASK_QUEUE


@workflow.defn(name="SessionReminderWorkflow")
class SessionReminderWorkflow:
    """Begins with an activity, where the one before began with a timer."""

    @workflow.run
    async def run(self, _state: SessionReminderInput) -> None:
        """Ask for something that no history has."""
        await workflow.execute_activity("of_tomorrow", start_to_close_timeout=timedelta(seconds=5))


async def main() -> None:
    """Work until SIGTERM."""
    # Not above: the sandbox of workflows imports this module, too.
    from devstack.stack import WORKER_IS_READY  # noqa: PLC0415

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(
        os.environ["TEMPORAL_ADDRESS"], data_converter=pydantic_data_converter
    )
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[SessionReminderWorkflow]):
        logging.getLogger(__name__).info(WORKER_IS_READY)
        await stop.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(main())
