"""A rehearsal: the real workflow, on a server where time flies, writing to nobody.

The workflow, its activities, the planning, the decision and the rendering are those of the
performance. Ledger and provider are replaced by this process's memory, and the clock by the one
that the server keeps for the workflow. A rehearsal may begin at any instant, but a workflow only
begins now: it gets every instant shifted by the difference, and what it does is shifted back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import Worker

from activities.delivery import DeliveryActivities
from reminders.clock import SystemClock
from reminders.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    DeliverReminderInput,
    DeliveryOutcome,
)
from reminders.db.plans import PlannedEnrollment
from reminders.decide import Close, Send, Wait, decide
from reminders.embedded.temporal import EmbeddedTemporal
from reminders.errors import InvalidAddressError, ReminderNotFoundError, RenderError
from reminders.keys import session_reminder_workflow_id
from reminders.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    StatusReason,
)
from reminders.plan import plan, revise
from reminders.ports import Composer
from starter.enrollments import EnrollmentWorkflows
from workflows.plugin import SessionReminderPlugin


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A session's start changes."""

    at: datetime
    """When the platform says so; aware."""
    to: datetime
    """The new start; aware."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What is rehearsed: one enrollment, from the moment it is made."""

    session: Session
    attendee: Attendee
    rules: tuple[ReminderRule, ...]
    enrolled_at: datetime
    """Any instant, aware."""
    moves: tuple[Move, ...] = ()
    """By ascending instant, none before the enrollment."""
    threshold: timedelta = timedelta(hours=1)
    """`RESCHEDULE_RESEND_THRESHOLD`."""
    stopped: Mapping[str, StatusReason] = field(default_factory=dict)
    """What the attendee is not to get, by reminder type; `*` stands for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """What became of one reminder."""

    reminder: Reminder
    subject: str | None
    """As the attendee gets it; absent if nothing went out."""


async def rehearse_alone(script: Script, composer: Composer) -> tuple[Rehearsed, ...]:
    """Rehearse on a Temporal server that lives as long as that takes.

    Raises:
        EmbeddedServerError: If there is no `temporal` program, or it does not come up; the
            message has the remedy.
    """
    with EmbeddedTemporal(headless=True) as server:
        client = await Client.connect(server.address, plugins=[SessionReminderPlugin()])
        return await rehearse(script, composer, client)


async def rehearse(script: Script, composer: Composer, client: Client) -> tuple[Rehearsed, ...]:
    """Play an enrollment to its end, however many weeks that takes it; seconds for us.

    Args:
        script: What is rehearsed; its session is held, and its attendee takes part.
        composer: Renders, as the performance does.
        client: Of a server with time skipping and our search attributes, such as
            `EmbeddedTemporal`; connected with `SessionReminderPlugin`.

    Returns:
        Every reminder, sent or not, by the instant that it went out or was due.
    """
    rehearsal = _Rehearsal(script, composer)
    activities = DeliveryActivities(rehearsal)
    queue = f"rehearsal-{uuid4()}"
    skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
    workflows = EnrollmentWorkflows(skipper.client, task_queue=queue)
    handle: WorkflowHandle[Any, Any] = skipper.client.get_workflow_handle(
        session_reminder_workflow_id(script.session.id, script.attendee.user_id)
    )
    async with Worker(
        skipper.client,
        task_queue=queue,
        activities=[activities.deliver_reminder, activities.close_reminders],
    ):
        await workflows.start(rehearsal.planned(at=script.enrolled_at, enrolling=True))
        for move in script.moves:
            await _wind_to(skipper, handle, rehearsal.shifted(move.at))
            rehearsal.move(move.to)
            await _follow(workflows, rehearsal.planned(at=move.at, enrolling=False))
            # What has ended was followed by a run that begins now, and not at the move.
            await _wind_to(skipper, handle, rehearsal.shifted(move.at))
        await _wind_to(skipper, handle, None)
    return rehearsal.result()


async def _follow(workflows: EnrollmentWorkflows, planned: PlannedEnrollment) -> None:
    """Have a new plan followed, by the run that there is or by another; there is no ledger here."""
    run = await workflows.latest(planned.session.id, planned.user_id)
    if run is not None and run.is_running:
        await workflows.replan(run, planned)
    elif planned.has_pending:
        await workflows.start(planned)


async def _wind_to(
    skipper: TimeSkipper, handle: WorkflowHandle[Any, Any], instant: datetime | None
) -> None:
    """Let time pass for a workflow until an instant, or until it ends; one that has ended has none."""
    try:
        if instant is None:
            await skipper.fast_forward(handle, None)
        elif (left := instant - await skipper.get_current_time(handle)) > timedelta():
            await skipper.fast_forward(handle, left)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


class _Rehearsal:
    """The ledger, the provider and the clock of one rehearsal: a `ports.Deliverer`."""

    def __init__(self, script: Script, composer: Composer) -> None:
        """Begin now."""
        self._script = script
        self._composer = composer
        self._ahead = SystemClock().now() - script.enrolled_at
        self._rows: dict[UUID, Reminder] = {}
        self._subjects: dict[UUID, str] = {}
        self._version = 0
        self.session = script.session

    def move(self, starts_at: datetime) -> None:
        """The session starts at another instant, and lasts as long."""
        session, by = self.session, starts_at - self.session.starts_at
        ends_at = session.ends_at + by if session.ends_at else None
        self.session = replace(session, starts_at=starts_at, ends_at=ends_at)

    def shifted(self, instant: datetime) -> datetime:
        """An instant of the script, on the workflow's clock."""
        return instant + self._ahead

    def planned(self, *, at: datetime, enrolling: bool) -> PlannedEnrollment:
        """Plan as `EnrollmentPlanner` does, in memory, for the workflow's clock."""
        revision = revise(
            plan(self.session.starts_at, self._script.rules, now=at),
            self._rows.values(),
            session_id=self.session.id,
            user_id=self._script.attendee.user_id,
            starts_at=self.session.starts_at,
            threshold=self._script.threshold,
            enrolling=enrolling,
        )
        self._rows |= {row.id: row for row in revision.reminders}
        self._version += 1
        return PlannedEnrollment(
            session=replace(self.session, starts_at=self.shifted(self.session.starts_at)),
            user_id=self._script.attendee.user_id,
            reminders=tuple(replace(r, due_at=self.shifted(r.due_at)) for r in revision.reminders),
            version=self._version,
            is_first=enrolling,
            is_changed=not revision.is_empty,
        )

    def result(self) -> tuple[Rehearsed, ...]:
        """What became of every reminder."""
        rows = sorted(self._rows.values(), key=lambda r: (r.sent_at or r.due_at, r.reminder_type))
        return tuple(Rehearsed(reminder=r, subject=self._subjects.get(r.id)) for r in rows)

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        """See `Deliverer.deliver`; the e-mail is composed, and kept."""
        row = self._rows.get(reminder.reminder_id)
        if row is None:
            raise ReminderNotFoundError
        now = activity.info().started_time - self._ahead
        facts = self._facts(row)
        decision = decide(facts, now=now)
        if isinstance(decision, Wait):
            self._rows[row.id] = replace(
                row, due_at=decision.due_at, starts_at=decision.starts_at, run_id=run_id
            )
            return DeliveryOutcome(
                status=ReminderStatus.SCHEDULED,
                due_at=self.shifted(decision.due_at),
                starts_at=self.shifted(decision.starts_at),
            )
        if isinstance(decision, Close):
            row = replace(row, status=decision.status, reason=decision.reason)
        elif isinstance(decision, Send):
            row = self._sent(row, facts, now)
        self._rows[row.id] = replace(row, run_id=run_id)
        return DeliveryOutcome(status=row.status, reason=row.reason)

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """See `Deliverer.close`."""
        waiting = [row for i in request.reminder_ids if (row := self._rows[i]).status.is_pending]
        for row in waiting:
            self._rows[row.id] = replace(row, status=request.status, reason=request.reason)
        return CloseRemindersResult(closed=len(waiting), in_doubt=0)

    def _sent(self, row: Reminder, facts: DeliveryFacts, now: datetime) -> Reminder:
        """The row as the provider would have it after taking the e-mail."""
        try:
            message = self._composer.compose(facts, now=now)
        except InvalidAddressError:
            return replace(row, status=ReminderStatus.FAILED, reason=StatusReason.INVALID_ADDRESS)
        except RenderError:
            return replace(row, status=ReminderStatus.FAILED, reason=StatusReason.RENDER_ERROR)
        self._subjects[row.id] = message.subject
        return replace(
            row, status=ReminderStatus.SENT, sent_at=now, starts_at=self.session.starts_at
        )

    def _facts(self, row: Reminder) -> DeliveryFacts:
        """Everything that is true of a reminder now, as `DeliveryLedger.read` finds it."""
        others = self._rows.values()
        sent = [r for r in others if r.sent_at is not None]
        told = max(sent, key=lambda r: r.sent_at or r.due_at, default=None)
        stopped = self._script.stopped
        going_out = {
            r.reminder_type
            for r in self._script.rules
            if r.is_enabled and not (stopped.get(r.reminder_type) or stopped.get("*"))
        }
        return DeliveryFacts(
            reminder=row,
            session=self.session,
            attendee=self._script.attendee,
            enrollment_status=EnrollmentStatus.CONFIRMED,
            rule=next(
                (r for r in self._script.rules if r.reminder_type == row.reminder_type), None
            ),
            next_due_at=min(
                (
                    r.due_at
                    for r in others
                    if r.status is ReminderStatus.SCHEDULED
                    and r.reminder_type in going_out
                    and r.due_at > row.due_at
                ),
                default=None,
            ),
            stopped=stopped.get(row.reminder_type) or stopped.get("*"),
            moved_from=(
                told.starts_at
                if told is not None and told.starts_at != self.session.starts_at
                else None
            ),
        )
