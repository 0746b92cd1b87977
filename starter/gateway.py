"""Everything that asks Temporal for something goes through here.

The only module outside `workflows/` and `worker.py` that knows workflow types. The order is always
the same: first the ledger, in one transaction, then Temporal. If the second step is lost, the
ledger tells what is missing, and the same call repeated completes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
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

from reminders.contracts import PlannedReminder, ReminderPlan, SessionReminderInput
from reminders.db.catalogue import Catalogue, SessionChange
from reminders.db.planning import EnrollmentPlanner, PlannedEnrollment
from reminders.db.queries import ReminderQueries
from reminders.errors import EnrollmentNotFoundError, TemporalUnavailableError
from reminders.keys import TASK_QUEUE, session_reminder_workflow_id
from reminders.model import EnrollmentStatus, Reminder, ReminderStatus, Session, SessionStatus
from reminders.temporal import SESSION_ID, SESSION_START, USER_ID, unavailable
from workflows.session_reminder import SessionReminderWorkflow

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_RPC_TIMEOUT = timedelta(seconds=10)
_UPDATE_TIMEOUT = timedelta(seconds=5)
"""How long a change waits for a worker to confirm it; without one the ledger is right all the same."""
_FAN_OUT = 20
"""Enrollments of a session that are told of its change at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolled:
    """An enrollment whose reminders are planned and whose workflow runs."""

    workflow_id: str
    run_id: str
    created: bool
    """False when everything was as it is already."""
    reminders: tuple[Reminder, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelReceipt:
    """What calling off did: counts of reminders."""

    cancelled: int = 0
    already_sent: int = 0
    in_flight: int = 0
    """Frozen in a request that may have been accepted; resolved by the delivery pipeline."""

    def __add__(self, other: CancelReceipt) -> CancelReceipt:
        """The receipt of both."""
        return CancelReceipt(
            cancelled=self.cancelled + other.cancelled,
            already_sent=self.already_sent + other.already_sent,
            in_flight=self.in_flight + other.in_flight,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeReceipt:
    """What a session's change did to its enrollments."""

    enrollments: int = 0
    replanned: int = 0
    """Enrollments whose workflow has confirmed the new plan."""
    unconfirmed: int = 0
    """Enrollments whose workflow did not answer; the ledger holds at their next reminder."""
    reminders: CancelReceipt = CancelReceipt()


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """Everything known of one enrollment: what was sent, what will be, what was not, and why."""

    session: Session
    user_id: UUID
    enrollment_status: EnrollmentStatus
    workflow_id: str
    workflow_status: str | None
    """As Temporal has it; `None` when Temporal has forgotten it or is away."""
    run_id: str | None
    reminders: tuple[Reminder, ...]
    """All generations."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A workflow run that has not ended."""

    workflow_id: str
    run_id: str
    cancel_requested: bool


class ReminderGateway:
    """What a platform asks of this system, for its API, our CLI and Python hosts alike."""

    def __init__(
        self,
        client: Client,
        *,
        planner: EnrollmentPlanner,
        catalogue: Catalogue,
        queries: ReminderQueries,
        task_queue: str = TASK_QUEUE,
    ) -> None:
        """Ask through this client.

        Args:
            client: Connected with `SessionReminderPlugin`; may be lazy.
            planner: Writes plans.
            catalogue: Sessions and users.
            queries: Reads the ledger.
            task_queue: Where the workers poll.
        """
        self._client = client
        self._planner = planner
        self._catalogue = catalogue
        self._queries = queries
        self._task_queue = task_queue

    async def enroll(
        self, session_id: UUID, user_id: UUID, enrollment_id: UUID | None = None
    ) -> Enrolled:
        """Enroll a person: plan their reminders and start their workflow. Safe to repeat.

        A repeated call returns the same run; a finished one is not sent again; after a
        cancellation the reminders that still lie ahead are planned anew. No worker needs to run.

        Raises:
            SessionNotFoundError: If there is no such session.
            UserNotFoundError: If there is no such user.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was done.
            TemporalUnavailableError: If Temporal is away; the plan is stored, repeat the call.
        """
        planned = await self._planner.enroll(session_id, user_id, enrollment_id)
        created = planned.is_changed
        replace_run = False
        if not planned.is_first:
            run = await self._running(planned)
            if run is not None and run.cancel_requested:
                # It is on its way out and would take a new plan along: let it close its rows,
                # then plan what it cancelled anew. Without a worker it cannot; then it is replaced.
                await self._closed(run)
                planned = await self._planner.enroll(session_id, user_id, enrollment_id)
                created, replace_run = created or planned.is_changed, True
            elif run is not None and planned.is_changed:
                replace_run = not await self._tell(planned)
        run_id = await self._start(planned, replace_run=replace_run)
        return Enrolled(
            workflow_id=session_reminder_workflow_id(session_id, user_id),
            run_id=run_id,
            created=created,
            reminders=planned.reminders,
        )

    async def unenroll(self, session_id: UUID, user_id: UUID) -> CancelReceipt:
        """End an enrollment and cancel its workflow. Safe to repeat.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
            DatabaseUnavailableError: If PostgreSQL is away; nothing was done.
            TemporalUnavailableError: If Temporal is away; the ledger is cancelled, so nothing is
                sent, and a repeated call ends the workflow.
        """
        planned = await self._planner.unenroll(session_id, user_id)
        await self._cancel(planned, "unenrolled")
        return _receipt(planned)

    async def put_session(self, session: Session) -> tuple[SessionChange, ChangeReceipt]:
        """Store a session; if its start or status changed, plan all its enrollments anew.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; repeat the call.
            TemporalUnavailableError: If Temporal is away; the ledger holds, repeat the call.
        """
        change = await self._catalogue.put_session(session)
        if not change.replan:
            return change, ChangeReceipt()
        return change, await self.session_changed(session.id)

    async def session_changed(self, session_id: UUID) -> ChangeReceipt:
        """Plan all enrollments of a session anew and tell their workflows. Safe to repeat.

        Raises:
            SessionNotFoundError: If there is no such session.
            DatabaseUnavailableError: If PostgreSQL is away; repeat the call.
            TemporalUnavailableError: If Temporal is away; the ledger holds, repeat the call.
        """
        await self._catalogue.session(session_id)
        limit = asyncio.Semaphore(_FAN_OUT)
        total, after = ChangeReceipt(), None

        async def one(user_id: UUID) -> ChangeReceipt:
            async with limit:
                return await self._replan(session_id, user_id)

        while users := await self._catalogue.enrolled(session_id, after=after):
            for receipt in await _all_or_none([one(user_id) for user_id in users]):
                total = ChangeReceipt(
                    enrollments=total.enrollments + receipt.enrollments,
                    replanned=total.replanned + receipt.replanned,
                    unconfirmed=total.unconfirmed + receipt.unconfirmed,
                    reminders=total.reminders + receipt.reminders,
                )
            after = users[-1]
        return total

    async def why(self, session_id: UUID, user_id: UUID) -> Story:
        """What was, will be or was not sent to a person about a session, and why.

        Raises:
            SessionNotFoundError: If there is no such session.
            EnrollmentNotFoundError: If the person never was enrolled.
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        session = await self._catalogue.session(session_id)
        status = await self._catalogue.enrollment_status(session_id, user_id)
        if status is None:
            raise EnrollmentNotFoundError
        reminders = await self._queries.of_enrollment(session_id, user_id)
        workflow_id = session_reminder_workflow_id(session_id, user_id)
        workflow_status, run_id = await self._describe(workflow_id)
        return Story(
            session=session,
            user_id=user_id,
            enrollment_status=status,
            workflow_id=workflow_id,
            workflow_status=workflow_status,
            run_id=run_id or next((r.run_id for r in reversed(reminders) if r.run_id), None),
            reminders=reminders,
        )

    async def _replan(self, session_id: UUID, user_id: UUID) -> ChangeReceipt:
        """Plan one enrollment anew and tell its workflow."""
        planned = await self._planner.replan(session_id, user_id)
        if planned.session.status is SessionStatus.CANCELLED:
            await self._cancel(planned, "session cancelled")
            confirmed = True
        else:
            confirmed = await self._tell(planned)
        return ChangeReceipt(
            enrollments=1,
            replanned=int(confirmed),
            unconfirmed=int(not confirmed),
            reminders=_receipt(planned),
        )

    async def _running(self, planned: PlannedEnrollment) -> _Run | None:
        """The enrollment's run that has not ended, if there is one."""
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)
        try:
            with unavailable():
                found = await self._client.get_workflow_handle(workflow_id).describe(
                    rpc_timeout=_RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        if found.status is not WorkflowExecutionStatus.RUNNING:
            return None
        asked = found.raw_description.workflow_extended_info.cancel_requested
        return _Run(workflow_id, found.run_id, cancel_requested=asked)

    async def _closed(self, run: _Run) -> None:
        """Wait a little for a run to end, whichever way it does."""
        handle = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        with suppress(WorkflowFailureError, RPCError, TimeoutError):
            async with asyncio.timeout(_UPDATE_TIMEOUT.total_seconds()):
                await handle.result(follow_runs=False)

    async def _start(self, planned: PlannedEnrollment, *, replace_run: bool = False) -> str:
        """Start the enrollment's workflow, or find the one that runs; its run id.

        Args:
            planned: Its input.
            replace_run: Whether to end a run that could not be told of this plan; the ledger has
                all it knew.
        """
        # The ledger decides: with something pending a finished workflow is followed by a new one,
        # with nothing pending only a cancelled one is.
        reuse = (
            WorkflowIDReusePolicy.ALLOW_DUPLICATE
            if planned.has_pending
            else WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY
        )
        session = planned.session
        try:
            with unavailable():
                handle = await self._client.start_workflow(
                    SessionReminderWorkflow.run,
                    SessionReminderInput(
                        session_id=session.id, user_id=planned.user_id, plan=_plan(planned)
                    ),
                    id=session_reminder_workflow_id(session.id, planned.user_id),
                    task_queue=self._task_queue,
                    id_conflict_policy=(
                        WorkflowIDConflictPolicy.TERMINATE_EXISTING
                        if replace_run
                        else WorkflowIDConflictPolicy.USE_EXISTING
                    ),
                    id_reuse_policy=reuse,
                    search_attributes=TypedSearchAttributes(
                        [
                            SearchAttributePair(SESSION_ID, str(session.id)),
                            SearchAttributePair(USER_ID, str(planned.user_id)),
                            SearchAttributePair(SESSION_START, session.starts_at),
                        ]
                    ),
                    static_summary=_summary(planned),
                    rpc_timeout=_RPC_TIMEOUT,
                )
        except WorkflowAlreadyStartedError as error:
            return error.run_id or ""
        return handle.result_run_id or ""

    async def _tell(self, planned: PlannedEnrollment) -> bool:
        """Give a workflow its new plan, or start one that has ended; false if none answered.

        Raises:
            TemporalUnavailableError: If Temporal itself is away: a workflow that was not told
                might sleep past its new instant, so the caller is to repeat the call.
        """
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)
        handle = self._client.get_workflow_handle_for(SessionReminderWorkflow.run, workflow_id)
        try:
            with unavailable():
                await handle.execute_update(
                    SessionReminderWorkflow.replan,
                    _plan(planned),
                    id=f"plan-{planned.version}",
                    rpc_timeout=_UPDATE_TIMEOUT,
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                logger.warning("replan of %s: %s", workflow_id, error)
                return False
            if planned.has_pending:  # it has ended, or never started
                await self._start(planned)
        except (WorkflowUpdateRPCTimeoutOrCancelledError, WorkflowUpdateFailedError) as error:
            logger.warning("replan of %s was not confirmed: %s", workflow_id, error)
            return False
        return True

    async def _cancel(self, planned: PlannedEnrollment, reason: str) -> None:
        """Cancel a workflow; one that has ended or never started is fine."""
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)
        try:
            with unavailable():
                await self._client.get_workflow_handle(workflow_id).cancel(
                    reason=reason, rpc_timeout=_RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _describe(self, workflow_id: str) -> tuple[str | None, str | None]:
        """Status and run id as Temporal has them; `None` when it does not say."""
        try:
            with unavailable():
                found = await self._client.get_workflow_handle(workflow_id).describe(
                    rpc_timeout=_UPDATE_TIMEOUT
                )
        except (RPCError, TemporalUnavailableError):
            return None, None
        return (found.status.name.lower() if found.status else None), found.run_id


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
    )


def _summary(planned: PlannedEnrollment) -> str:
    """One line for the Temporal UI's list; ids and instants only."""
    waiting = sum(r.status.is_pending for r in planned.reminders)
    return f"{waiting} reminders, session starts {planned.session.starts_at:%Y-%m-%d %H:%M} UTC"


def _receipt(planned: PlannedEnrollment) -> CancelReceipt:
    return CancelReceipt(
        cancelled=planned.cancelled,
        already_sent=sum(r.status.is_accepted for r in planned.reminders),
        in_flight=sum(r.status is ReminderStatus.SENDING for r in planned.reminders),
    )
