"""Durable enrollments a second: by gateway, API, many a call and backfill, beside bare starts."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import httpx
from sqlalchemy import insert

from bench import crowd, floor, measure
from bench.backlog import settled
from bench.empty import EmptyWorkflow
from devstack.stack import LocalStack
from reminders.clock import SystemClock
from reminders.db.tables import EnrollmentRow
from reminders.domain.keys import TASK_QUEUE
from starter.api.enrollments import AT_MOST
from starter.assembly import Parts

FAR = timedelta(days=30)
"""Until the sessions start: nothing falls due meanwhile."""

BARE, GATEWAY, API = "bare start_workflow", "gateway", "API"
MANY, BACKFILL = "API, many a call", "backfill"
PATIENCE = 60
"""Seconds for one call."""
FASTEST = 1000.0
"""Enrollments a second that a backfill may do at the most: more than it can."""

_clock = SystemClock()


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured.
    """
    given = crowd.parser("enroll", __doc__, n=500, of="enrollments each").parse_args(arguments)
    runs: dict[str, list[measure.Numbers]] = {}
    for found in crowd.on_fresh_stacks(
        "enroll", given.runs, lambda stack: _all(stack, given.n), with_api=True
    ):
        for name, numbers in found.items():
            runs.setdefault(name, []).append(numbers)
    measure.compare(
        f"Enrollments, {crowd.AT_ONCE} at once",
        runs,
        {"bench": "enroll", "n": given.n, "at_once": crowd.AT_ONCE},
    )
    return 0


async def _all(stack: LocalStack, n: int) -> dict[str, measure.Numbers]:
    """One way after the other, each on a server that is done with the one before."""
    with floor.working(stack):
        return await _ways(stack, n)


async def _ways(stack: LocalStack, n: int) -> dict[str, measure.Numbers]:
    headers = {"Authorization": f"Bearer {crowd.API_KEY}"}
    async with (
        crowd.platform(stack) as parts,
        httpx.AsyncClient(base_url=stack.api_url, headers=headers, trust_env=False) as api,
    ):
        starts_at = _clock.now() + FAR
        session_id = await crowd.new_session(parts, starts_at)

        async def bare(user_id: UUID) -> None:
            await parts.client.start_workflow(
                EmptyWorkflow.run, starts_at, id=f"floor:{user_id}", task_queue=floor.TASK_QUEUE
            )

        async def gateway(user_id: UUID) -> None:
            await parts.gateway.enroll(session_id, user_id)

        async def through_api(user_id: UUID) -> None:
            body = {"session_id": str(session_id), "user_id": str(user_id)}
            (await api.post("/v1/enrollments", json=body)).raise_for_status()

        found = {
            BARE: await _measured(parts, n, bare, floor.TASK_QUEUE),
            GATEWAY: await _measured(parts, n, gateway, TASK_QUEUE),
            API: await _measured(parts, n, through_api, TASK_QUEUE),
            MANY: await _many(parts, n, api, session_id),
            BACKFILL: await _backfilled(parts, n),
        }
    bare_rate, single_rate = found[BARE]["per_second"], found[API]["per_second"]
    return {
        name: {
            **numbers,
            "ratio_to_bare": numbers["per_second"] / bare_rate,
            "ratio_to_single_calls": numbers["per_second"] / single_rate,
        }
        for name, numbers in found.items()
    }


async def _measured(
    parts: Parts, n: int, enroll: Callable[[UUID], Awaitable[None]], task_queue: str
) -> dict[str, float]:
    """One way for so many people; then wait until the workers have seen to all of them."""
    users = await crowd.people(parts, n + crowd.AT_ONCE)
    await crowd.at_once(enroll, users[n:])  # connects
    seconds, each = await crowd.timed(enroll, users[:n])
    await settled(parts.client, task_queue)
    return {
        "per_second": n / seconds,
        "p50_ms": measure.percentile(each, 50) * 1000,
        "p99_ms": measure.percentile(each, 99) * 1000,
        "load": measure.load(),
    }


async def _many(parts: Parts, n: int, api: httpx.AsyncClient, session_id: UUID) -> dict[str, float]:
    """So many people in as few calls as they fit into, one after the other.

    Raises:
        MeasurementError: If not all of them are enrolled.
    """
    users = await crowd.people(parts, n + 1)
    path = f"/v1/sessions/{session_id}/enrollments"

    async def call(some: list[UUID]) -> int:
        people = [{"user_id": str(user_id)} for user_id in some]
        answer = await api.post(path, json={"enrollments": people}, timeout=PATIENCE)
        return int(answer.raise_for_status().json()["enrolled"])

    await call(users[n:])  # connects
    began = time.perf_counter()
    enrolled = 0
    for first in range(0, n, AT_MOST):
        enrolled += await call(users[first : min(first + AT_MOST, n)])
    seconds = time.perf_counter() - began
    await settled(parts.client, TASK_QUEUE)
    if enrolled != n:
        message = f"of {n} people {enrolled} were enrolled"
        raise measure.MeasurementError(message)
    return {"per_second": n / seconds, "load": measure.load()}


async def _backfilled(parts: Parts, n: int) -> dict[str, float]:
    """So many people who are enrolled in the platform's table, and whom nobody has planned.

    Raises:
        MeasurementError: If not all of them are planned.
    """
    session_id = await crowd.new_session(parts, _clock.now() + FAR)
    rows = [
        {"session_id": session_id, "user_id": user_id} for user_id in await crowd.people(parts, n)
    ]
    async with parts.database.transaction() as connection:
        await connection.execute(insert(EnrollmentRow), rows)
    began = time.perf_counter()
    done = await parts.backfill.run(session_id=session_id, rate=FASTEST)
    seconds = time.perf_counter() - began
    await settled(parts.client, TASK_QUEUE)
    if done.planned != n:
        message = f"of {n} enrollments {done.planned} were planned"
        raise measure.MeasurementError(message)
    return {"per_second": n / seconds, "load": measure.load()}
