"""What Temporal's histories say of an enrollment: every run of its workflow, the oldest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory  # noqa: TID251 - reads, starts nothing

from reminders.db.restoring import Found
from reminders.domain.contracts import (
    CloseRemindersInput,
    DeliverReminderInput,
    DeliveryOutcome,
    PlannedReminder,
    ReminderPlan,
    SessionReminderInput,
)
from reminders.domain.keys import enrollment_of, reminder_id, session_reminder_workflow_id
from reminders.domain.model import Notice, ReminderStatus, StatusReason
from reminders.domain.ports import Enrollment
from reminders.temporal import if_there, unavailable
from workflows.session_reminder import SessionReminderWorkflow

_T = TypeVar("_T")


@dataclass(slots=True)
class Account:
    """What all runs of one enrollment's workflow say."""

    known: dict[UUID, Found] = field(default_factory=dict)
    """Every reminder of any plan, by the id of its row."""
    asked: dict[UUID, tuple[datetime, datetime]] = field(default_factory=dict)
    """When each was asked for first, and when it was due then, of those whose answer is not known."""
    version: int = 0
    """Of the newest plan."""
    starts_at: datetime | None = None
    """When the session starts, by the newest plan."""
    learned_at: datetime | None = None
    """When a run learned that."""
    waits: bool = False
    """Whether something was still to be sent, by the newest plan."""
    is_called_off: bool = False
    """Whether that was only the notice that the session is cancelled."""
    cancelled_at: datetime | None = None
    """When the newest run was asked to end; absent if it was not."""
    cancelled_because: StatusReason | None = None

    def newest_generation(self, reminder_type: str) -> int:
        """The highest generation of a type that any plan speaks of; 0 if none does."""
        of_type = (k.generation for k in self.known.values() if k.reminder_type == reminder_type)
        return max(of_type, default=0)


@dataclass(frozen=True, slots=True)
class Histories:
    """Reads the histories of enrollments."""

    client: Client
    """With the data converter of those who wrote."""
    task_queue: str = field(kw_only=True)
    """Of the workers that wrote."""

    async def runs(self, *, since: datetime | None) -> dict[Enrollment, tuple[str, ...]]:
        """Ids of the runs that are open, or have ended since then; the oldest first.

        Args:
            since: Absent means as far back as Temporal remembers.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        query = (
            f"WorkflowType = '{SessionReminderWorkflow.__name__}'"
            f" AND TaskQueue = '{self.task_queue}'"
        )
        if since is not None:
            query += f" AND (ExecutionStatus = 'Running' OR CloseTime >= '{since.isoformat()}')"
        found: dict[Enrollment, list[tuple[datetime, str]]] = {}
        with unavailable():
            async for run in self.client.list_workflows(query):
                if (ids := enrollment_of(run.id)) is not None:
                    found.setdefault(Enrollment(*ids), []).append((run.start_time, run.run_id))
        return {key: tuple(run_id for _, run_id in sorted(runs)) for key, runs in found.items()}

    async def account(self, enrollment: Enrollment, runs: Sequence[str]) -> Account | None:
        """What these runs say, and the newest one, listed or not.

        Returns:
            `None` if Temporal has none of them.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        account = Account()
        reader = _Reader(self.client, enrollment, account)
        is_known = False
        async for history in self._histories(enrollment, runs):
            is_known = True
            for event in history.events:
                await reader.read(event)
        return account if is_known else None

    async def _histories(
        self, enrollment: Enrollment, runs: Sequence[str]
    ) -> AsyncIterator[WorkflowHistory]:
        # The list of runs lags a little behind; what an id alone finds does not.
        newest = await self._history(enrollment, None)
        if newest is None:
            return
        started = newest.events[0].workflow_execution_started_event_attributes
        for run_id in runs:
            if run_id == started.original_execution_run_id:
                continue
            if (history := await self._history(enrollment, run_id)) is not None:
                yield history
        yield newest

    async def _history(self, enrollment: Enrollment, run_id: str | None) -> WorkflowHistory | None:
        workflow_id = session_reminder_workflow_id(enrollment.session_id, enrollment.user_id)
        handle = self.client.get_workflow_handle(workflow_id, run_id=run_id)
        return await if_there(handle.fetch_history())


