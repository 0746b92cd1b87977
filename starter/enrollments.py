"""One enrollment's workflow: started, told, cancelled; and all of a session's, a page at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from reminders.contracts import (
    PlannedReminder,
    ReminderPlan,
    SessionChangeResult,
    SessionReminderInput,
)
from reminders.db.catalogue import Catalogue
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.errors import NotFoundError, ServiceUnavailableError, TemporalUnavailableError
from reminders.keys import TASK_QUEUE, session_reminder_workflow_id
from reminders.model import ReminderStatus, StatusReason
from reminders.ports import ReplannedPage
from reminders.temporal import SESSION_ID, SESSION_START, USER_ID, unavailable
from starter.receipts import CancelReceipt
from workflows.session_reminder import SessionReminderWorkflow

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

RPC_TIMEOUT = timedelta(seconds=10)
UPDATE_TIMEOUT = timedelta(seconds=5)
"""How long a change waits for a workflow to confirm it; without, the ledger is right all the same."""
FAN_OUT = 20
"""Enrollments of a session that are told of its change at once."""
TRIES = 3
"""How often a workflow is told that does not answer, or that others start and end meanwhile."""


@dataclass(frozen=True, slots=True)
class Run:
    """A workflow run that has not ended."""

    workflow_id: str
    run_id: str
    cancel_requested: bool


class EnrollmentWorkflows:
    """Temporal, as far as single enrollments are concerned."""

    def __init__(self, client: Client, *, task_queue: str = TASK_QUEUE) -> None:
        """Ask through this client, for workers that poll this queue."""
        self._client = client
        self._task_queue = task_queue

    async def running(self, planned: PlannedEnrollment) -> Run | None:
        """The enrollment's run that has not ended, if there is one."""
        workflow_id = _workflow_id(planned)
        try:
            with unavailable():
                found = await self._client.get_workflow_handle(workflow_id).describe(
                    rpc_timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return None
        asked = found.raw_description.workflow_extended_info.cancel_requested
        return Run(workflow_id, found.run_id, cancel_requested=asked)

    async def closed(self, run: Run) -> None:
        """Wait a little for a run to end, whichever way it does."""
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        with suppress(WorkflowFailureError, RPCError, TimeoutError):
            async with asyncio.timeout(UPDATE_TIMEOUT.total_seconds()):
                await handle.result(follow_runs=False)

    async def start(self, planned: PlannedEnrollment, *, replace_run: bool = False) -> str:
        """Start the enrollment's workflow, or find the one that runs; its run id.

        Args:
            planned: Its input.
            replace_run: Whether to end a run that could not be told of this plan; the ledger has
                all it knew.
        """
        conflict = (
            WorkflowIDConflictPolicy.TERMINATE_EXISTING
            if replace_run
            else WorkflowIDConflictPolicy.USE_EXISTING
        )
        try:
            return await self._start(planned, conflict)
        except WorkflowAlreadyStartedError as error:
            return error.run_id or ""

    async def tell(self, planned: PlannedEnrollment) -> bool:
        """Give a workflow its new plan, or start one that has ended; false if none answered.

        Raises:
            TemporalUnavailableError: If Temporal itself is away: a workflow that was not told
                might sleep past its new instant, so the caller is to repeat the call.
        """
        workflow_id = _workflow_id(planned)
        handle = self._client.get_workflow_handle(workflow_id)
        for _ in range(TRIES):
            if _revives(planned):
                await self._let_go(planned)
            try:
                with unavailable():
                    await handle.execute_update(
                        SessionReminderWorkflow.replan,
                        _plan(planned),
                        id=f"plan-{planned.version}",
                        rpc_timeout=UPDATE_TIMEOUT,
                    )
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    logger.warning("replan of %s: %s", workflow_id, error)
                    return False
            except (WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError) as error:
                _stop_if_cancelled()
                logger.warning("replan of %s was not confirmed: %s", workflow_id, error)
                return False
            else:
                return True
            if not planned.has_pending:  # it has ended, or never started, and need not
                return True
            try:
                await self._start(planned, WorkflowIDConflictPolicy.FAIL)
            except WorkflowAlreadyStartedError:
                continue  # by an enrollment under way, with its own plan: tell that one
            return True
        return False

    async def cancel(self, planned: PlannedEnrollment, reason: StatusReason) -> None:
        """Cancel a workflow; one that has ended or never started is fine."""
        await self.cancel_enrollment(planned.session.id, planned.user_id, reason)

    async def cancel_enrollment(
        self, session_id: UUID, user_id: UUID, reason: StatusReason
    ) -> bool:
        """Cancel an enrollment's workflow; false if it has ended or never started."""
        workflow_id = session_reminder_workflow_id(session_id, user_id)
        try:
            with unavailable():
                await self._client.get_workflow_handle(workflow_id).cancel(
                    reason=reason, rpc_timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def hand_over(self, planned: PlannedEnrollment) -> None:
        """Make the workflow follow a plan that is in the ledger; safe to repeat.

        Cancels it if everything was called off, starts it if it is gone, and replaces it if it
        does not answer: the ledger has all it knew.

        Raises:
            TemporalUnavailableError: If Temporal is away; the ledger holds, repeat the call.
        """
        if planned.called_off is not None:
            await self.cancel(planned, planned.called_off)
        elif not await self.tell(planned) and planned.has_pending:
            await self.start(planned, replace_run=True)

    async def describe(self, workflow_id: str) -> tuple[str | None, str | None]:
        """Status and run id as Temporal has them; `None` when it does not say."""
        try:
            with unavailable():
                found = await self._client.get_workflow_handle(workflow_id).describe(
                    rpc_timeout=UPDATE_TIMEOUT
                )
        except (RPCError, TemporalUnavailableError):
            return None, None
        return (found.status.name.lower() if found.status else None), found.run_id

    async def _let_go(self, planned: PlannedEnrollment) -> None:
        """See a cancelled run off: it would take the new plan along into its end."""
        run = await self.running(planned)
        if run is None or not run.cancel_requested:
            return
        await self.closed(run)
        with suppress(RPCError), unavailable():  # it has ended, as it should
            await self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id).terminate(
                reason="cancelled, and its session is held again", rpc_timeout=RPC_TIMEOUT
            )

    async def _start(self, planned: PlannedEnrollment, conflict: WorkflowIDConflictPolicy) -> str:
        """The run's id.

        Raises:
            WorkflowAlreadyStartedError: If the policies forbid another run.
        """
        # The ledger decides: with something pending a finished workflow is followed by a new one,
        # with nothing pending only a cancelled one is.
        reuse = (
            WorkflowIDReusePolicy.ALLOW_DUPLICATE
            if planned.has_pending
            else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        )
        session = planned.session
        with unavailable():
            handle = await self._client.start_workflow(
                SessionReminderWorkflow.run,
                SessionReminderInput(
                    session_id=session.id, user_id=planned.user_id, plan=_plan(planned)
                ),
                id=_workflow_id(planned),
                task_queue=self._task_queue,
                id_conflict_policy=conflict,
                id_reuse_policy=reuse,
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(SESSION_ID, str(session.id)),
                        SearchAttributePair(USER_ID, str(planned.user_id)),
                        SearchAttributePair(SESSION_START, session.starts_at),
                    ]
                ),
                static_summary=_summary(planned),
                rpc_timeout=RPC_TIMEOUT,
            )
        return handle.result_run_id or ""


