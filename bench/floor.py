"""The floor: what Temporal itself needs on this machine, with the worker's own tuning.

`python -m bench.floor` is the worker.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import datetime, timedelta

from temporalio.client import Client
from temporalio.plugin import SimplePlugin

import worker
from bench.empty import EmptyActivities, EmptyWorkflow
from reminders import temporal
from reminders.clock import SystemClock
from reminders.embedded.program import Program, logs, mark
from reminders.embedded.stack import SOURCES, LocalStack
from workflows.conversion import data_converter

TASK_QUEUE = "bench-floor"
READY = "floor polls"
"""What the worker prints as soon as it polls."""

AT_ONCE = 32
STARTED_PER_SECOND = 80
BEFORE = timedelta(seconds=8)
PATIENCE = timedelta(seconds=120)

_clock = SystemClock()


def measured(stack: LocalStack, n: int, workers: int) -> float | None:
    """How many activities a second Temporal gets through when all are due at one instant.

    Args:
        stack: Runs, and its workers do not.
        n: How many workflows.
        workers: How many worker processes.

    Returns:
        None if they did not all end in time.

    Raises:
        EmbeddedServerError: If a worker does not start.
    """
    programs = [_worker(stack, number) for number in range(1, workers + 1)]
    try:
        for program in programs:
            program.start()
        return asyncio.run(_herd(n))
    finally:
        for program in programs:
            program.kill()


async def all_closed(client: Client, until: datetime) -> datetime | None:
    """When the last workflow had ended; None if one still runs then."""
    while _clock.now() < until:
        running = await client.count_workflows("ExecutionStatus = 'Running'")
        if running.count == 0:
            return _clock.now()
        await asyncio.sleep(0.25)
    return None


def _worker(stack: LocalStack, number: int) -> Program:
    return Program(
        f"floor-{number}",
        [sys.executable, "-X", mark(stack.folder), "-m", "bench.floor"],
        folder=stack.folder,
        environment={**stack.environment(), "PYTHONPATH": str(SOURCES)},
        ready=logs(READY),
    )


async def _herd(n: int) -> float | None:
    client = await temporal.connect([_plugin()])
    due_at = _clock.now() + timedelta(seconds=n / STARTED_PER_SECOND) + BEFORE
    limit = asyncio.Semaphore(AT_ONCE)

    async def start(number: int) -> None:
        async with limit:
            await client.start_workflow(
                EmptyWorkflow.run, due_at, id=f"floor:{number}", task_queue=TASK_QUEUE
            )

    async def ran_at(number: int) -> datetime:
        async with limit:
            handle = client.get_workflow_handle(f"floor:{number}", result_type=datetime)
            ended_at: datetime = await handle.result()
            return ended_at

    await asyncio.gather(*(start(number) for number in range(n)))
    await asyncio.sleep(max(0.0, (due_at - _clock.now()).total_seconds()))
    if await all_closed(client, due_at + PATIENCE) is None:
        return None
    last = max(await asyncio.gather(*(ran_at(number) for number in range(n))))
    return n / (last - due_at).total_seconds()


def _plugin() -> SimplePlugin:
    return SimplePlugin("floor", workflows=[EmptyWorkflow], data_converter=data_converter)


async def _work() -> None:
    """Work as a worker of ours does, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await temporal.connect([_plugin()])
    async with worker.build_worker(client, EmptyActivities(), task_queue=TASK_QUEUE):
        print(READY, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_work())
