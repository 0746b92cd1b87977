"""The life of one enrollment's reminders.

Determinism: nothing here reads a clock, a database or a setting. The plan arrives as input and by
update, instants are compared with `workflow.now()`, and whatever changed unnoticed is found by the
activity, which reads the present state before it sends.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy, SearchAttributeKey
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from activities.delivery import DeliveryActivities
    from reminders.domain.contracts import (
        CloseRemindersInput,
        DeliverReminderInput,
        DeliveryOutcome,
        PlannedReminder,
        ReminderPlan,
        SessionReminderInput,
        SessionReminderResult,
    )
    from reminders.domain.keys import reminder_id
    from reminders.domain.model import ReminderStatus, StatusReason

SESSION_START = SearchAttributeKey.for_datetime("SessionStart")

SEND_TIMEOUT = timedelta(seconds=30)
"""One attempt; longer than the delivery pipeline's own patience."""
HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""How soon a dead worker is noticed, once the reminder is due, and a tenth of its lead-in later: a
crowd takes its time, and a heartbeat of each would take it from the e-mails."""
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)
SHORTEST_DEADLINE = timedelta(seconds=10)
"""A send scheduled at or after the start gets this long, to record that it is too late."""
CLOSE_DEADLINE = timedelta(days=1)
"""How long recording an end is retried while the database is away."""

IS_ENDING = "WorkflowIsEndingError"
"""Type of the error by which a run that was cancelled refuses a plan."""

_REASONS = {
    "MailQuotaExceededError": StatusReason.QUOTA,
    "MailNotConfiguredError": StatusReason.MISCONFIGURED,
    "MailBlockedError": StatusReason.MISCONFIGURED,
    "ReminderNotFoundError": StatusReason.NOT_FOUND,
}
"""Why a reminder failed, by the type of the last error; anything else means `expired`."""


@workflow.defn
class SessionReminderWorkflow:
    """Sleeps until each reminder of one enrollment is due, has it sent, and ends.

    **Workflow Id**: `session-reminder:{session_id}:{user_id}`.

    Ends *Completed* when no reminder is pending, and *Canceled* when it is cancelled, with the
    pending reminders marked `cancelled`. Waits for nothing but time and messages. Never fails
    because of a reminder: a failed one is recorded, and the next one follows.

    - Update `replan`: a newer plan replaces this one; once it returns, the old times cannot fire.
    - Query `plan`: every reminder with its due instant, status and reason.

    To change it: gate the change with `workflow.patched`, record a history, see CONTRIBUTING.
    """

    @workflow.init
    def __init__(self, enrollment: SessionReminderInput) -> None:
        """Start with the plan that the ledger already has."""
        self._enrollment = enrollment
        self._plan = enrollment.plan
        self._describe()

    @workflow.run
    async def run(self, enrollment: SessionReminderInput) -> SessionReminderResult:  # noqa: ARG002 - see __init__
        """Deliver what is pending, earliest first."""
        try:
            while (reminder := self._next()) is not None:
                if workflow.info().is_continue_as_new_suggested():
                    await self._continue_as_new()
                if not await self._plan_changed_before(reminder):
                    await self._deliver(reminder)
            await workflow.wait_condition(workflow.all_handlers_finished)
        except BaseException as error:
            if is_cancelled_exception(error):
                await self._cancel_pending()
            raise
        return self._result()

    @workflow.update(description="Replace the plan: the session moved, or a rule changed")
    def replan(self, plan: ReminderPlan) -> ReminderPlan:
        """Take over a newer plan.

        An update and not a signal: the caller may rely on the old times being dead once it
        returns. An older plan than the present one changes nothing, so calls may overtake each
        other and be repeated.

        Returns:
            The plan in force.
        """
        if plan.version <= self._plan.version:
            return self._plan
        ended = {_key(r): r for r in self._plan.reminders if not r.status.is_pending}
        self._session_starts(plan.starts_at)
        self._plan = replace(plan, reminders=tuple(ended.get(_key(r), r) for r in plan.reminders))
        self._describe()
        return self._plan

    @replan.validator
    def _check_plan(self, plan: ReminderPlan) -> None:
        if workflow.cancellation_reason() is not None:
            # It would be lost: what is closed is what was pending when the cancel arrived.
            raise ApplicationError(
                "cancelled, and about to end", type=IS_ENDING, non_retryable=True
            )
        for reminder in plan.reminders:
            if reminder.due_at.tzinfo is None:
                msg = f"due_at of {reminder.reminder_type} has no UTC offset"
                raise ApplicationError(msg, type="NaiveInstantError", non_retryable=True)

    @workflow.query(description="Every reminder with its due instant, status and reason")
    def plan(self) -> ReminderPlan:
        """The plan in force, and what has become of it so far."""
        return self._plan

    def _next(self) -> PlannedReminder | None:
        """The earliest pending reminder."""
        pending = [r for r in self._plan.reminders if r.status.is_pending]
        return min(pending, key=lambda r: (r.due_at, r.reminder_type), default=None)

    async def _plan_changed_before(self, reminder: PlannedReminder) -> bool:
        """Sleep until a reminder is to be made ready; true if the plan changed meanwhile."""
        delay = reminder.due_at - workflow.now() - (self._plan.lead_in or timedelta())
        if delay <= timedelta():
            return False
        version = self._plan.version
        try:
            await workflow.wait_condition(
                lambda: self._plan.version != version,
                timeout=delay,
                timeout_summary=f"{reminder.reminder_type} reminder, due {_utc(reminder.due_at)}",
            )
        except TimeoutError:
            return False
        return True

    async def _deliver(self, reminder: PlannedReminder) -> None:
        """Have one reminder sent, and note what became of it."""
        version = self._plan.version
        left = self._plan.starts_at - workflow.now()
        early = max(reminder.due_at - workflow.now(), timedelta())
        try:
            outcome = await workflow.execute_activity_method(
                DeliveryActivities.deliver_reminder,
                DeliverReminderInput(
                    reminder_id=self._id(reminder),
                    due_at=reminder.due_at,
                    starts_at=self._plan.starts_at,
                ),
                activity_id=f"deliver-{reminder.reminder_type}",
                # Once more as long: a crowd's ends take Temporal about as long as it was spread over.
                start_to_close_timeout=2 * early + SEND_TIMEOUT,
                heartbeat_timeout=early * 1.1 + HEARTBEAT_TIMEOUT,
                schedule_to_close_timeout=max(left, SHORTEST_DEADLINE),
                retry_policy=RETRY,
                cancellation_type=_on_cancel(early),
                priority=_priority(left),
                summary=f"{reminder.reminder_type} reminder",
            )
        except ActivityError as error:
            if is_cancelled_exception(error) or workflow.cancellation_reason() is not None:
                raise asyncio.CancelledError from error
            if self._is_overtaken(version):
                return  # its deadline was the old start; the newer plan says when it is due
            reason = _REASONS.get(_error_type(error), StatusReason.EXPIRED)
            await self._close((reminder,), ReminderStatus.FAILED, reason, plan_version=version)
            if self._is_overtaken(version):
                return  # what was closed, if anything, was the reminder of the older plan
            self._note(replace(reminder, status=ReminderStatus.FAILED, reason=reason))
        else:
            if outcome.status.is_pending and self._is_overtaken(version):
                outcome = self._reconciled(reminder, outcome)
            self._note(
                replace(
                    reminder,
                    status=outcome.status,
                    reason=outcome.reason,
                    due_at=outcome.due_at or reminder.due_at,
                )
            )
            if outcome.starts_at is not None:
                self._session_starts(outcome.starts_at)
                self._plan = replace(self._plan, starts_at=outcome.starts_at)
        if workflow.cancellation_reason() is not None:
            # A cancel that arrives while the last answer of an activity is on its way is not
            # raised by that activity: without this, the rest would still go out.
            raise asyncio.CancelledError

    def _is_overtaken(self, version: int) -> bool:
        """Whether a newer plan than this one arrived while a delivery was under way."""
        return self._plan.version != version

    def _reconciled(self, reminder: PlannedReminder, outcome: DeliveryOutcome) -> DeliveryOutcome:
        """What to make of a delivery that was too early, if a newer plan arrived meanwhile.

        Either may have read the newer state, so the earlier instant and the later start count:
        waking too early costs one more look, and waking too late makes the e-mail late.
        """
        now = next((r for r in self._plan.reminders if _key(r) == _key(reminder)), None)
        if now is None or not now.status.is_pending:
            return DeliveryOutcome(status=(now or reminder).status, reason=(now or reminder).reason)
        return replace(
            outcome,
            due_at=min(now.due_at, outcome.due_at or now.due_at),
            starts_at=max(self._plan.starts_at, outcome.starts_at or self._plan.starts_at),
        )

    def _session_starts(self, starts_at: datetime) -> None:
        """Let searches find the session under its new start."""
        if starts_at != self._plan.starts_at:
            workflow.upsert_search_attributes([SESSION_START.value_set(starts_at)])

    def _id(self, reminder: PlannedReminder) -> UUID:
        """The ledger's row of a reminder."""
        enrolled = self._enrollment
        return reminder_id(
            enrolled.session_id, enrolled.user_id, reminder.reminder_type, reminder.generation
        )

    def _note(self, reminder: PlannedReminder) -> None:
        """Replace a reminder of the plan, unless a newer plan no longer knows it."""
        self._plan = replace(
            self._plan,
            reminders=tuple(
                reminder if _key(r) == _key(reminder) else r for r in self._plan.reminders
            ),
        )
        self._describe()

    async def _cancel_pending(self) -> None:
        """Mark what is pending as cancelled; the cancel is delivered once, so this may wait."""
        pending = tuple(r for r in self._plan.reminders if r.status.is_pending)
        reason = _cancelled_because()
        for reminder in pending:
            self._note(replace(reminder, status=ReminderStatus.CANCELLED, reason=reason))
        if pending:
            await self._close(pending, ReminderStatus.CANCELLED, reason)

    async def _close(
        self,
        reminders: tuple[PlannedReminder, ...],
        status: ReminderStatus,
        reason: StatusReason,
        *,
        plan_version: int | None = None,
    ) -> None:
        try:
            await workflow.execute_activity_method(
                DeliveryActivities.close_reminders,
                CloseRemindersInput(
                    reminder_ids=tuple(self._id(r) for r in reminders),
                    status=status,
                    reason=reason,
                    plan_version=plan_version,
                ),
                start_to_close_timeout=SEND_TIMEOUT,
                schedule_to_close_timeout=CLOSE_DEADLINE,
                retry_policy=RETRY,
                priority=Priority(priority_key=1),  # what is called off is not to go out meanwhile
                summary=f"{status}: {reason}",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # The sweep finds rows that still wait although their workflow has ended.
            workflow.logger.error("could not record %s: %s", status, _error_type(error))

    async def _continue_as_new(self) -> None:
        """Carry on with a fresh history; only an enrollment moved hundreds of times gets here."""
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(replace(self._enrollment, plan=self._plan))

    def _result(self) -> SessionReminderResult:
        statuses = [r.status for r in self._plan.reminders]
        return SessionReminderResult(
            sent=sum(s.is_accepted for s in statuses),
            skipped=sum(s in (ReminderStatus.SKIPPED, ReminderStatus.CANCELLED) for s in statuses),
            failed=statuses.count(ReminderStatus.FAILED),
        )

    def _describe(self) -> None:
        """Tell people in the Temporal UI and `temporal workflow metadata` how things stand."""
        lines = [
            f"Session starts {_utc(self._plan.starts_at)}",
            "",
            "| reminder | due | status |",
            "| --- | --- | --- |",
        ]
        for r in self._plan.reminders:
            status = f"{r.status} ({r.reason})" if r.reason else r.status
            lines.append(f"| {r.reminder_type} | {_utc(r.due_at)} | {status} |")
        workflow.set_current_details("\n".join(lines))


def _cancelled_because() -> StatusReason:
    """What the gateway gave as the reason; people by hand give other words, or none."""
    try:
        return StatusReason(workflow.cancellation_reason() or "")
    except ValueError:
        return StatusReason.WORKFLOW_CANCELLED


def _key(reminder: PlannedReminder) -> tuple[str, int]:
    """What tells the reminders of one enrollment apart."""
    return reminder.reminder_type, reminder.generation


def _utc(instant: datetime) -> str:
    """An instant for people; plans carry UTC."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _priority(left: timedelta) -> Priority:
    """The nearer the start, the sooner served: 1 within the hour, 4 beyond twelve hours."""
    hours = left / timedelta(hours=1)
    return Priority(priority_key=1 if hours <= 1 else 2 if hours <= 3 else 3 if hours <= 12 else 4)


def _on_cancel(early: timedelta) -> workflow.ActivityCancellationType:
    """How a cancel meets a send under way.

    One that has reached its due instant is waited for, so that its outcome is known. One that was
    made ready early may have a minute to wait: there the ledger is closed at once, which the
    delivery reads before it lets anything go, and which waits for what is in flight.
    """
    if early > timedelta():
        return workflow.ActivityCancellationType.TRY_CANCEL
    return workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED


def _error_type(error: ActivityError) -> str:
    """Type of the error that ended the last attempt."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError):
            return cause.type or ""
        cause = cause.__cause__
    return type(error.cause).__name__ if error.cause else ""
