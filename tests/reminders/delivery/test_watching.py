"""What a pipeline keeps an eye on: how much is left of the provider's quotas."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text

from devstack.provider.server import EmbeddedProvider
from reminders.db.engine import Database
from reminders.settings import Settings
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders
from tests.stage import eventually

QUOTAS = text("SELECT quota, used, quota_limit FROM provider_usage ORDER BY quota")


async def test_a_worker_writes_down_the_quotas_and_warns_before_one_ends(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is out of quota yet: with 9 of 10 e-mails used, the next worker's start tells."""
    with (
        EmbeddedProvider(rate=0, latency_ms=0, daily_quota=10) as server,
        caplog.at_level(logging.WARNING, "reminders.delivery.watching"),
    ):
        async with a_pipeline(settings, resend_api_url=server.url) as pipeline:
            await deliver(pipeline, await due_reminders(database, 9))
        caplog.clear()

        async def warned() -> bool:
            return "1 of 10 e-mails are left until" in caplog.text

        async with a_pipeline(settings, resend_api_url=server.url):
            await eventually(warned)
    assert [("daily", 9, 10), ("monthly", 9, None)] == [
        tuple(row) for row in await database.tuples(QUOTAS)
    ]