class _Reader:
    """Follows histories, event by event."""

    def __init__(self, client: Client, enrollment: Enrollment, account: Account) -> None:
        self._converter = client.data_converter
        self._of = (enrollment.session_id, enrollment.user_id)
        self._account = account
        self._scheduled: dict[int, UUID] = {}
        """Ids of rows by the events of this run that asked for their delivery."""

    async def read(self, event: HistoryEvent) -> None:
        """Note what an event says."""
        if event.HasField("workflow_execution_started_event_attributes"):
            started = event.workflow_execution_started_event_attributes
            enrolled = await self._decoded(started.input.payloads, SessionReminderInput)
            self._scheduled.clear()
            self._begin_anew(enrolled.plan)
            self._plan(enrolled.plan, _instant(event))
        elif event.HasField("workflow_execution_update_accepted_event_attributes"):
            accepted = event.workflow_execution_update_accepted_event_attributes
            arguments = accepted.accepted_request.input.args.payloads
            self._plan(await self._decoded(arguments, ReminderPlan), _instant(event))
        elif event.HasField("activity_task_scheduled_event_attributes"):
            await self._asked(event)
        elif event.HasField("activity_task_completed_event_attributes"):
            await self._answered(event)
        elif event.HasField("workflow_execution_cancel_requested_event_attributes"):
            cancel = event.workflow_execution_cancel_requested_event_attributes
            self._account.cancelled_at = _instant(event)
            self._account.cancelled_because = _reason(cancel.cause)

    def _begin_anew(self, plan: ReminderPlan) -> None:
        """A cancelled run took along what waited, unless its successor waits for the same.

        It may have been replaced before it could say so itself.
        """
        if self._account.cancelled_at is not None:
            waits = {self._row(r) for r in plan.reminders if r.status.is_pending}
            for row in self._account.known.keys() - waits - self._account.asked.keys():
                self._end(row, ReminderStatus.CANCELLED, self._account.cancelled_because, None)
        self._account.cancelled_at = self._account.cancelled_because = None

    def _row(self, planned: PlannedReminder) -> UUID:
        return reminder_id(*self._of, planned.reminder_type, planned.generation)

    def _plan(self, plan: ReminderPlan, at: datetime) -> None:
        """A plan carries what the ledger knew when it was made."""
        for planned in plan.reminders:
            row = self._row(planned)
            self._mention(row, planned, plan.starts_at)
            if not planned.status.is_pending:
                self._end(row, planned.status, planned.reason, planned.due_at)
        if plan.version >= self._account.version:
            self._account.version = plan.version
            waits = {r.reminder_type for r in plan.reminders if r.status.is_pending}
            self._account.waits = bool(waits)
            self._account.is_called_off = waits == {Notice.CANCELLED}
            self._session_starts(plan.starts_at, at)

    def _mention(self, row: UUID, planned: PlannedReminder, starts_at: datetime) -> None:
        known = self._account.known.get(row)
        if known is None or known.status is None:
            self._account.known[row] = Found(
                session_id=self._of[0],
                user_id=self._of[1],
                reminder_type=planned.reminder_type,
                generation=planned.generation,
                due_at=planned.due_at,
                starts_at=starts_at,
            )

    def _session_starts(self, starts_at: datetime, at: datetime) -> None:
        self._account.starts_at = starts_at
        self._account.learned_at = at

    async def _asked(self, event: HistoryEvent) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        payloads = scheduled.input.payloads
        if scheduled.activity_type.name == "deliver_reminder":
            asked = await self._decoded(payloads, DeliverReminderInput)
            self._scheduled[event.event_id] = asked.reminder_id
            self._account.asked.setdefault(asked.reminder_id, (_instant(event), asked.due_at))
        elif scheduled.activity_type.name == "close_reminders":
            closed = await self._decoded(payloads, CloseRemindersInput)
            for row in closed.reminder_ids:
                self._end(row, closed.status, closed.reason, None)

    async def _answered(self, event: HistoryEvent) -> None:
        completed = event.activity_task_completed_event_attributes
        row = self._scheduled.get(completed.scheduled_event_id)
        if row is None:
            return
        outcome = await self._decoded(completed.result.payloads, DeliveryOutcome)
        asked = self._account.asked.get(row)
        if outcome.status.is_pending and asked and outcome.due_at and outcome.due_at <= asked[1]:
            return  # scheduled anew, unread: an attempt before that may have sent it
        self._account.asked.pop(row, None)
        if not outcome.status.is_pending:  # else it is due later: as good as never asked for
            self._end(row, outcome.status, outcome.reason, _instant(event))
        elif outcome.starts_at is not None:
            self._session_starts(outcome.starts_at, _instant(event))

    def _end(
        self, row: UUID, status: ReminderStatus, reason: StatusReason | None, at: datetime | None
    ) -> None:
        """What is said of a row first counts: later plans repeat it."""
        known = self._account.known.get(row)
        if known is None or known.status is not None:
            return
        is_accepted = status.is_accepted
        self._account.known[row] = replace(
            known,
            status=ReminderStatus.SENT if is_accepted else status,
            reason=None if is_accepted else reason,
            sent_at=at if is_accepted else None,
        )

    async def _decoded(self, payloads: Iterable[object], kind: type[_T]) -> _T:
        [value] = await self._converter.decode(list(payloads), [kind])  # type: ignore[arg-type]
        return value  # type: ignore[no-any-return]


def _instant(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(tzinfo=UTC)


def _reason(cause: str) -> StatusReason:
    """What the gateway gave as the reason; people by hand give other words, or none."""
    try:
        return StatusReason(cause)
    except ValueError:
        return StatusReason.WORKFLOW_CANCELLED
