"""What Temporal still has to do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from bench.measure import MeasurementError
from reminders.clock import SystemClock

POLL_SECONDS = 0.25
SETTLING_SECONDS = 1.0
"""How long after work was asked for the server is sure to know of it."""
PATIENCE = timedelta(minutes=10)

_clock = SystemClock()


async def all_closed(client: Client, until: datetime) -> datetime | None:
    """When the last workflow had ended; None if one still runs then."""
    while _clock.now() < until:
        with suppress(RPCError):  # thousands end, and the server has no time to count
            running = await client.count_workflows("ExecutionStatus = 'Running'")
            if running.count == 0:
                return _clock.now()
        await asyncio.sleep(POLL_SECONDS)
    return None


async def settled(client: Client, task_queue: str) -> None:
    """Wait until no workflow task waits for a worker.

    Raises:
        MeasurementError: If they do not get less.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        report_stats=True,
    )
    deadline = _clock.now() + PATIENCE
    while _clock.now() < deadline:
        await asyncio.sleep(SETTLING_SECONDS)
        answer = await client.workflow_service.describe_task_queue(request)
        if answer.stats.approximate_backlog_count == 0:
            return
    message = f"workflow tasks of {task_queue} still wait: this machine is too busy to measure on"
    raise MeasurementError(message)
