"""The sweep as operators see it: its Schedule, one run by hand, and what became of past runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from reminders import cursors, temporal
from reminders.db.audit import HOST, Action, AuditLog, By
from reminders.domain.keys import SWEEP_ID, TASK_QUEUE, session_of_change
from reminders.temporal import RPC_TIMEOUT, unavailable
from starter.services.namespace import EXECUTION_TIMEOUT, Namespace
from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.session_change import SessionChangeWorkflow

MANUAL_ID = f"{SWEEP_ID}-manual"
"""Workflow Id of every run by hand, so that there cannot be two of them at once."""


class RunKind(StrEnum):
    """Workflows whose runs are listed; those of enrollments are explained by `why`."""

    SWEEP = "sweep"
    CHANGE = "change"
    """Of a session: it was moved, cancelled, restored, or planned anew."""


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    """Whichever way it ended otherwise: timed out, terminated, ..."""


_TYPES = {
    RunKind.SWEEP: ReminderSweepWorkflow.__name__,
    RunKind.CHANGE: SessionChangeWorkflow.__name__,
}
_IN_STATE = {
    RunState.RUNNING: "ExecutionStatus = 'Running'",
    RunState.COMPLETED: "ExecutionStatus = 'Completed'",
    RunState.FAILED: "ExecutionStatus != 'Running' AND ExecutionStatus != 'Completed'",
}
_OURS = "runs"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStart:
    """A sweep that runs now."""

    workflow_id: str
    run_id: str
    started: bool
    """False when one was running already; it is the one that is named."""
    event_id: int | None = field(default=None, compare=False)
    """Its entry in the audit log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run of a workflow that keeps house: a sweep, or a session's change."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: str
    """As Temporal has it, in lower case."""
    started_at: datetime
    closed_at: datetime | None
    result: Mapping[str, Any] | None
    """What the run returned; absent while it runs, and when it failed."""
    so_far: Mapping[str, Any] | None = None
    """What a single one that runs has counted by its last heartbeat, which may be 25 s old."""

    @property
    def kind(self) -> RunKind | None:
        """Which workflow's; `None` of one that is not listed."""
        return next((kind for kind, name in _TYPES.items() if name == self.workflow_type), None)

    @property
    def session_id(self) -> UUID | None:
        """Of the session whose change it is; `None` of a sweep."""
        return session_of_change(self.workflow_id)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """Some runs, the newest first, and where older ones begin."""

    runs: tuple[Run, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Starts sweeps, and says what became of them."""

    client: Client
    """Connected with `SessionReminderPlugin`; may be lazy."""
    audit: AuditLog = field(kw_only=True)
    task_queue: str = field(default=TASK_QUEUE, kw_only=True)
    """Where the workers poll."""
    namespace: Namespace = field(kw_only=True)
    """Ours, as is found out before one is started."""

    async def start(self, by: By = HOST) -> SweepStart:
        """Start a sweep now, also while the Schedule is paused; a running one is not doubled.

        Args:
            by: Who, and why, for the audit log.

        Raises:
            AnotherInstallationError: If the namespace, or the database, is another's.
            TemporalUnavailableError: If Temporal does not answer.
        """
        started = await self._started()
        details = {
            "workflow_id": started.workflow_id,
            "run_id": started.run_id,
            "was_running": not started.started,
        }
        event = by.did(Action.SWEEP_STARTED, details=details)
        return replace(started, event_id=await self.audit.record(event))

    async def _started(self) -> SweepStart:
        """The sweep that runs now, whoever started it.

        Started directly and not by the Schedule's trigger, which says neither which run it
        started nor whether it started one.
        """
        memo = await self.namespace.memo()
        running = await self._scheduled_run()
        if running is not None:
            return running
        try:
            with unavailable():
                handle = await self.client.start_workflow(
                    ReminderSweepWorkflow.run,
                    id=MANUAL_ID,
                    task_queue=self.task_queue,
                    execution_timeout=EXECUTION_TIMEOUT,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                    memo=memo,
                    static_summary="reconciles ledger and workflows, by hand",
                    rpc_timeout=RPC_TIMEOUT,
                )
        except WorkflowAlreadyStartedError as error:
            return SweepStart(workflow_id=MANUAL_ID, run_id=error.run_id or "", started=False)
        return SweepStart(workflow_id=MANUAL_ID, run_id=handle.result_run_id or "", started=True)

    async def finished(self, sweep: SweepStart) -> Run:
        """Wait until a sweep has ended, whichever way.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        handle = self.client.get_workflow_handle(sweep.workflow_id, run_id=sweep.run_id or None)
        with unavailable():
            with suppress(WorkflowFailureError):  # the status says so
                await handle.result(follow_runs=False)
            return await self._run(await handle.describe(rpc_timeout=RPC_TIMEOUT))

    async def run(self, workflow_id: str, run_id: str | None) -> Run | None:
        """One run, as it stands; `None` if Temporal no longer has it.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        found = await temporal.described(self.client, workflow_id, run_id)
        if found is None:
            return None
        with unavailable():
            return replace(await self._run(found), so_far=await self._so_far(found))

    async def _so_far(self, run: WorkflowExecutionDescription) -> Mapping[str, Any] | None:
        """The counts that the run's activity has sent with its heartbeat, behind its cursor."""
        for activity in run.raw_description.pending_activities:
            details = await self.client.data_converter.decode(activity.heartbeat_details.payloads)
            if len(details) == 2 and isinstance(details[1], Mapping):
                return details[1]
        return None

    async def runs(
        self,
        *,
        kind: RunKind | None = None,
        state: RunState | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> RunPage:
        """Sweeps and session changes, the newest first, as far as Temporal still has them.

        Args:
            kind: Only these.
            state: Only those that stand so.
            limit: At most this many.
            cursor: Where the page before ended; of the same kind and state.

        Raises:
            InvalidInputError: If the cursor is none of ours.
            TemporalUnavailableError: If Temporal does not answer.
        """
        types = ", ".join(f"'{_TYPES[one]}'" for one in ([kind] if kind else RunKind))
        query = f"WorkflowType IN ({types}) AND TaskQueue = '{self.task_queue}'"
        found = self.client.list_workflows(
            f"{query} AND {_IN_STATE[state]}" if state else query,
            page_size=limit,
            next_page_token=cursors.decode(cursor, _ours, bytes.fromhex)[1] if cursor else None,
            rpc_timeout=RPC_TIMEOUT,
        )
        with unavailable():
            try:
                await found.fetch_next_page()
            except RPCError as error:
                if cursor and error.status is RPCStatusCode.INVALID_ARGUMENT:
                    raise cursors.unknown() from error
                raise
            runs = [await self._run(run) for run in found.current_page or ()]
        token = found.next_page_token
        return RunPage(
            runs=tuple(runs),
            next_cursor=cursors.encode(_OURS, token.hex()) if token else None,
        )

    async def last_completed_at(self) -> datetime | None:
        """When the last sweep was done; `None` if none was, as far as Temporal still knows.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        found = await self._newest("= 'Completed'")
        return found.close_time if found else None

    async def newest_ended(self) -> WorkflowExecutionStatus | None:
        """How the newest sweep that has ended did; `None` if none has.

        Raises:
            TemporalUnavailableError: If Temporal does not answer.
        """
        found = await self._newest("!= 'Running'")
        return found.status if found else None

    async def _newest(self, status: str) -> WorkflowExecution | None:
        # The newest to end come first: the server's own order.
        found = self.client.list_workflows(
            f"WorkflowType = '{ReminderSweepWorkflow.__name__}'"
            f" AND TaskQueue = '{self.task_queue}' AND ExecutionStatus {status}",
            page_size=1,
            limit=1,
            rpc_timeout=RPC_TIMEOUT,
        )
        with unavailable():
            async for run in found:
                return run
        return None

    async def _scheduled_run(self) -> SweepStart | None:
        """The sweep that the Schedule has started and that still runs.

        One on another task queue, where workers polled before the setting was changed, sweeps
        nothing: it is nobody's reason to wait.
        """
        found = await temporal.schedule(self.client, SWEEP_ID)
        for action in found.info.running_actions if found else ():
            workflow_id = getattr(action, "workflow_id", None)
            run_id = getattr(action, "first_execution_run_id", None)
            if workflow_id is None:
                continue
            # What the Schedule believes to run may have just ended.
            run = await temporal.described(self.client, workflow_id)
            if (
                run is not None
                and run.task_queue == self.task_queue
                and run.status is WorkflowExecutionStatus.RUNNING
            ):
                return SweepStart(workflow_id=workflow_id, run_id=run_id or "", started=False)
        return None

    async def _run(self, run: WorkflowExecution) -> Run:
        result = None
        if run.status is WorkflowExecutionStatus.COMPLETED:
            result = await self.client.get_workflow_handle(run.id, run_id=run.run_id).result(
                follow_runs=False, rpc_timeout=RPC_TIMEOUT
            )
        return Run(
            workflow_id=run.id,
            run_id=run.run_id,
            workflow_type=run.workflow_type,
            status=run.status.name.lower() if run.status else "unknown",
            started_at=run.start_time,
            closed_at=run.close_time,
            result=result if isinstance(result, Mapping) else None,
        )


def _ours(part: str) -> str:
    """What every cursor begins with: the server answers any other token as if it were away."""
    if part != _OURS:
        raise ValueError(part)
    return part
