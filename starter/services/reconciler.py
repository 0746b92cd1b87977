"""Repairs single enrollments for the sweep: the planner decides, their workflows follow."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from temporalio.client import Client

from reminders.db.absence import Absence
from reminders.db.sweep import DUE_SOON, SweepQueries
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import SessionNotFoundError
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import StatusReason
from reminders.domain.ports import Enrollment
from reminders.domain.upkeep import Suspect, SweepPage
from reminders.temporal import RPC_TIMEOUT, unavailable
from starter.gateway import ReminderGateway
from starter.services.handover import Handover
from starter.services.namespace import look_ahead, period, schedule_shown
from workflows.session_reminder import SessionReminderWorkflow


@dataclass(frozen=True, kw_only=True, slots=True)
class EnrollmentReconciler:
    """`Reconciler` on PostgreSQL and Temporal."""

    client: Client
    handover: Handover
    gateway: ReminderGateway
    queries: SweepQueries
    absence: Absence

    async def suspects(self, kind: SweepKind, *, after: Suspect | None, limit: int) -> SweepPage:
        """See `Reconciler.suspects`."""
        look = {
            SweepKind.UNCONFIRMED: self.queries.unconfirmed,
            SweepKind.DRIFTED: self.queries.drifted,
            SweepKind.LOST: self.queries.lost,
            SweepKind.OVERDUE: self.queries.overdue,
            SweepKind.MISSING: self._due_soon,
        }[kind]
        page = await look(after=after, limit=limit)
        further = page[-1] if len(page) == limit else None
        found: Sequence[Enrollment] = [suspect.enrollment for suspect in page]
        if kind is SweepKind.MISSING:
            found = await self._without_workflow(found)
        return SweepPage(suspects=found, after=further)

    async def _due_soon(self, *, after: Suspect | None, limit: int) -> Sequence[Suspect]:
        """As far ahead as the Schedule has sweeps apart."""
        found = await schedule_shown(self.client)
        every = period(found) if found else None
        within = (look_ahead(every) if every else None) or DUE_SOON
        return await self.queries.due_soon(after=after, limit=limit, within=within)

    async def repair(self, enrollment: Enrollment, kind: SweepKind) -> int | None:
        """See `Reconciler.repair`."""
        session_id, user_id = enrollment.session_id, enrollment.user_id
        if await self.absence.hides(session_id, user_id):
            return None  # or not; but nobody is called off for it
        is_without_workflow = kind in (SweepKind.OVERDUE, SweepKind.MISSING)
        if is_without_workflow:
            run = await self.handover.workflows.latest(session_id, user_id)
            if run is not None and (
                run.is_at_work or (kind is SweepKind.MISSING and run.is_running)
            ):
                return None
            if run is not None and run.is_cancelled:
                asked_at = await self.handover.workflows.cancel_asked_at(run)
                if asked_at is None:
                    return None  # Temporal has just forgotten it; the next sweep looks anew
                # Whoever cancelled it meant what was planned by then: starting it again would
                # revive them. What was planned later (they enrolled again, the session was restored)
                # lost its start, or waited for this run to end.
                closed = await self.handover.planner.close_waiting(
                    session_id,
                    user_id,
                    StatusReason.WORKFLOW_CANCELLED,
                    planned_before=asked_at,
                )
                if closed:
                    return closed
        try:
            planned = await self.handover.planner.reconcile(
                session_id, user_id, distrust=kind is SweepKind.OVERDUE
            )
            handed = await self.handover.hand_over(planned)
        except SessionNotFoundError:
            closed = await self.handover.planner.close_waiting(
                session_id, user_id, StatusReason.SESSION_DELETED
            )
            is_found = await self.handover.workflows.cancel(
                session_id, user_id, StatusReason.SESSION_DELETED
            )
            await self.handover.planner.forget_unconfirmed(session_id, user_id)
            is_repaired = closed > 0 or is_found
            return closed if is_repaired else None
        planned = handed.planned
        if planned.is_changed:
            return planned.written
        is_behind = kind is SweepKind.UNCONFIRMED and handed.is_confirmed and handed.is_found
        if is_behind or (is_without_workflow and planned.has_pending):
            return sum(r.status.is_pending for r in planned.reminders)
        return None

    async def replan(self, session_id: UUID) -> None:
        """See `Reconciler.replan`."""
        with suppress(SessionNotFoundError):  # gone, or hidden: there is nothing to plan it by
            await self.gateway.replan(session_id, wait=None)

    async def in_doubt(self) -> int:
        """See `Reconciler.in_doubt`."""
        return await self.queries.in_doubt()

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
            async for run in self.client.list_workflows(
                f"WorkflowType = '{SessionReminderWorkflow.__name__}'"
                f" AND ExecutionStatus = 'Running' AND WorkflowId IN ({listed})",
                page_size=len(ids),
                rpc_timeout=RPC_TIMEOUT,
            ):
                ids.pop(run.id, None)
        return tuple(ids.values())
