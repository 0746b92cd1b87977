"""`SessionChangeWorkflow`, as those who change a session see it: started, and its counts."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from reminders.domain.contracts import SessionChangeInput, SessionChangeResult
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.keys import session_change_workflow_id
from reminders.temporal import SESSION_ID, STORED, unavailable
from starter.services.enrollments import RPC_TIMEOUT
from starter.services.namespace import Namespace
from starter.services.receipts import CancelReceipt, ChangeReceipt
from workflows.session_change import SessionChangeWorkflow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChanges:
    """Temporal, as far as changes of whole sessions are concerned."""

    client: Client
    """Connected with `SessionReminderPlugin`; may be lazy."""
    task_queue: str
    """Where the workers poll."""
    namespace: Namespace
    """Ours, as is found out before a workflow is touched."""

    async def start(self, session_id: UUID) -> ChangeReceipt:
        """The workflow that plans every enrollment anew: started, or sent round once more."""
        with unavailable(STORED):
            memo = await self.namespace.memo()
            # Start and signal are one call: of a running one, nothing that changed is missed.
            handle = await self.client.start_workflow(
                SessionChangeWorkflow.run,
                SessionChangeInput(session_id=session_id),
                id=session_change_workflow_id(session_id),
                task_queue=self.task_queue,
                start_signal="changed",
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                search_attributes=TypedSearchAttributes(
                    [SearchAttributePair(SESSION_ID, str(session_id))]
                ),
                memo=memo,
                static_summary="tells every enrollment that its session changed",
                rpc_timeout=RPC_TIMEOUT,
            )
        return ChangeReceipt(workflow_id=handle.id, run_id=handle.result_run_id, is_done=False)

    async def counted(self, change: ChangeReceipt, *, wait: timedelta) -> ChangeReceipt:
        """A change with its counts, if its workflow ends in time; otherwise as it was.

        Whoever stops waiting stops nothing, and may ask again.

        Args:
            change: What one of the calls above answered.
            wait: How long to wait.
        """
        if change.is_done or change.workflow_id is None:
            return change
        handle: WorkflowHandle[SessionChangeWorkflow, SessionChangeResult]
        handle = self.client.get_workflow_handle_for(
            SessionChangeWorkflow.run, change.workflow_id, run_id=change.run_id
        )
        counts = await _result(handle, wait)
        if counts is None:
            return change
        return replace(
            change,
            is_done=True,
            enrollments=counts.enrollments,
            replanned=counts.replanned,
            unconfirmed=counts.unconfirmed,
            reminders=CancelReceipt(
                cancelled=counts.cancelled,
                already_sent=counts.already_sent,
                in_flight=counts.in_flight,
                told=counts.told,
            ),
        )


async def _result(
    handle: WorkflowHandle[SessionChangeWorkflow, SessionChangeResult], wait: timedelta
) -> SessionChangeResult | None:
    """The counts; `None` if there are none in time. Whatever happens, the change is on its way."""
    try:
        async with asyncio.timeout(wait.total_seconds()):
            with unavailable(STORED):
                return await handle.result()
    except (TimeoutError, TemporalUnavailableError, RPCError):
        return None
    except WorkflowFailureError as error:
        logger.warning("%s did not finish: %s", handle.id, type(error.cause).__name__)
        return None
