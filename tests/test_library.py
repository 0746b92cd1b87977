"""The programs of docs/library.md, run as they stand there, in processes of their own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from devstack.temporal import EmbeddedTemporal
from reminders.domain.model import Attendee, ReminderStatus, Session
from reminders.settings import Settings
from starter.assembly import assembled
from tests.provider import ProviderClient
from tests.stage import eventually

ROOT = Path(__file__).resolve().parents[1]
ASK, WORK = re.findall(
    r"(?s)```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
)
ENOUGH = timedelta(seconds=60)
"""For a process to start, on a machine that is busy."""


@pytest.fixture
def environment(settings: Settings, temporal_server: EmbeddedTemporal) -> dict[str, str]:
    """What a host's process finds: this test's parts."""
    assert settings.resend_api_key is not None
    return {
        **os.environ,
        "TEMPORAL_ADDRESS": temporal_server.address,
        "DATABASE_URL": settings.require_database_url(),
        "TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
        "SWEEP_CRON": settings.sweep_cron,
        "RESEND_API_URL": settings.resend_api_url,
        "RESEND_API_KEY": settings.resend_api_key.get_secret_value(),
        "DELIVERY_MODE": "live",
        "EMAIL_FROM": "Reminders <reminders@platform.example>",
    }


async def started(program: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """A program, as a process that was started where nothing of ours lies."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=environment,
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_host_asks(environment: dict[str, str]) -> None:
    """Its session, person and enrollment are stored, and three reminders wait; no worker runs."""
    process = await started(ASK, environment)
    told, errors = await asyncio.wait_for(process.communicate(), ENOUGH.total_seconds())
    assert process.returncode == 0, errors.decode()
    lines = [line.split() for line in told.decode().splitlines()]
    assert [("24h", "scheduled"), ("2h", "scheduled"), ("30min", "scheduled")] == [
        (line[0], line[-1]) for line in lines
    ]


async def test_a_host_works(
    environment: dict[str, str],
    settings: Settings,
    provider: ProviderClient,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a worker of its own a reminder that falls due goes out, and it stops when it is told."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    process = await started(WORK, environment)
    starts_at = datetime.now(UTC) + timedelta(minutes=30, seconds=20)
    session = Session(id=uuid4(), title="Hosted", starts_at=starts_at)
    ana = Attendee(user_id=uuid4(), email="ana@hospital.example")
    async with assembled(settings) as parts:
        await parts.catalogue.put_session(session)
        await parts.catalogue.put_user(ana)
        await parts.gateway.enroll(session.id, ana.user_id)

        async def is_sent() -> bool:
            story = await parts.gateway.why(session.id, ana.user_id)
            return story.reminders[-1].status is ReminderStatus.SENT

        await eventually(is_sent, within=ENOUGH)
    process.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(process.communicate(), ENOUGH.total_seconds())
    assert process.returncode == 0, errors.decode()
    (accepted,) = await provider.accepted()
    assert ["ana@hospital.example"] == accepted["to"]
