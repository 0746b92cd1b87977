"""One enrollment's workflow, as Temporal has it: looked up, started, replanned, cancelled.

What is asked for when is decided in `starter.services.handover`.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from uuid import UUID

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.db.plans import PlannedEnrollment
from reminders.domain.contracts import (
    PlannedReminder,
    ReminderPlan,
    SessionReminderInput,
    SessionReminderResult,
)
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.keys import TASK_QUEUE, session_reminder_workflow_id
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.temporal import RPC_TIMEOUT, SESSION_ID, SESSION_START, STORED, USER_ID, unavailable
from starter.services.namespace import Namespace
from starter.services.receipts import UNKNOWN
from workflows.session_reminder import IS_ENDING, SessionReminderWorkflow

logger = logging.getLogger(__name__)

UPDATE_TIMEOUT = timedelta(seconds=5)
"""How long a change waits for a workflow to confirm it; without, the ledger is right all the same."""
PATIENCE = timedelta(seconds=30)
"""How long one waits in the background for a run that was cancelled, before the sweep has to."""


@dataclass(frozen=True, slots=True)
class EnrollmentRun:
    """The newest run of an enrollment's workflow."""

    workflow_id: str
    run_id: str
    is_running: bool
    is_ending: bool
    """Whether it runs, and was asked to cancel: it closes what it knows, and takes no plan more."""
    is_at_work: bool
    """Whether it delivers, waits for a worker, or is on its way out: not to be disturbed."""
    is_cancelled: bool
    """Whether it ended because it was cancelled."""


class Answer(Enum):
    """What became of a plan that was given to a run."""

    CONFIRMED = auto()
    """It follows the plan, or a newer one."""
    REFUSED = auto()
    """It has ended, or is about to."""
    NONE = auto()
    """It does not say: no worker, or one that is busy or broken."""


