"""What is only needed for a while is forgotten, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import insert, select

from reminders.clock import SystemClock
from reminders.db.engine import Database
from reminders.db.provider_tables import EmailBatchRow, WebhookEventRow
from reminders.db.retention import KEPT, PostgresRetention

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - KEPT - timedelta(hours=1), NOW - KEPT + timedelta(hours=1)


def a_batch(state: str, *, at: datetime) -> dict[str, object]:
    """A request that was frozen, and ended unless it is frozen still, at an instant."""
    return {
        "id": uuid4(),
        "state": state,
        "reminder_ids": [uuid4()],
        "useful_until": at,
        "frozen_at": at,
        "settled_at": None if state == "frozen" else at,
        "owner": "somebody",
        "lease_until": at,
    }


async def test_only_what_is_old_and_ended_is_forgotten(database: Database) -> None:
    """Old events and ended requests go; young ones, and an old one in doubt, stay."""
    batches = [
        a_batch("settled", at=OLD),
        a_batch("released", at=OLD),
        a_batch("frozen", at=OLD),
        a_batch("settled", at=YOUNG),
    ]
    events = [
        {"svix_id": name, "type": "email.delivered", "occurred_at": at, "received_at": at}
        for name, at in (("old", OLD), ("young", YOUNG))
    ]
    async with database.transaction() as connection:
        await connection.execute(insert(EmailBatchRow), batches)
        await connection.execute(insert(WebhookEventRow), events)

    retention = PostgresRetention(database, SystemClock())
    assert 3 == await retention.forget()
    assert 0 == await retention.forget()

    async with database.transaction() as connection:
        left: set[UUID] = set(await connection.scalars(select(EmailBatchRow.id)))
        assert left == {batch["id"] for batch in batches[2:]}
        assert ["young"] == list(await connection.scalars(select(WebhookEventRow.svix_id)))
