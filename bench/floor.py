"""The floor: what Temporal itself needs on this machine, with the worker's own tuning.

`python -m bench.floor` is the worker.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from temporalio.plugin import SimplePlugin

import worker
from bench.backlog import all_closed, settled
from bench.crowd import AT_ONCE
from bench.empty import EmptyActivities, EmptyWorkflow
from devstack.program import Program, logs, mark
from devstack.stack import SOURCES, LocalStack
from reminders import temporal
from reminders.clock import SystemClock
from reminders.fan_out import fan_out
from starter.services.handover import TRANSACTIONS, UPDATES
from workflows.plugin import data_converter
from workflows.sandbox import SparedSandbox

TASK_QUEUE = "bench-floor"
READY = "floor polls"
"""What the worker prints as soon as it polls."""

STARTED_PER_SECOND = 80
BEFORE = timedelta(seconds=8)
PATIENCE = timedelta(seconds=120)
FAR = timedelta(days=30)
"""Nothing falls due meanwhile."""

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
    with working(stack, workers):
        return asyncio.run(_herd(n))


@contextmanager
def working(stack: LocalStack, workers: int = 1) -> Iterator[None]:
    """Workers for workflows that do nothing, until the end of the block.

    Raises:
        EmbeddedServerError: If one does not start.
    """
    programs = [_worker(stack, number) for number in range(1, workers + 1)]
    try:
        for program in programs:
            program.start()
        yield
    finally:
        for program in programs:
            program.kill()


def _worker(stack: LocalStack, number: int) -> Program:
    return Program(
        f"floor-{number}",
        [sys.executable, "-X", mark(stack.folder), "-m", "bench.floor"],
        folder=stack.folder,
        environment={**stack.environment(), "PYTHONPATH": str(SOURCES)},
        ready=logs(READY),
    )


async def moved(stack: LocalStack, n: int) -> float:
    """How many workflows a second can be told another instant, by one update each.

    Args:
        stack: Runs, and its workers do not.
        n: How many workflows.

    Raises:
        EmbeddedServerError: If a worker does not start.
    """
    client = await temporal.connect([_plugin()])
    due_at = _clock.now() + FAR
    names = [f"floor:{number}" for number in range(n)]

    async def start(name: str) -> None:
        await client.start_workflow(EmptyWorkflow.run, due_at, id=name, task_queue=TASK_QUEUE)

    async def move(name: str) -> None:
        handle = client.get_workflow_handle(name)
        await handle.execute_update(EmptyWorkflow.move, due_at + FAR)

    with working(stack):
        await fan_out(start, names, at_once=AT_ONCE)
        await settled(client, TASK_QUEUE)
        began = time.perf_counter()
        await fan_out(move, names, at_once=UPDATES * TRANSACTIONS)
        return n / (time.perf_counter() - began)


async def _herd(n: int) -> float | None:
    client = await temporal.connect([_plugin()])
    due_at = _clock.now() + timedelta(seconds=n / STARTED_PER_SECOND) + BEFORE

    async def start(number: int) -> None:
        await client.start_workflow(
            EmptyWorkflow.run, due_at, id=f"floor:{number}", task_queue=TASK_QUEUE
        )

    async def ran_at(number: int) -> datetime:
        handle = client.get_workflow_handle(f"floor:{number}", result_type=datetime)
        ended_at: datetime = await handle.result()
        return ended_at

    await fan_out(start, range(n), at_once=AT_ONCE)
    await asyncio.sleep(max(0.0, (due_at - _clock.now()).total_seconds()))
    if await all_closed(client, due_at + PATIENCE) is None:
        return None
    last = max(await fan_out(ran_at, range(n), at_once=AT_ONCE))
    return n / (last - due_at).total_seconds()


def _plugin() -> SimplePlugin:
    return SimplePlugin(
        "floor",
        workflows=[EmptyWorkflow],
        data_converter=data_converter,
        workflow_runner=SparedSandbox(),
    )


async def _work() -> None:
    """Work as a worker of ours does, until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await temporal.connect([_plugin()])
    activities = EmptyActivities()
    ours: list[Callable[..., Any]] = [activities.deliver_reminder, activities.close_reminders]
    async with worker.build_worker(client, ours, task_queue=TASK_QUEUE):
        print(READY, flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_work())
