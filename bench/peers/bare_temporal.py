"""Temporal as its tutorial has it: a workflow sleeps, an activity posts, failures are retried."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    import httpx
    from temporalio.contrib.pydantic import pydantic_data_converter

    from bench.peers.mail import Mail, async_client, ready, request

TASK_QUEUE = "peer"
STARTED_AT_ONCE = 32


class Activities:
    """What the workflow has done."""

    def __init__(self, resend: httpx.AsyncClient) -> None:
        """Post through this."""
        self._resend = resend

    @activity.defn
    async def send(self, to: str) -> None:
        """Post one e-mail; may run twice, the idempotency key makes it one."""
        (await self._resend.post(**request(to))).raise_for_status()


@workflow.defn
class Remind:
    """Sleeps, then sends. **Workflow Id**: `reminder:{to}`."""

    @workflow.run
    async def run(self, to: str, due_at: datetime) -> None:
        """Sleep until it is due, then send, with Temporal's default retries: without end."""
        await workflow.sleep(due_at - workflow.now())
        await workflow.execute_activity_method(
            Activities.send, to, start_to_close_timeout=timedelta(seconds=10)
        )


def enroll(mails: Sequence[Mail]) -> None:
    """Start a workflow for each."""
    asyncio.run(_enroll(mails))


def work() -> None:
    """Work with the SDK's defaults until killed."""
    asyncio.run(_work())


async def _enroll(mails: Sequence[Mail]) -> None:
    client = await _connected()
    limit = asyncio.Semaphore(STARTED_AT_ONCE)

    async def start(mail: Mail) -> None:
        async with limit:
            await client.start_workflow(
                Remind.run,
                args=[mail.to, mail.due_at],
                id=f"reminder:{mail.to}",
                task_queue=TASK_QUEUE,
            )

    await asyncio.gather(*map(start, mails))


async def _work() -> None:
    async with async_client() as resend:
        worker = Worker(
            await _connected(),
            task_queue=TASK_QUEUE,
            workflows=[Remind],
            activities=[Activities(resend).send],
        )
        async with worker:
            ready()
            await asyncio.Event().wait()


async def _connected() -> Client:
    # With the default converter a workflow in the sandbox cannot read a datetime.
    return await Client.connect(
        os.environ["TEMPORAL_ADDRESS"], data_converter=pydantic_data_converter
    )