class EnrollmentReplanner:
    """Plans a session's enrollments anew and tells their workflows: a `ports.SessionReplanner`."""

    def __init__(
        self, workflows: EnrollmentWorkflows, *, planner: EnrollmentPlanner, catalogue: Catalogue
    ) -> None:
        """Write plans with this planner, and tell these workflows.

        Args:
            workflows: Of the enrollments.
            planner: Writes plans.
            catalogue: Knows who is enrolled.
        """
        self._workflows = workflows
        self._planner = planner
        self._catalogue = catalogue

    async def replan_page(
        self, session_id: UUID, *, after: UUID | None, limit: int, since: datetime
    ) -> ReplannedPage:
        """See `SessionReplanner.replan_page`.

        One enrollment that cannot be planned is counted, and the others follow.
        """
        users = await self._catalogue.enrolled(session_id, after=after, limit=limit)
        slots = asyncio.Semaphore(FAN_OUT)

        async def one(user_id: UUID) -> SessionChangeResult:
            async with slots:
                try:
                    return await self._replan(session_id, user_id, since)
                except ServiceUnavailableError:
                    raise
                except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
                    # The class name only: the message of a foreign error may quote anything.
                    logger.error(  # noqa: TRY400 - likewise its traceback
                        "session %s, user %s: could not be planned anew: %s",
                        session_id,
                        user_id,
                        type(error).__name__,
                    )
                    return SessionChangeResult(enrollments=1, unconfirmed=1)

        counts = SessionChangeResult()
        for replanned in await _all_or_none([one(user_id) for user_id in users]):
            counts = counts.plus(replanned)
        return ReplannedPage(counts=counts, after=users[-1] if len(users) == limit else None)

    async def _replan(
        self, session_id: UUID, user_id: UUID, since: datetime
    ) -> SessionChangeResult:
        """Plan one enrollment anew and have its workflow confirm it."""
        cancelled = 0
        for _ in range(TRIES):
            try:
                planned = await self._planner.replan(session_id, user_id)
            except NotFoundError:  # deleted since the page was read, reminders and all
                return SessionChangeResult()
            cancelled += planned.cancelled
            if planned.called_off is not None:
                await self._workflows.cancel(planned, planned.called_off)
                confirmed = True
            else:
                confirmed = await self._workflows.tell(planned)
            if confirmed:
                break
        counted = receipt(planned)
        return SessionChangeResult(
            enrollments=1,
            replanned=int(confirmed),
            unconfirmed=int(not confirmed),
            cancelled=max(cancelled, _called_off(planned, since)),
            already_sent=counted.already_sent,
            in_flight=counted.in_flight,
        )


def receipt(planned: PlannedEnrollment) -> CancelReceipt:
    """What became of an enrollment's reminders, counted."""
    return CancelReceipt(
        cancelled=planned.cancelled,
        already_sent=sum(r.status.is_accepted for r in planned.reminders),
        in_flight=sum(r.status is ReminderStatus.SENDING for r in planned.reminders),
    )


def _called_off(planned: PlannedEnrollment, since: datetime) -> int:
    """Reminders that were called off since then, perhaps by an attempt that could not count them."""
    return sum(
        r.status is ReminderStatus.CANCELLED
        and r.reason is planned.called_off
        and r.updated_at is not None
        and r.updated_at >= since
        for r in planned.reminders
    )


async def _all_or_none(calls: Sequence[Coroutine[Any, Any, _T]]) -> list[_T]:
    """The results of all calls, in order; when one fails, none is left running behind the error."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def _stop_if_cancelled() -> None:
    """Be cancelled, if somebody asked for it: the SDK tells of that as of an update's time-out.

    Taken for one, whoever waits for an answer would go on, and replace a run that is well.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _workflow_id(planned: PlannedEnrollment) -> str:
    return session_reminder_workflow_id(planned.session.id, planned.user_id)


def _revives(planned: PlannedEnrollment) -> bool:
    """Whether something waits that was called off before: its last run may be on its way out."""
    return any(r.generation > 1 and r.status.is_pending for r in planned.reminders)


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
