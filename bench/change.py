"""Moving a whole session, and cancelling it: until every enrollment has been told.

Beside it as many bare updates of workflows that only sleep: more than that this Temporal cannot do.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

from bench import crowd, floor, measure
from bench.backlog import all_closed, settled
from bench.measure import MeasurementError
from devstack.stack import LocalStack
from reminders.clock import SystemClock
from reminders.domain.keys import TASK_QUEUE

FAR = timedelta(days=30)
"""Until the session starts: nothing falls due meanwhile."""
LATER = timedelta(days=1)
"""How far it is moved."""
PATIENCE = timedelta(minutes=10)
FLOOR = 2_000
"""How many workflows that do nothing are told another instant, at the most."""

_clock = SystemClock()


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and everybody had confirmed it by then.
    """
    given = crowd.parser("change", __doc__, n=500, of="enrollments").parse_args(arguments)
    runs = crowd.on_fresh_stacks("change", given.runs, lambda stack: _one_run(stack, given.n))
    measure.report(
        f"A session of {given.n} is moved, then cancelled", runs, {"bench": "change", "n": given.n}
    )
    return int(any(run["unconfirmed"] for run in runs))


async def _one_run(stack: LocalStack, n: int) -> measure.Numbers:
    """Enroll, move, cancel.

    Raises:
        MeasurementError: If somebody was forgotten, or it is not done in time.
        EmbeddedServerError: If a worker of the floor does not start.
    """
    async with crowd.platform(stack) as parts:
        session_id = await crowd.new_session(parts, _clock.now() + FAR)
        users = await crowd.people(parts, n)
        await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
        await settled(parts.client, TASK_QUEUE)
        session = await parts.catalogue.session(session_id)

        cpu_before, began = crowd.cpu(stack), time.perf_counter()
        moved_to = replace(session, starts_at=session.starts_at + LATER)
        _, moved = await parts.gateway.put_session(moved_to, wait=PATIENCE)
        move_seconds = time.perf_counter() - began
        cpu_after, worker_mb = crowd.cpu(stack), measure.memory_mb(stack.worker.pid)
        await settled(parts.client, TASK_QUEUE)

        began = time.perf_counter()
        cancelled = await parts.gateway.cancel_session(session_id, wait=PATIENCE)
        cancel_seconds = time.perf_counter() - began
        closed = await all_closed(parts.client, _clock.now() + PATIENCE)
    reached = [done.replanned + done.unconfirmed for done in (moved, cancelled)]
    if closed is None or reached != [n, n]:
        message = f"of {n} enrollments {reached[0]} were moved and {reached[1]} cancelled"
        raise MeasurementError(message)
    for worker in stack.workers:
        worker.stop()
    at_best = await floor.moved(stack, min(n, FLOOR))
    return {
        "move_s": move_seconds,
        "moved_per_second": n / move_seconds,
        "floor_per_second": at_best,
        "cancel_s": cancel_seconds,
        "cancelled_per_second": n / cancel_seconds,
        "all_closed_s": time.perf_counter() - began,
        **{
            f"move_cpu_ms_{name}": measure.cpu_ms({name: used}, cpu_after, n)
            for name, used in cpu_before.items()
        },
        "worker_mb": worker_mb,
        "unconfirmed": moved.unconfirmed + cancelled.unconfirmed,
        "load": measure.load(),
    }
