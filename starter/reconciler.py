"""Repairs single enrollments for the sweep: the planner decides, their workflows are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from reminders.contracts import SweepKind
from reminders.db.planning import EnrollmentPlanner
from reminders.db.sweep import SweepQueries
from reminders.errors import SessionNotFoundError
from reminders.keys import session_reminder_workflow_id
from reminders.model import StatusReason
from reminders.ports import Enrollment, Outcome, Repair, SweepPage
from reminders.temporal import unavailable
from starter.enrollments import RPC_TIMEOUT, EnrollmentWorkflows
from workflows.session_reminder import SessionReminderWorkflow

_ALL_IS_WELL = Repair(outcome=Outcome.UNCHANGED)


@dataclass(frozen=True, slots=True)
class _Run:
    """The newest run of an enrollment's workflow."""

    is_running: bool
    is_at_work: bool
    """Whether it delivers, waits for a worker, or is on its way out: not to be disturbed."""
    cancelled_at: datetime | None


class EnrollmentReconciler:
    """`Reconciler` on PostgreSQL and Temporal."""

    def __init__(
        self,
        client: Client,
        *,
        workflows: EnrollmentWorkflows,
        planner: EnrollmentPlanner,
        queries: SweepQueries,
    ) -> None:
        """Repair through these.

        Args:
            client: Connected with `SessionReminderPlugin`.
            workflows: Of the enrollments.
            planner: Writes plans.
            queries: Finds candidates.
        """
        self._client = client
        self._workflows = workflows
        self._planner = planner
        self._queries = queries

    async def suspects(self, kind: SweepKind, *, after: Enrollment | None, limit: int) -> SweepPage:
        """See `Reconciler.suspects`."""
        look = {
            SweepKind.DRIFTED: self._queries.drifted,
            SweepKind.LOST: self._queries.lost,
            SweepKind.OVERDUE: self._queries.overdue,
            SweepKind.MISSING: self._queries.due_soon,
        }[kind]
        found = await look(after=after, limit=limit)
        further = found[-1] if len(found) == limit else None
        if kind is SweepKind.MISSING:
            found = await self._without_workflow(found)
        return SweepPage(suspects=found, after=further)

    async def repair(self, enrollment: Enrollment, kind: SweepKind) -> Repair:
        """See `Reconciler.repair`."""
        session_id, user_id = enrollment.session_id, enrollment.user_id
        is_without_workflow = kind in (SweepKind.OVERDUE, SweepKind.MISSING)
        if is_without_workflow:
            run = await self._run(enrollment)
            if run is not None and (
                run.is_at_work or (kind is SweepKind.MISSING and run.is_running)
            ):
                return _ALL_IS_WELL
            if run is not None and run.cancelled_at is not None:
                # Whoever cancelled it meant what was planned by then: starting it again would
                # revive them. What was planned later (they enrolled again) lost its start.
                closed = await self._planner.close_waiting(
                    session_id,
                    user_id,
                    StatusReason.WORKFLOW_CANCELLED,
                    planned_before=run.cancelled_at,
                )
                if closed:
                    return Repair(outcome=Outcome.REPAIRED, reminders=closed)
        try:
            planned = await self._planner.reconcile(session_id, user_id)
        except SessionNotFoundError:
            closed = await self._planner.close_waiting(
                session_id, user_id, StatusReason.SESSION_DELETED
            )
            await self._cancel(enrollment)
            return Repair(outcome=Outcome.REPAIRED, reminders=closed) if closed else _ALL_IS_WELL
        await self._workflows.hand_over(planned)
        if planned.is_changed:
            return Repair(outcome=Outcome.REPAIRED, reminders=planned.written)
        if is_without_workflow and planned.has_pending:
            waiting = sum(r.status.is_pending for r in planned.reminders)
            return Repair(outcome=Outcome.REPAIRED, reminders=waiting)
        return _ALL_IS_WELL

    async def in_doubt(self) -> int:
        """See `Reconciler.in_doubt`."""
        return await self._queries.in_doubt()

    async def _without_workflow(self, enrollments: Sequence[Enrollment]) -> Sequence[Enrollment]:
        """Those whose workflow Temporal does not list as running.

        One call for a page: asking for each sleeper would cost a session of ten thousand people
        ten thousand calls. The list lags a little; `repair` looks at each of these once more.
        """
        if not enrollments:
            return enrollments
        ids = {session_reminder_workflow_id(e.session_id, e.user_id): e for e in enrollments}
        listed = ", ".join(f"'{workflow_id}'" for workflow_id in ids)
        with unavailable():
            async for run in self._client.list_workflows(
                f"WorkflowType = '{SessionReminderWorkflow.__name__}'"
                f" AND ExecutionStatus = 'Running' AND WorkflowId IN ({listed})",
                page_size=len(ids),
                rpc_timeout=RPC_TIMEOUT,
            ):
                ids.pop(run.id, None)
        return tuple(ids.values())

    async def _cancel(self, enrollment: Enrollment) -> None:
        """Cancel the workflow of an enrollment whose session is gone, if it runs."""
        workflow_id = session_reminder_workflow_id(enrollment.session_id, enrollment.user_id)
        try:
            with unavailable():
                await self._client.get_workflow_handle(workflow_id).cancel(
                    reason=StatusReason.SESSION_DELETED, rpc_timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _run(self, enrollment: Enrollment) -> _Run | None:
        """The newest run, if Temporal knows one."""
        workflow_id = session_reminder_workflow_id(enrollment.session_id, enrollment.user_id)
        try:
            with unavailable():
                found = await self._client.get_workflow_handle(workflow_id).describe(
                    rpc_timeout=RPC_TIMEOUT
                )
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None
        raw = found.raw_description
        is_running = found.status is WorkflowExecutionStatus.RUNNING
        return _Run(
            is_running=is_running,
            is_at_work=is_running
            and bool(
                raw.pending_activities
                or raw.HasField("pending_workflow_task")
                or raw.workflow_extended_info.cancel_requested
            ),
            cancelled_at=(
                found.close_time if found.status is WorkflowExecutionStatus.CANCELED else None
            ),
        )
