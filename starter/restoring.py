"""After the ledger was restored from a backup: what has been sent since, as Temporal knows it.

Rows of a restored ledger look unsent although their e-mails are out. The histories of their
workflows say what became of each: it is brought into the ledger before any worker starts. What
was asked for and never answered stays in doubt, and is not sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client  # noqa: TID251 - reads histories, which nothing else does
from temporalio.service import RPCError, RPCStatusCode

from reminders.clock import SystemClock
from reminders.contracts import (
    CloseRemindersInput,
    DeliverReminderInput,
    DeliveryOutcome,
    ReminderPlan,
    SessionReminderInput,
)
from reminders.db.restoring import Found, RestoredLedger
from reminders.keys import reminder_id, session_reminder_workflow_id
from reminders.model import Reminder, ReminderStatus, StatusReason
from reminders.ports import Clock
from reminders.temporal import unavailable

PAGE = 500
"""Rows that are read and written at once."""
AT_ONCE = 20
"""Histories that are read at once."""
LONGEST_POLL = timedelta(seconds=70)

_T = TypeVar("_T")


class Reconciled(BaseModel):
    """What was found; counts of reminders that the restored ledger had as pending."""

    looked_at: int
    still_waiting: int
    """Never asked for, or only when the database was down already: they go out as planned."""
    ended: dict[str, int]
    """Brought into the ledger, by `status` or `status: reason`."""


@dataclass(slots=True)
class _Told:
    """What one workflow's newest run says about its reminders."""

    known: dict[UUID, Found] = field(default_factory=dict)
    asked: dict[UUID, datetime] = field(default_factory=dict)
    """When each was asked for first, of those whose answer is not known."""


async def polling_now(client: Client, task_queue: str) -> bool:
    """Whether a worker may run: one has polled within the longest time that a poll takes.

    Raises:
        TemporalUnavailableError: If Temporal does not answer.
    """
    latest = datetime.min.replace(tzinfo=UTC)
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        with unavailable():
            found = await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=client.namespace,
                    task_queue=TaskQueue(name=task_queue),
                    task_queue_type=kind,
                )
            )
        polls = [p.last_access_time.ToDatetime(tzinfo=UTC) for p in found.pollers]
        latest = max([latest, *polls])
    return SystemClock().now() - latest < LONGEST_POLL


async def reconcile(
    client: Client,
    ledger: RestoredLedger,
    clock: Clock,
    *,
    down_since: datetime,
    actor: str,
    reason: str | None = None,
    dry_run: bool = False,
) -> Reconciled:
    """Bring a restored ledger up to what Temporal knows; safe to repeat.

    No worker may run meanwhile. Costs a history for each enrollment that has something pending.

    Args:
        client: For the namespace of before.
        ledger: Restored, and migrated to this release.
        clock: Judges what lies ahead.
        down_since: From when on the lost database took no more writes, at the latest. What was
            asked for later cannot have been sent, because a request is written down first.
        actor: Who, for the audit log.
        reason: Why, for the audit log.
        dry_run: Only count.

    Raises:
        TemporalUnavailableError: If Temporal does not answer; what was marked stays, repeat it.
        DatabaseUnavailableError: If PostgreSQL does not answer; likewise.
    """
    slots = asyncio.Semaphore(AT_ONCE)
    counts: Counter[str] = Counter()
    looked_at = 0

    async def judged(reminder: Reminder) -> Found | None:
        async with slots:
            told = await _told(client, reminder)
        return _judge(reminder, told, down_since=down_since, now=clock.now())

    async for page in _pages(ledger):
        looked_at += len(page)
        found = [f for f in await asyncio.gather(*map(judged, page)) if f is not None]
        counts.update(f"{f.status}: {f.reason}" if f.reason else f.status.value for f in found)
        if not dry_run:
            await ledger.mark(found)
    if not dry_run:
        details = {"looked_at": looked_at, "ended": dict(counts)}
        await ledger.go_on(actor=actor, reason=reason, details=details)
    return Reconciled(
        looked_at=looked_at,
        still_waiting=looked_at - counts.total(),
        ended=dict(sorted(counts.items())),
    )


async def _pages(ledger: RestoredLedger) -> AsyncIterator[tuple[Reminder, ...]]:
    after = None
    while page := tuple(await ledger.pending(after=after, limit=PAGE)):
        yield page
        after = page[-1].id