@dataclass(frozen=True, slots=True)
class EnrollmentWorkflows:
    """Temporal, as far as single enrollments are concerned."""

    client: Client
    """Connected with `SessionReminderPlugin`; may be lazy."""
    task_queue: str = field(default=TASK_QUEUE, kw_only=True)
    """Where the workers poll."""
    namespace: Namespace = field(kw_only=True)
    """Ours, as is found out before a workflow is touched."""

    async def latest(self, session_id: UUID, user_id: UUID) -> EnrollmentRun | None:
        """The enrollment's newest run; `None` if Temporal knows none.

        Raises:
            AnotherInstallationError: If the namespace, or the database, is another's, as everywhere
                below.
            TemporalUnavailableError: If Temporal is away, as everywhere below.
        """
        workflow_id = session_reminder_workflow_id(session_id, user_id)
        with unavailable(STORED):
            await self.namespace.memo()
            found = await temporal.described(self.client, workflow_id)
        if found is None:
            return None
        raw = found.raw_description
        is_running = found.status is WorkflowExecutionStatus.RUNNING
        is_ending = is_running and raw.workflow_extended_info.cancel_requested
        return EnrollmentRun(
            workflow_id=workflow_id,
            run_id=found.run_id,
            is_running=is_running,
            is_ending=is_ending,
            is_at_work=is_ending
            or (
                is_running and bool(raw.pending_activities or raw.HasField("pending_workflow_task"))
            ),
            is_cancelled=found.status is WorkflowExecutionStatus.CANCELED,
        )

    async def cancel_asked_at(self, run: EnrollmentRun) -> datetime | None:
        """When a run was first asked to cancel: it may end much later. `None` if nobody did."""
        fetched = self._handle(run).fetch_history(rpc_timeout=RPC_TIMEOUT)
        history = await temporal.if_there(fetched)
        for event in history.events if history else ():
            if event.HasField("workflow_execution_cancel_requested_event_attributes"):
                return event.event_time.ToDatetime(tzinfo=UTC)
        return None

    async def start(self, planned: PlannedEnrollment) -> str | None:
        """Start the enrollment's workflow; its run's id, or `None` if one runs already.

        With nothing pending, one that has completed is not followed by another either.
        """
        reuse = (
            WorkflowIDReusePolicy.ALLOW_DUPLICATE
            if planned.has_pending
            else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        )
        session = planned.session
        try:
            with unavailable(STORED):
                memo = await self.namespace.memo()
                handle = await self.client.start_workflow(
                    SessionReminderWorkflow.run,
                    SessionReminderInput(
                        session_id=session.id, user_id=planned.user_id, plan=_plan(planned)
                    ),
                    id=session_reminder_workflow_id(session.id, planned.user_id),
                    task_queue=self.task_queue,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=reuse,
                    search_attributes=TypedSearchAttributes(
                        [
                            SearchAttributePair(SESSION_ID, str(session.id)),
                            SearchAttributePair(USER_ID, str(planned.user_id)),
                            SearchAttributePair(SESSION_START, session.starts_at),
                        ]
                    ),
                    memo=memo,
                    static_summary=_summary(planned),
                    rpc_timeout=RPC_TIMEOUT,
                )
        except WorkflowAlreadyStartedError:
            return None
        return handle.result_run_id or ""

    async def replan(self, run: EnrollmentRun | None, planned: PlannedEnrollment) -> Answer:
        """Give a run the plan, or whichever is the newest; one that it knows costs nothing."""
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)
        handle = self._handle(run) if run else self.client.get_workflow_handle(workflow_id)
        try:
            with unavailable(STORED):
                await self.namespace.memo()
                followed = await handle.execute_update(
                    SessionReminderWorkflow.replan,
                    _plan(planned),
                    id=f"plan-{planned.version}",
                    rpc_timeout=UPDATE_TIMEOUT,
                )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Answer.REFUSED
            logger.warning("replan of %s: %s", workflow_id, error)
            return Answer.NONE
        except WorkflowUpdateFailedError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == IS_ENDING:
                return Answer.REFUSED
            logger.warning("replan of %s was refused: %s", workflow_id, error.cause)
            return Answer.NONE
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            _stop_if_cancelled()
            logger.warning("replan of %s was not confirmed: %s", workflow_id, error)
            return Answer.NONE
        if _has_given_up(followed, planned):
            logger.warning("replan of %s: it has given up what waits in the ledger", workflow_id)
            return Answer.NONE
        return Answer.CONFIRMED

    async def cancel(self, session_id: UUID, user_id: UUID, reason: StatusReason) -> bool:
        """Cancel an enrollment's workflow; false if it has ended or never started."""
        workflow_id = session_reminder_workflow_id(session_id, user_id)
        try:
            with unavailable(STORED):
                await self.namespace.memo()
                await self.client.get_workflow_handle(workflow_id).cancel(
                    reason=reason, rpc_timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def has_ended(self, run: EnrollmentRun, *, is_patient: bool = False) -> bool:
        """Wait for a run to end, whichever way it does: a little, or as long as a busy worker needs."""
        patience = PATIENCE if is_patient else UPDATE_TIMEOUT
        try:
            async with asyncio.timeout(patience.total_seconds()):
                with unavailable(STORED):
                    await self._handle(run).result(follow_runs=False)
        except TimeoutError:
            return False
        except (WorkflowFailureError, RPCError):
            return True
        return True

    async def terminate(self, run: EnrollmentRun) -> None:
        """End a run that does not end by itself, and no other; the ledger has all it knew."""
        with suppress(RPCError), unavailable(STORED):  # it has ended, as it should
            await self._handle(run).terminate(
                reason="does not answer, or was cancelled and does not end; a new run follows",
                rpc_timeout=RPC_TIMEOUT,
            )

    async def describe(self, workflow_id: str) -> tuple[str | None, str | None]:
        """Status and run id as Temporal has them; `None` when it has no such workflow.

        While Temporal is away the status is `UNKNOWN`.
        """
        try:
            found = await temporal.described(self.client, workflow_id, patience=UPDATE_TIMEOUT)
        except TemporalUnavailableError:
            return UNKNOWN, None
        except RPCError:
            found = None
        if found is None:
            return None, None
        return (found.status.name.lower() if found.status else None), found.run_id

    def _handle(
        self, run: EnrollmentRun
    ) -> WorkflowHandle[SessionReminderWorkflow, SessionReminderResult]:
        return self.client.get_workflow_handle_for(
            SessionReminderWorkflow.run, run.workflow_id, run_id=run.run_id
        )


def _stop_if_cancelled() -> None:
    """Be cancelled, if somebody asked for it: the SDK reports that as an update's time-out.

    Taken for one, whoever waits for an answer would go on, and replace a run that is well.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _has_given_up(followed: ReminderPlan, planned: PlannedEnrollment) -> bool:
    """Whether a run counts something as failed that the same plan of the ledger still has as waiting.

    It would never wake for that.
    """
    waits = {
        (r.reminder_type, r.generation)
        for r in planned.reminders
        if r.status is ReminderStatus.SCHEDULED
    }
    return followed.version == planned.version and any(
        r.status is ReminderStatus.FAILED and (r.reminder_type, r.generation) in waits
        for r in followed.reminders
    )


def _plan(planned: PlannedEnrollment) -> ReminderPlan:
    """The ledger's plan as it crosses to the workflow."""
    return ReminderPlan(
        starts_at=planned.session.starts_at,
        version=planned.version,
        reminders=tuple(
            PlannedReminder(
                reminder_type=r.reminder_type,
                generation=r.generation,
                due_at=r.due_at,
                status=r.status,
                reason=r.reason,
            )
            for r in planned.reminders
        ),
        lead_in=planned.lead_in,
    )


def _summary(planned: PlannedEnrollment) -> str:
    """One line for the Temporal UI's list; ids and instants only."""
    waiting = sum(r.status.is_pending for r in planned.reminders)
    return f"{waiting} reminders, session starts {planned.session.starts_at:%Y-%m-%d %H:%M} UTC"
