"""`SessionChangeWorkflow` from both ends: started and counted, and what it does a page at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.db.sessions import Catalogue
from reminders.domain.contracts import SessionChangeInput, SessionChangeResult
from reminders.domain.errors import NotFoundError, ServiceUnavailableError, TemporalUnavailableError
from reminders.domain.keys import session_change_workflow_id
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import ReplannedPage
from reminders.fan_out import fan_out, total
from reminders.temporal import RPC_TIMEOUT, SESSION_ID, STORED, unavailable
from starter.services.handover import UPDATES, HandedOver, Handover, by_transaction
from starter.services.namespace import Namespace
from starter.services.receipts import CancelReceipt, ChangeReceipt
from workflows.session_change import SessionChangeWorkflow

logger = logging.getLogger(__name__)

ChangeHandle = WorkflowHandle[SessionChangeWorkflow, SessionChangeResult]
"""Of a change's workflow."""


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
        handle: ChangeHandle = self.client.get_workflow_handle_for(
            SessionChangeWorkflow.run, change.workflow_id, run_id=change.run_id
        )
        counts = await result_in_time(handle, wait)
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


async def result_in_time(handle: ChangeHandle, wait: timedelta) -> SessionChangeResult | None:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrollmentReplanner:
    """Plans a session's enrollments anew and hands their plans over: a `ports.SessionReplanner`."""

    handover: Handover
    planner: EnrollmentPlanner
    catalogue: Catalogue

    async def replan_page(
        self, session_id: UUID, *, after: UUID | None, limit: int, since: datetime
    ) -> ReplannedPage:
        """See `SessionReplanner.replan_page`.

        One enrollment that cannot be planned is counted, and the others follow. Runs that did not
        confirm in time are asked once more after them: a worker may be busy with the page itself.
        """
        users = await self.catalogue.enrolled(session_id, after=after, limit=limit)

        async def some(group: Sequence[UUID]) -> SessionChangeResult:
            done, left = await self._together(session_id, group, since)
            return total(SessionChangeResult(), *done, *await fan_out(one, left, at_once=UPDATES))

        async def one(user_id: UUID) -> SessionChangeResult:
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

        counts = total(SessionChangeResult(), *await by_transaction(some, users))
        return ReplannedPage(counts=counts, after=users[-1] if len(users) == limit else None)

    async def _together(
        self, session_id: UUID, users: Sequence[UUID], since: datetime
    ) -> tuple[list[SessionChangeResult], Sequence[UUID]]:
        """Plan people anew in one transaction; what came of it, and who is left to do one by one."""
        try:
            planned = await self.planner.replan_all(session_id, users)
            handed = await self.handover.hand_over_changed(planned)
        except ServiceUnavailableError:
            raise
        except Exception:  # noqa: BLE001 - whose it is shows one by one
            return [], users
        slow = [of.planned.user_id for of in handed if not of.is_confirmed]
        return [_counted(of, since) for of in handed if of.is_confirmed], slow

    async def _replan(
        self, session_id: UUID, user_id: UUID, since: datetime
    ) -> SessionChangeResult:
        """Plan one enrollment anew and have its workflow confirm it."""
        try:
            planned = await self.planner.replan(session_id, user_id)
            handed = await self.handover.hand_over(planned, is_patient=True)
        except NotFoundError:  # deleted since the page was read, reminders and all
            return SessionChangeResult()
        return _counted(handed, since)


def _counted(handed: HandedOver, since: datetime) -> SessionChangeResult:
    """What became of one enrollment's plan."""
    counted = CancelReceipt.of(handed.planned)
    return SessionChangeResult(
        enrollments=1,
        replanned=int(handed.is_confirmed),
        unconfirmed=int(not handed.is_confirmed),
        cancelled=max(counted.cancelled, _called_off(handed.planned, since)),
        already_sent=counted.already_sent,
        in_flight=counted.in_flight,
        told=int(handed.planned.is_told or _was_told(handed.planned, since)),
    )


def _was_told(planned: PlannedEnrollment, since: datetime) -> bool:
    """Whether a notice went out since then, perhaps of an attempt that could not count it."""
    return any(
        r.notice is not None
        and r.status.is_accepted
        and r.updated_at is not None
        and r.updated_at >= since
        for r in planned.reminders
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
