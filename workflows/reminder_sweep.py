"""The safety net: finds what nobody told us about, and puts it right."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.retention import RetentionActivities
    from activities.sweep import SweepActivities
    from reminders.domain.contracts import ReconcileInput, SweepKind, SweepResult, SweepTally

LIMIT = 5000
"""Enrollments that one run repairs; what is left, the next run finds."""
ATTEMPT_TIMEOUT = timedelta(minutes=2)
"""For one kind, all attempts together; with all kinds and what is forgotten it fits into a run's 14 minutes."""
RETENTION_TIMEOUT = timedelta(minutes=1)
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
)


@workflow.defn
class ReminderSweepWorkflow:
    """Reconciles ledger and workflows with the platform's tables. It never sends.

    **Workflow Id**: `reminder-sweep-<instant>` from the Schedule `reminder-sweep`, and
    `reminder-sweep-manual` by hand.

    Ends *Completed* with truthful counts, also when some kinds could not be searched (their tally
    names the error), and *Failed*, or *Timed Out*, only when none could: PostgreSQL or Temporal was
    away the whole time. Waits for nothing but its activities. Killing it costs nothing: the next
    run finds what is left.

    To change it: runs last minutes, but gate the change with `workflow.patched` anyway.
    """

    @workflow.run
    async def run(self) -> SweepResult:
        """Work on one kind after the other."""
        left = LIMIT
        results: dict[SweepKind, SweepTally] = {}
        for kind in SweepKind:
            results[kind] = await self._reconcile(kind, left)
            if kind is not SweepKind.IN_DOUBT:
                left -= results[kind].repaired
        errors = {tally.error for tally in results.values()}
        if None not in errors:
            message = f"nothing could be searched: {', '.join(sorted(e or '' for e in errors))}"
            raise ApplicationError(message, type="SweepFailedError", non_retryable=True)
        worked_on = [tally for kind, tally in results.items() if kind is not SweepKind.IN_DOUBT]
        return SweepResult(
            processed=sum(tally.found for tally in worked_on),
            total_reminders=sum(tally.reminders for tally in worked_on),
            total_failed=sum(tally.failed for tally in worked_on),
            results=results,
            forgotten=await self._forget(),
        )

    async def _forget(self) -> int:
        """Remove what nobody needs any more; if that fails, the next run does it."""
        try:
            return await workflow.execute_activity_method(
                RetentionActivities.forget_what_is_old,
                activity_id="forget",
                schedule_to_close_timeout=RETENTION_TIMEOUT,
                retry_policy=RETRY,
                summary="provider events and requests of more than 30 days ago",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return 0

    async def _reconcile(self, kind: SweepKind, limit: int) -> SweepTally:
        """The tally of one kind; an error ends this kind and not the others."""
        try:
            return await workflow.execute_activity_method(
                SweepActivities.reconcile_enrollments,
                ReconcileInput(kind=kind, limit=limit),
                activity_id=f"reconcile-{kind}",
                schedule_to_close_timeout=ATTEMPT_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRY,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=f"{kind} enrollments",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return SweepTally(stopped_early=True, error=_error_type(error))


def _error_type(error: ActivityError) -> str:
    """Type of the error that ended the last attempt."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApplicationError):
            return cause.type or ""
        cause = cause.__cause__
    return type(error.cause).__name__ if error.cause else ""
