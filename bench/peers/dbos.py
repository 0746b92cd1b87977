"""DBOS: a durable workflow on PostgreSQL for each reminder, asleep until it is due.

Source:
    docs.dbos.dev, "Queues & Concurrency", "Configurable Retries".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
from dbos import DBOS, DBOSClient

from bench.peers.mail import Mail, async_client, ready, request
from reminders.clock import SystemClock

QUEUE = "reminders"
LEAST_SECONDS = 0.001
"""A sleep of nothing would not be recorded, and a recovery would count the steps differently."""

_clock = SystemClock()
_resend: list[httpx.AsyncClient] = []


@DBOS.step(retries_allowed=True, max_attempts=10)
async def send(to: str) -> None:
    """Post one e-mail; tried ten times, after 1, 2, 4, ... seconds."""
    (await _resend[0].post(**request(to))).raise_for_status()


@DBOS.workflow(name="remind")
async def remind(to: str, due_at: float) -> None:
    """Sleep until it is due (seconds since 1970), then send."""
    wait = datetime.fromtimestamp(due_at, UTC) - _clock.now()
    await DBOS.sleep_async(max(wait.total_seconds(), LEAST_SECONDS))
    await send(to)


def enroll(mails: Sequence[Mail]) -> None:
    """Enqueue a workflow for each."""
    client = DBOSClient(system_database_url=os.environ["DATABASE_URL"])
    for mail in mails:
        client.enqueue(
            {"workflow_name": "remind", "queue_name": QUEUE}, mail.to, mail.due_at.timestamp()
        )
    client.destroy()


def work() -> None:
    """Work until killed."""
    asyncio.run(_work())


async def _work() -> None:
    DBOS(config={"name": "peer", "system_database_url": os.environ["DATABASE_URL"]})
    async with async_client() as resend:
        _resend.append(resend)
        DBOS.launch()
        await DBOS.register_queue_async(QUEUE)
        ready()
        await asyncio.Event().wait()
