"""What one enrollment with three reminders costs Temporal: events, bytes, billable actions.

The real workflow through the real gateway, on a clock that is wound forward; sending does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from contextlib import ExitStack
from datetime import timedelta
from uuid import uuid4

from temporalio.api.enums.v1 import EventType
from temporalio.testing import TimeSkipper, TimeSkippingConfig

import worker
from bench import measure
from devstack.postgres import EmbeddedPostgres
from devstack.stack import DATABASE, migrate_database
from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.db.engine import Database
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.domain.keys import TASK_QUEUE
from reminders.domain.model import Attendee, ReminderStatus, Session
from reminders.settings import Settings
from starter.assembly import assemble
from starter.plugin import activities
from workflows.plugin import SessionReminderPlugin

STARTS_IN = timedelta(days=7)

BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
}
"""What Temporal Cloud counts as an action in a run without updates (docs: evaluate/cloud/actions)."""
WINDING = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
"""What only the winding leaves in a history."""


class Accepts:
    """Delivers by saying so; implements `reminders.domain.ports.Deliverer`."""

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """Say that it was sent."""
        del reminder, run_id
        return DeliveryOutcome(status=ReminderStatus.SENT)

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Say that all were closed."""
        return CloseRemindersResult(closed=len(request.reminder_ids), in_doubt=0)


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured.
    """
    argparse.ArgumentParser(prog="bench history", description=__doc__).parse_args(arguments)
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres())
        server = stack.enter_context(EmbeddedTemporal(headless=True))
        postgres.create_database(DATABASE)
        migrate_database(postgres.url(DATABASE))
        os.environ.update(TEMPORAL_ADDRESS=server.address, TEMPORAL_CONFIG_FILE=os.devnull)
        numbers = asyncio.run(_life(postgres.url(DATABASE)))
    measure.report("One enrollment, three reminders", [numbers], {"bench": "history"})
    return 0


async def _life(database_url: str) -> measure.Numbers:
    """Enroll somebody, let a week pass in a moment, and read the history."""
    skipper = TimeSkipper(
        await temporal.connect([SessionReminderPlugin()]), config=TimeSkippingConfig(enabled=True)
    )
    database = Database(database_url)
    parts = assemble(Settings(database_url=database_url), database, skipper.client)
    starts_at = parts.clock.now() + STARTS_IN
    session = Session(id=uuid4(), title="Cardiology update", starts_at=starts_at)
    attendee = Attendee(user_id=uuid4(), email="ana.ruiz@example.com", full_name="Ana Ruiz")
    ours = activities(parts, Accepts())
    async with worker.build_worker(skipper.client, ours, task_queue=TASK_QUEUE):
        await parts.gateway.put_session(session)
        await parts.catalogue.put_user(attendee)
        enrolled = await parts.gateway.enroll(session.id, attendee.user_id)
        handle = skipper.client.get_workflow_handle(enrolled.workflow_id)
        await handle.result()
        history = await handle.fetch_history()
    await database.aclose()
    events = [event for event in history.events if event.event_type != WINDING]
    return {
        "reminders": len(enrolled.reminders),
        "events": len(events),
        "bytes": sum(event.ByteSize() for event in events),
        "billable_actions": sum(event.event_type in BILLED for event in events),
    }