def _judge(
    reminder: Reminder, told: _Told | None, *, down_since: datetime, now: datetime
) -> Found | None:
    """How a pending row has ended; `None` if it still waits."""
    in_doubt = Found(
        reminder_id=reminder.id, status=ReminderStatus.FAILED, reason=StatusReason.OUTCOME_UNKNOWN
    )
    if told is None:  # Temporal has forgotten it, or never knew it
        is_ahead = reminder.due_at > now and reminder.status is ReminderStatus.SCHEDULED
        return None if is_ahead else in_doubt
    if (asked_at := told.asked.get(reminder.id)) is not None and asked_at < down_since:
        return in_doubt
    if (found := told.known.get(reminder.id)) is not None:
        return found
    return in_doubt if reminder.status is ReminderStatus.SENDING else None


async def _told(client: Client, reminder: Reminder) -> _Told | None:
    """What the newest run of the reminder's workflow says; `None` if there is none."""
    workflow_id = session_reminder_workflow_id(reminder.session_id, reminder.user_id)
    try:
        with unavailable():
            history = await client.get_workflow_handle(workflow_id).fetch_history()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None
    told = _Told()
    reader = _Reader(client, reminder, told)
    for event in history.events:
        await reader.read(event)
    return told


class _Reader:
    """Follows one history, event by event."""

    def __init__(self, client: Client, reminder: Reminder, told: _Told) -> None:
        self._converter = client.data_converter
        self._of = (reminder.session_id, reminder.user_id)
        self._told = told
        self._scheduled: dict[int, UUID] = {}
        """Ids of rows by the events that asked for their delivery."""

    async def read(self, event: HistoryEvent) -> None:
        """Note what an event says."""
        if event.HasField("workflow_execution_started_event_attributes"):
            started = event.workflow_execution_started_event_attributes
            enrolled = await self._decoded(started.input.payloads, SessionReminderInput)
            self._plan(enrolled.plan)
        elif event.HasField("workflow_execution_update_accepted_event_attributes"):
            accepted = event.workflow_execution_update_accepted_event_attributes
            arguments = accepted.accepted_request.input.args.payloads
            self._plan(await self._decoded(arguments, ReminderPlan))
        elif event.HasField("activity_task_scheduled_event_attributes"):
            await self._asked(event)
        elif event.HasField("activity_task_completed_event_attributes"):
            await self._answered(event)

    def _plan(self, plan: ReminderPlan) -> None:
        """A plan carries what the ledger knew when it was made."""
        for planned in plan.reminders:
            if not planned.status.is_pending:
                row = reminder_id(*self._of, planned.reminder_type, planned.generation)
                self._know(row, planned.status, planned.reason, planned.due_at)

    async def _asked(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        payloads = scheduled.input.payloads
        if scheduled.activity_type.name == "deliver_reminder":
            asked = await self._decoded(payloads, DeliverReminderInput)
            self._scheduled[event.event_id] = asked.reminder_id
            self._told.asked.setdefault(asked.reminder_id, _instant(event))
        elif scheduled.activity_type.name == "close_reminders":
            closed = await self._decoded(payloads, CloseRemindersInput)
            for row in closed.reminder_ids:
                self._know(row, closed.status, closed.reason, None)

    async def _answered(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        row = self._scheduled.get(completed.scheduled_event_id)
        if row is None:
            return
        outcome = await self._decoded(completed.result.payloads, DeliveryOutcome)
        self._told.asked.pop(row, None)
        if not outcome.status.is_pending:  # else it is due later: as good as never asked for
            self._know(row, outcome.status, outcome.reason, _instant(event))

    def _know(
        self, row: UUID, status: ReminderStatus, reason: StatusReason | None, at: datetime | None
    ) -> None:
        """The first that is told of a row holds: later plans repeat it."""
        is_accepted = status.is_accepted
        found = Found(
            reminder_id=row,
            status=ReminderStatus.SENT if is_accepted else status,
            reason=None if is_accepted else reason,
            sent_at=at if is_accepted else None,
        )
        self._told.known.setdefault(row, found)

    async def _decoded(self, payloads: Iterable[object], kind: type[_T]) -> _T:
        [value] = await self._converter.decode(list(payloads), [kind])  # type: ignore[arg-type]
        return value  # type: ignore[no-any-return]


def _instant(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)
