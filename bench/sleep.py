"""What sleeping enrollments cost: memory, stored bytes, idle CPU; and waking some among them."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from bench import crowd, measure
from bench.backlog import settled
from bench.inbox import Inbox, accepted_at, sleep_until
from bench.measure import MeasurementError
from devstack.stack import LocalStack
from reminders.clock import SystemClock
from reminders.domain.keys import TASK_QUEUE
from starter.assembly import Parts

FAR = timedelta(days=30)
"""Until the sleepers' session starts."""
PROBE = 50
"""Enrollments that are woken among the sleepers: less than a full request."""
PROBE_IN = timedelta(seconds=10)
PATIENCE = timedelta(seconds=60)
IDLE_SECONDS = 10.0
"""How long nothing is done but looking at the CPU time."""

STORED = """
SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_stat_user_tables
"""
"""Bytes of all tables with their indexes."""

_clock = SystemClock()


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and nobody was lost.
    """
    parser = crowd.parser("sleep", __doc__, n=1000, of="sleeping enrollments")
    parser.add_argument(
        "--then", type=crowd.positive, nargs="*", default=[], help="and with so many, ascending"
    )
    given = parser.parse_args(arguments)
    sizes = [given.n, *given.then]
    if sizes != sorted(set(sizes)):
        parser.error("--then: larger than --n, and ascending")
    subjects: dict[str, list[measure.Numbers]] = {}
    for found in crowd.on_fresh_stacks("sleep", given.runs, lambda s: _grown(s, sizes)):
        for size, numbers in found.items():
            subjects.setdefault(f"{size:,}", []).append(numbers)
    measure.compare("Sleeping enrollments", subjects, {"bench": "sleep", "probe": PROBE})
    return 0


async def _grown(stack: LocalStack, sizes: list[int]) -> dict[int, measure.Numbers]:
    """The costs at each size, one after the other in the same system."""
    found: dict[int, measure.Numbers] = {}
    async with crowd.platform(stack) as parts, Inbox(stack.provider.url) as inbox:
        session_id = await crowd.new_session(parts, _clock.now() + FAR)
        empty = await _stored(parts, stack)
        asleep = 0
        for woken_before, size in enumerate(sizes):
            users = await crowd.people(parts, size - asleep)
            await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
            asleep = size
            await settled(parts.client, TASK_QUEUE)
            stored = await _stored(parts, stack)
            enrolled = size + woken_before * PROBE
            found[size] = {
                **{f"{name}_mb": measure.memory_mb(pid) for name, pid in _pids(stack).items()},
                **{
                    f"{name}_bytes_each": (stored[name] - empty[name]) / enrolled for name in stored
                },
                **await _idle(stack),
                **await _woken(parts, inbox, stack),
                "load": measure.load(),
            }
    return found


async def _idle(stack: LocalStack) -> measure.Numbers:
    """Per cent of a core that each part takes while nothing happens."""
    before, began = measure.cpu_used(_pids(stack)), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    after, seconds = measure.cpu_used(_pids(stack)), time.perf_counter() - began
    return {f"{name}_idle_percent": (after[name] - before[name]) / seconds * 100 for name in before}


async def _woken(parts: Parts, inbox: Inbox, stack: LocalStack) -> measure.Numbers:
    """CPU and lag of a small session that falls due among the sleepers.

    Raises:
        MeasurementError: If not all of its reminders are accepted.
    """
    due_at = _clock.now() + PROBE_IN
    users = await crowd.people(parts, PROBE)
    session_id = await crowd.new_session(parts, due_at + crowd.LEAD)
    await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
    before_count = await inbox.count()
    await sleep_until(due_at - timedelta(seconds=1))
    before = measure.cpu_used(_pids(stack))
    await sleep_until(due_at)
    wanted = before_count + PROBE
    await inbox.filled(wanted, until=due_at + PATIENCE, look=lambda _: stack.check())
    await settled(parts.client, TASK_QUEUE)
    cpu = measure.cpu_ms(before, measure.cpu_used(_pids(stack)), PROBE)
    emails = (await inbox.accepted())[before_count:]
    if len(emails) != PROBE:
        message = f"of {PROBE} woken reminders {len(emails)} were accepted"
        raise MeasurementError(message)
    lags = [(accepted_at(email) - due_at).total_seconds() for email in emails]
    return {
        "wake_cpu_ms_each": cpu,
        "wake_p50_lag_s": measure.percentile(lags, 50),
        "wake_last_lag_s": max(lags),
    }


async def _stored(parts: Parts, stack: LocalStack) -> dict[str, int]:
    """Bytes that the ledger and Temporal's file take."""
    async with parts.database.autocommit() as connection:
        ledger = await connection.scalar(text(STORED))
    return {"postgresql": int(ledger or 0), "temporal": _temporal_bytes(stack.folder)}


def _temporal_bytes(folder: Path) -> int:
    """Temporal's file, and what is written ahead of it."""
    return sum(file.stat().st_size for file in folder.glob("temporal.db*"))


def _pids(stack: LocalStack) -> dict[str, int | None]:
    return {
        "worker": stack.worker.pid,
        "temporal": stack.temporal.pid,
        "postgresql": stack.postgres.pid,
    }
