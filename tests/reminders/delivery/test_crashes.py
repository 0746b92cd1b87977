"""A worker dies at every moment of a batch's life, really; nobody is mailed twice or forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from reminders.db.engine import Database
from reminders.delivery.pipeline import DeliveryPipeline
from reminders.delivery.policy import Step
from reminders.domain.contracts import DeliverReminderInput, DeliveryOutcome
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import (
    a_pipeline,
    batches,
    deliver,
    due_reminders,
    provider_ids,
    statuses,
)
from tests.reminders.delivery.dying import REMINDERS
from tests.stage import eventually

pytestmark = pytest.mark.proof


async def a_process(
    settings: Settings, step: Step, blow: str = "SIGKILL"
) -> asyncio.subprocess.Process:
    """A process that delivers what it is given, until the signal strikes it at the step."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.reminders.delivery.dying",
        step,
        blow,
        stdin=asyncio.subprocess.PIPE,
        env={
            "PATH": os.defpath,
            "DATABASE_URL": settings.require_database_url(),
            "RESEND_API_URL": settings.resend_api_url,
            "RESEND_API_KEY": settings.require_resend_api_key(),
            "DELIVERY_MODE": "live",
            "EMAIL_FROM": "Reminders <reminders@platform.example>",
            "EMAIL_REQUESTS_PER_SECOND": "1000",
        },
    )


async def deliver_with_retries(
    pipeline: DeliveryPipeline, reminders: list[DeliverReminderInput]
) -> None:
    """Deliver as Temporal would: what failed this time is tried again a second later."""
    waiting = reminders
    for _ in range(30):
        outcomes = await deliver(pipeline, waiting)
        ended = [isinstance(o, DeliveryOutcome) for o in outcomes]
        waiting = [r for r, e in zip(waiting, ended, strict=True) if not e]
        if not waiting:
            return
        await asyncio.sleep(1)


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 100])
@pytest.mark.parametrize("step", list(Step))
async def test_killed_at_a_step(
    settings: Settings, database: Database, provider: ProviderClient, step: Step, size: int
) -> None:
    """After the restart each is accepted once, has the provider's id, and none is in `sending`."""
    reminders = await due_reminders(database, size)
    process = await a_process(settings, step)
    await process.communicate(REMINDERS.dump_json(reminders))
    assert -signal.SIGKILL == process.returncode

    async with a_pipeline(settings) as pipeline:
        await deliver_with_retries(pipeline, reminders)
    assert {"sent": size} == await statuses(database)
    assert None not in (await provider_ids(database)).values()
    assert "frozen" not in await batches(database)
    accepted = await provider.accepted()
    assert size == len(accepted) == len({mail["tags"]["reminder_id"] for mail in accepted})


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_a_worker_that_is_paused_beyond_every_time_out_repeats_nothing(
    settings: Settings, database: Database, provider: ProviderClient, count: int
) -> None:
    """Stopped in mid-herd, it wakes when another has done its work: one e-mail each."""
    reminders = await due_reminders(database, count)
    paused = await a_process(settings, Step.POSTED, "SIGSTOP")
    assert paused.stdin is not None
    paused.stdin.write(REMINDERS.dump_json(reminders))
    paused.stdin.close()
    await eventually(lambda: is_stopped(paused.pid))

    async with a_pipeline(settings) as pipeline:
        await deliver_with_retries(pipeline, reminders)
    assert {"sent": count} == await statuses(database)
    paused.send_signal(signal.SIGCONT)
    await asyncio.wait_for(paused.wait(), 60)
    assert {"sent": count} == await statuses(database)
    accepted = await provider.accepted()
    assert count == len(accepted) == len({mail["tags"]["reminder_id"] for mail in accepted})


async def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal."""
    stat = await asyncio.to_thread(Path(f"/proc/{pid}/stat").read_text)
    return stat.rpartition(")")[2].split()[0] == "T"
