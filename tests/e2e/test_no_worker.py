"""Reminders fall due while nobody works: it is noticed, and mended by starting a worker."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from temporalio.client import Client
from typer.testing import CliRunner

import worker
from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.domain.keys import SWEEP_ID
from reminders.domain.model import ReminderStatus
from reminders.settings import Settings
from reminders.temporal import ensure_schedule
from starter.app import create_app
from starter.assembly import Parts, assemble
from starter.cli import main as cli
from starter.plugin import ReminderWorkerPlugin
from starter.services.namespace import sweep_schedule
from tests.provider import ProviderClient
from tests.stage import eventually
from tests.starter.conftest import Api

MINUTE = timedelta(minutes=1)


class Later:
    """The present, so much later."""

    def __init__(self, ahead: timedelta) -> None:
        """Go ahead by so much."""
        self._ahead = ahead

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC) + self._ahead


async def due_one(parts: Parts) -> datetime:
    """The instant of the one reminder, once it has passed."""
    (reminder,) = (
        await parts.queries.list(email_status=ReminderStatus.SCHEDULED, session_id=None)
    ).reminders

    async def passed() -> bool:
        return datetime.now(UTC) > reminder.due_at

    await eventually(passed)
    return reminder.due_at


async def test_nobody_works(
    *,
    settings: Settings,
    database: Database,
    client: Client,
    provider: ProviderClient,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red one minute after the first overdue one, naming the cause; then exactly one is sent."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    await ensure_schedule(
        client, SWEEP_ID, sweep_schedule("0 0 1 1 *", task_queue="nobody-polls-this")
    )
    app: FastAPI = create_app(settings)
    async with app.router.lifespan_context(app), Api(app) as api:
        await api.enrolled(starts_in=timedelta(minutes=30, seconds=20))
        due_at = await due_one(app.state.parts)
        early = await api.get("/readyz")
        monkeypatch.setattr(
            app.state.parts.examiner, "clock", Later(due_at + MINUTE - datetime.now(UTC))
        )
        red = await api.get("/readyz")
        metrics = await api.get("/metrics")
        cause = f"because no worker polls task queue {settings.temporal_task_queue}"
        assert "overdue" not in early.json()["cause"]
        assert (503, f"1 reminder is overdue by more than 60 s, {cause}") == (
            red.status_code,
            red.json()["cause"],
        )
        assert 'reminders_check_ok{check="worker"} 0.0' in metrics.text
        parts = assemble(settings, database, client)
        async with worker.build_worker(
            client,
            task_queue=settings.temporal_task_queue,
            plugins=[ReminderWorkerPlugin(parts)],
        ):

            async def well() -> bool:
                return (await api.get("/readyz")).status_code == 200

            await eventually(well)
    (accepted,) = await provider.accepted()
    assert re.search("(29|30) minutes", accepted["subject"])


def test_doctor_says_the_same(
    settings: Settings, temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reminders doctor` names the missing worker and its remedy, and exits with 5."""
    variables = {
        "TEMPORAL_ADDRESS": temporal_server.address,
        "DATABASE_URL": settings.require_database_url(),
        "TEMPORAL_TASK_QUEUE": settings.temporal_task_queue,
        "API_KEYS": "test-key",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(cli.app, ["doctor"])
    assert 5 == told.exit_code
    assert "reminders worker" in told.stdout
