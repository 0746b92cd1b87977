"""Due reminders in bulk, and pipelines to deliver them with, without any workflow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, insert, select, text

from reminders.clock import SharedClock
from reminders.db.engine import Database
from reminders.db.provider_tables import EmailBatchRow
from reminders.db.tables import EnrollmentRow, ReminderRow, SessionRow, UserRow
from reminders.delivery.pipeline import DeliveryPipeline, ignore
from reminders.delivery.policy import Step
from reminders.domain.contracts import DeliverReminderInput, DeliveryOutcome
from reminders.domain.keys import reminder_id, session_reminder_workflow_id
from reminders.domain.ports import Clock, DeliveryObserver
from reminders.settings import Settings
from starter.plugin import Delivery
from tests.provider import Json, ProviderClient


async def due_reminders(
    database: Database,
    count: int,
    *,
    starts_in: timedelta = timedelta(minutes=29),
    address: Callable[[int], str] = lambda n: f"attendee{n}@hospital.example",
    **session: Any,
) -> list[DeliverReminderInput]:
    """So many enrollments of one session, whose 30-minute reminder is due."""
    starts_at = datetime.now(UTC) + starts_in
    due_at = starts_at - timedelta(minutes=30)
    session_id, users = uuid4(), [uuid4() for _ in range(count)]
    ids = [reminder_id(session_id, user, "30min", 1) for user in users]
    async with database.transaction() as connection:
        await connection.execute(
            insert(SessionRow),
            [{"id": session_id, "title": "Cardiology", "start_time": starts_at, **session}],
        )
        people = [
            {"id": u, "email": address(n), "full_name": "Ana Ruiz"} for n, u in enumerate(users)
        ]
        await connection.execute(insert(UserRow), people)
        await connection.execute(
            insert(EnrollmentRow), [{"session_id": session_id, "user_id": u} for u in users]
        )
        rows = [
            {
                "id": i,
                "session_id": session_id,
                "user_id": user,
                "reminder_type": "30min",
                "due_at": due_at,
                "starts_at": starts_at,
                "workflow_id": session_reminder_workflow_id(session_id, user),
            }
            for i, user in zip(ids, users, strict=True)
        ]
        await connection.execute(insert(ReminderRow), rows)
    return [DeliverReminderInput(reminder_id=i, due_at=due_at, starts_at=starts_at) for i in ids]


async def deliver(
    pipeline: DeliveryPipeline, reminders: list[DeliverReminderInput]
) -> list[DeliveryOutcome | BaseException]:
    """Each reminder's outcome or error, as its activity would get it."""
    calls = (pipeline.deliver(reminder, run_id="run") for reminder in reminders)
    return await asyncio.gather(*calls, return_exceptions=True)


@asynccontextmanager
async def a_pipeline(
    settings: Settings,
    on_step: Callable[[Step], None] = ignore,
    *,
    observer: DeliveryObserver | None = None,
    machine: Clock | None = None,
    **changed: Any,
) -> AsyncIterator[Any]:
    """A running `DeliveryPipeline` as a worker has it, with connections of its own.

    `Any`, because tests look and reach into it.
    """
    settings, clock = settings.model_copy(update=changed), SharedClock(machine)
    database = Database(
        settings.require_database_url(),
        pool_size=settings.database_pool_size,
        host_schema=settings.existing_host_schema(),
        clock=clock,
    )
    delivery = Delivery.of(settings, database, clock, on_step=on_step, observer=observer)
    try:
        async with clock.listening(database.time), delivery.running():
            yield delivery.pipeline
    finally:
        await database.aclose()


async def statuses(database: Database) -> dict[str, int]:
    """How many rows are in each status, with the reason where there is one."""
    async with database.transaction() as connection:
        found = await connection.execute(
            select(
                ReminderRow.email_status + func.coalesce(": " + ReminderRow.status_reason, ""),
                func.count(),
            ).group_by(ReminderRow.email_status, ReminderRow.status_reason)
        )
        return {status: count for status, count in found}  # noqa: C416 - rows, not pairs


async def batches(database: Database) -> dict[str, int]:
    """How many batches are in each state."""
    async with database.transaction() as connection:
        found = await connection.execute(
            select(EmailBatchRow.state, func.count()).group_by(EmailBatchRow.state)
        )
        return {state: count for state, count in found}  # noqa: C416 - rows, not pairs


async def provider_ids(database: Database) -> dict[UUID, str | None]:
    """The provider's id of each reminder."""
    async with database.transaction() as connection:
        found = await connection.execute(select(ReminderRow.id, ReminderRow.resend_email_id))
        return {reminder: email for reminder, email in found}  # noqa: C416 - rows, not pairs


async def posts(provider: ProviderClient) -> list[Json]:
    """The requests that carried e-mails; a worker also asks for the quota now and then."""
    return [r for r in await provider.requests() if r["path"] == "/emails/batch"]


async def all_sent(database: Database, count: int) -> bool:
    """Whether so many reminders are sent."""
    return await statuses(database) == {"sent": count}


async def lapse_leases(database: Database) -> None:
    """Let all leases be over, as those of a worker that stood still."""
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE email_batches SET lease_until = now()"))
