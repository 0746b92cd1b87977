"""A held queue, as operators see it and set it going again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from reminders.clock import SystemClock
from reminders.db.audit import Action, AuditLog
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.tables import ReminderRow
from reminders.domain.model import StatusReason
from reminders.domain.pace import Pace, Quota, Usage
from reminders.settings import Settings
from tests.starter.conftest import Api

WORDS = "Resend answered 403 validation_error: The domain is not verified."


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own: a hold is everybody's."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
async def ledger(database: Database) -> PostgresDeliveryLedger:
    """The ledger of a worker whose key the provider refuses."""
    ledger = PostgresDeliveryLedger(database, SystemClock(), owner="w", pace=Pace.of(8))
    await ledger.hold(StatusReason.MISCONFIGURED, lasts=timedelta(minutes=1), detail=WORDS)
    return ledger


async def test_a_held_queue_is_resumed_once_and_audited(
    api: Api, ledger: PostgresDeliveryLedger, database: Database
) -> None:
    """It says what it is held for, goes on for every worker, and who did it is written down."""
    held = (await api.get("/v1/delivery")).json()
    assert ("misconfigured", WORDS) == (held["held_because"], held["held_detail"])
    (check,) = [c for c in (await api.get("/readyz")).json()["checks"] if c["name"] == "delivery"]
    assert WORDS in check["detail"]
    assert (await ledger.read([])).hold is not None

    resumed = await api.post("/v1/delivery/resume", json={"reason": "the key was rotated"})
    again = await api.post("/v1/delivery/resume")
    assert ({"held_because": "misconfigured"}, {"held_because": None}) == (
        resumed.json(),
        again.json(),
    )
    assert (await ledger.read([])).hold is None
    assert (await api.get("/v1/delivery")).json()["held_because"] is None
    (entry,) = await AuditLog(database).entries()
    assert (Action.DELIVERY_RESUMED, "api", "the key was rotated") == (
        entry.action,
        entry.actor,
        entry.reason,
    )


async def accepted(database: Database, session_id: UUID) -> None:
    """Have the provider accept one reminder of a session now."""
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.session_id == session_id, ReminderRow.reminder_type == "24h")
            .values(email_status="sent", sent_at=datetime.now(UTC))
        )


async def test_quotas_are_told_as_the_provider_told_them(
    api: Api, ledger: PostgresDeliveryLedger, database: Database
) -> None:
    """Daily and monthly, with their renewal and what was sent since; none before the first answer."""
    assert [] == (await api.get("/v1/delivery")).json()["quotas"]
    renewed = datetime(2026, 12, 1, tzinfo=UTC)
    await ledger.record_usage(
        Usage(
            daily=Quota(used=90, limit=100, resets_at=renewed),
            monthly=Quota(used=90, limit=None, resets_at=renewed),
        )
    )
    session_id, _ = await api.enrolled()
    await accepted(database, session_id)
    quotas = (await api.get("/v1/delivery")).json()["quotas"]
    assert [("daily", 90, 100, 1), ("monthly", 90, None, 1)] == [
        (q["name"], q["used"], q["limit"], q["sent_since"]) for q in quotas
    ]
