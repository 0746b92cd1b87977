"""A session changed: bring every enrollment in line with it.

Determinism: the change itself is not in here, not even what it was. The activity reads the session
as it is, so the latest state is what everybody is told.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.session_change import SessionChangeActivities
    from reminders.domain.contracts import SessionChangeInput, SessionChangeResult

ATTEMPT_TIMEOUT = timedelta(hours=1)
"""One attempt; ten thousand enrollments take minutes."""
HEARTBEAT_TIMEOUT = timedelta(seconds=30)
"""How soon a dead worker is noticed."""
DEADLINE = timedelta(days=1)
"""How long a pass is retried while PostgreSQL is away; after that the sweep takes over."""
RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=1),
)
URGENT = Priority(priority_key=1)
"""It may be a cancellation: ahead of the reminders that it calls off."""


@workflow.defn
class SessionChangeWorkflow:
    """Brings all enrollments of one session in line with the session and the rules as they are.

    **Workflow Id**: `session-change:{session_id}`.

    Ends *Completed* with counts when a pass over all enrollments is done and nothing changed
    meanwhile, and *Failed* when a pass has failed for a day and nothing changed since it began.
    Waits for nothing but its activity. Killing it costs nothing: the same call repeated, or the
    sweep, finds what is left.

    - Signal `changed`: something changed again; any number of them during a pass make one more.

    To change it: runs last minutes, but gate the change with `workflow.patched` anyway.
    """

    @workflow.init
    def __init__(self, change: SessionChangeInput) -> None:
        """Start with one pass to do."""
        self._change = change
        self._is_stale = True
        self._passes = 0

    @workflow.run
    async def run(self, change: SessionChangeInput) -> SessionChangeResult:
        """Pass over all enrollments until nothing changes any more."""
        counts = SessionChangeResult(cancelled=change.cancelled)
        while self._is_stale:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(replace(change, cancelled=counts.cancelled))
            self._is_stale = False
            self._passes += 1
            self._describe(counts, "under way")
            try:
                done = await self._replan_all()
            except ActivityError as error:
                # A change that came in after this pass began was promised to reach everybody.
                if is_cancelled_exception(error) or not self._is_stale:
                    raise
                continue
            # What an earlier pass called off stays called off; everything else is as found now.
            counts = replace(done, cancelled=counts.cancelled + done.cancelled)
            self._describe(counts, "done")
        return counts

    @workflow.signal(description="The session, or a rule, changed again")
    def changed(self) -> None:
        """Make one more pass: the present one may have read the state before the change."""
        self._is_stale = True

    async def _replan_all(self) -> SessionChangeResult:
        return await workflow.execute_activity_method(
            SessionChangeActivities.replan_enrollments,
            SessionChangeInput(session_id=self._change.session_id),
            activity_id=f"replan-{self._passes}",
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            schedule_to_close_timeout=DEADLINE,
            retry_policy=RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=URGENT,
            summary=f"every enrollment, pass {self._passes}",
        )

    def _describe(self, counts: SessionChangeResult, state: str) -> None:
        """Tell people in the Temporal UI and `temporal workflow metadata` how things stand."""
        workflow.set_current_details(
            f"Pass {self._passes} {state}\n\n"
            "| enrollments | confirmed | not confirmed | cancelled | already sent | in flight |\n"
            "| --- | --- | --- | --- | --- | --- |\n"
            f"| {counts.enrollments} | {counts.replanned} | {counts.unconfirmed} "
            f"| {counts.cancelled} | {counts.already_sent} | {counts.in_flight} |"
        )
