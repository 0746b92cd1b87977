"""A worker dies at every moment of a batch's life, really; nobody is mailed twice or forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from reminders.contracts import DeliveryOutcome
from reminders.db.engine import Database
from reminders.delivery.policy import Step
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


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("step", list(Step))
async def test_killed_at_a_step(
    settings: Settings, database: Database, provider: ProviderClient, step: Step, size: int
) -> None:
    """After the restart each is accepted once, has the provider's id, and none is in `sending`."""
    reminders = await due_reminders(database, size)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.reminders.delivery.dying",
        step,
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
    await process.communicate(REMINDERS.dump_json(reminders))
    assert -signal.SIGKILL == process.returncode

    async with a_pipeline(settings) as pipeline:
        waiting = reminders
        for _ in range(10):  # as Temporal's retries would
            outcomes = await deliver(pipeline, waiting)
            ended = [isinstance(o, DeliveryOutcome) for o in outcomes]
            waiting = [r for r, e in zip(waiting, ended, strict=True) if not e]
            if not waiting:
                break
            await asyncio.sleep(1)
    assert {"sent": size} == await statuses(database)
    assert None not in (await provider_ids(database)).values()
    assert "frozen" not in await batches(database)
    accepted = await provider.accepted()
    assert size == len(accepted) == len({mail["tags"]["reminder_id"] for mail in accepted})
