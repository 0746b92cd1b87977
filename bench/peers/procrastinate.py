"""Procrastinate: PostgreSQL is the queue, `schedule_at` is the due instant.

Source:
    procrastinate.readthedocs.io, "Schedule a task", "Define a retry strategy on a task".
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import httpx
from procrastinate import App, PsycopgConnector, RetryStrategy

from bench.peers.mail import AT_ONCE, Mail, async_client, ready, request

app = App(connector=PsycopgConnector(conninfo=os.environ.get("DATABASE_URL", "")))
_resend: list[httpx.AsyncClient] = []


@app.task(name="send", retry=RetryStrategy(max_attempts=10, exponential_wait=2))
async def send(to: str) -> None:
    """Post one e-mail; tried ten times, after 2, 4, 8, ... seconds."""
    (await _resend[0].post(**request(to))).raise_for_status()


def enroll(mails: Sequence[Mail]) -> None:
    """Defer a job for each."""
    asyncio.run(_enroll(mails))


def work() -> None:
    """Work until killed, looking for due jobs every 5 s, which is the default."""
    asyncio.run(_work())


async def _enroll(mails: Sequence[Mail]) -> None:
    async with app.open_async():
        for mail in mails:
            await send.configure(schedule_at=mail.due_at).defer_async(to=mail.to)


async def _work() -> None:
    async with async_client() as resend, app.open_async():
        _resend.append(resend)
        await app.schema_manager.apply_schema_async()
        ready()
        await app.run_worker_async(concurrency=AT_ONCE)
