"""The whole system for one test, on a clock that can be wound forward.

The Temporal server gives every workflow a clock of its own; activities are told its time. So the
system's clock is simply set to the time of the activity at hand, and a week passes in a moment.
This is the only place that knows the server's time skipping, which is experimental.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast
from uuid import UUID, uuid4

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig

import worker
from reminders.db.engine import Database
from reminders.delivery.pipeline import ignore
from reminders.delivery.policy import Step
from reminders.domain.contracts import (
    DeliverReminderInput,
    DeliveryOutcome,
    ReminderPlan,
    SweepResult,
)
from reminders.domain.keys import session_change_workflow_id, session_reminder_workflow_id
from reminders.domain.lead_in import APART, SHORTEST
from reminders.domain.model import Attendee, Reminder, Session
from reminders.domain.ports import Deliverer
from reminders.settings import Settings
from starter.assembly import assemble
from starter.plugin import Delivery, activities, delivery_policy
from starter.services.sweeps import MANUAL_ID
from tests.provider import ProviderClient
from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.session_change import SessionChangeWorkflow
from workflows.session_reminder import SessionReminderWorkflow

Handle = WorkflowHandle[Any, Any]

PATIENCE = timedelta(seconds=100)
"""For what is waited for, such as the counts of hundreds: a fast machine waits less."""
A_MOMENT = SHORTEST + 5 * APART
"""Lead-ins up to here do not pass in real time: the sessions of most tests have one or two people."""


class StageClock:
    """Real time plus what was wound forward."""

    def __init__(self) -> None:
        """Start at the real time."""
        self.ahead = timedelta()
        self.outage = timedelta()
        """How long after its scheduling an activity is picked up."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC) + self.ahead

    def set(self, instant: datetime) -> None:
        """Go to an instant, and on from there."""
        self.ahead = instant - datetime.now(UTC)


class _Deliverer:
    """Sets the clock to the time of the activity at hand, then delivers.

    The moment that every reminder wakes early passes at once; the lead-in of a crowd does not.
    """

    def __init__(self, deliverer: Any, clock: StageClock) -> None:
        self._deliverer = deliverer
        self._clock = clock

    async def deliver(self, reminder: DeliverReminderInput, *, run_id: str) -> DeliveryOutcome:
        started = activity.info().started_time + self._clock.outage
        is_early = timedelta() < reminder.due_at - started <= A_MOMENT
        self._clock.set(reminder.due_at if is_early else started)
        delivered: DeliveryOutcome = await self._deliverer.deliver(reminder, run_id=run_id)
        return delivered

    def __getattr__(self, verb: str) -> Any:
        self._clock.set(activity.info().started_time + self._clock.outage)
        return getattr(self._deliverer, verb)


class Stage:
    """Everything, wired as in production, and verbs that read as prose."""

    def __init__(
        self, settings: Settings, database: Database, client: Client, provider: ProviderClient
    ) -> None:
        """Take the parts; `async with` starts a worker."""
        self.settings = settings
        self.database = database
        self.provider = provider
        self.clock = StageClock()
        self.skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
        self.client = self.skipper.client
        self.parts = assemble(settings, database, self.client, clock=self.clock)
        self.catalogue = self.parts.catalogue
        self.planner = self.parts.planner
        self.queries = self.parts.queries
        self.gateway = self.parts.gateway
        self.rules = self.parts.rules
        self.resending = self.parts.resending
        self.requests = self.resending.requests
        self.workflows = self.parts.workflows
        self.handover = self.parts.handover
        self.sweeps = self.parts.sweeps
        self.on_step: Callable[[Step], None] = ignore
        self._worker: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        """Start a worker, where no sweep of another test is left that none would work on."""
        await end_sweep_by_hand(self.client)
        await self.start_worker()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the worker."""
        await self.stop_worker()

    async def start_worker(self) -> None:
        """Start a worker in this process."""
        async with AsyncExitStack() as stack:
            # What is waited for in place is waited for in real time: let Temporal retry instead.
            policy = replace(delivery_policy(self.settings), patience=timedelta(milliseconds=200))
            delivery = Delivery.of(
                self.settings, self.database, self.clock, on_step=self._step, policy=policy
            )
            await stack.enter_async_context(delivery.running())
            deliverer = cast(Deliverer, _Deliverer(delivery.pipeline, self.clock))
            await stack.enter_async_context(
                worker.build_worker(
                    self.client,
                    activities(self.parts, deliverer),
                    task_queue=self.settings.temporal_task_queue,
                )
            )
            self._worker = stack.pop_all()

    def _step(self, step: Step) -> None:
        """Pass a step on to the hook that the test has set by then."""
        self.on_step(step)

    async def stop_worker(self) -> None:
        """Stop the worker, gracefully."""
        if self._worker is not None:
            await self._worker.aclose()
            self._worker = None

    async def session(self, *, starts_in: timedelta, **fields: Any) -> Session:
        """A stored session that starts so long from now."""
        session = Session(
            id=fields.pop("id", uuid4()),
            title=fields.pop("title", "Cardiology update"),
            starts_at=(self.clock.now() + starts_in).replace(microsecond=0),
            **fields,
        )
        await self.gateway.put_session(session, wait=PATIENCE)
        return session

    async def attendee(self, email: str | None = None, **fields: Any) -> UUID:
        """A stored person; who reads times on a clock of 24 hours, unless another locale is given."""
        user_id = uuid4()
        fields.setdefault("locale", "en_GB")
        email = email or f"ana.{user_id.hex[:8]}@hospital.example"
        await self.catalogue.put_user(
            Attendee(user_id=user_id, email=email, full_name="Ana Ruiz", **fields)
        )
        return user_id

    async def enroll(self, session: Session, user_id: UUID | None = None) -> Handle:
        """An enrollment's workflow."""
        user_id = user_id or await self.attendee()
        enrolled = await self.gateway.enroll(session.id, user_id)
        return self.client.get_workflow_handle_for(
            SessionReminderWorkflow.run, enrolled.workflow_id, run_id=None
        )

    def handle(self, session: Session, user_id: UUID) -> Handle:
        """The workflow of an enrollment."""
        return self.client.get_workflow_handle_for(
            SessionReminderWorkflow.run, session_reminder_workflow_id(session.id, user_id)
        )

    def change_of(self, session: Session) -> Handle:
        """The workflow that tells everybody enrolled that the session changed."""
        return self.client.get_workflow_handle_for(
            SessionChangeWorkflow.run, session_change_workflow_id(session.id)
        )

    async def sweep(self) -> SweepResult:
        """What a sweep by hand found and did."""
        handle = await self.start_sweep()
        result: SweepResult = await handle.result()
        return result

    async def start_sweep(self) -> Handle:
        """A sweep that was just started."""
        started = await self.sweeps.start()
        return self.client.get_workflow_handle_for(
            ReminderSweepWorkflow.run, started.workflow_id, run_id=started.run_id
        )

    async def forward(self, duration: timedelta, *handles: Handle) -> None:
        """Let time pass for these workflows and for everything else; one that has ended has none."""
        until = self.clock.now() + duration
        for handle in handles:
            await self._fast_forward(handle, duration)
        self.clock.set(max(until, self.clock.now()))

    async def _fast_forward(self, handle: Handle, duration: timedelta) -> None:
        try:
            await self.skipper.fast_forward(handle, duration)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def wind_to(self, instant: datetime, *handles: Handle) -> None:
        """Bring these workflows and everything else to one instant, one after the other.

        A run that was started later has a clock of its own that began at the real time: it
        catches up. What falls due on the way is delivered before the next one's time passes, so
        that the system's clock does not jump to and fro.
        """
        for handle in handles:
            if await is_running(handle):
                behind = instant - await self.skipper.get_current_time(handle)
                if behind > timedelta():
                    await self._fast_forward(handle, behind)
                await eventually(lambda handle=handle: self.is_at_rest(handle))  # type: ignore[misc]
        self.clock.set(max(instant, self.clock.now()))

    async def is_at_rest(self, handle: Handle) -> bool:
        """Whether a workflow has nothing to do until time passes, or has ended."""
        described = await handle.describe()
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return True
        raw = described.raw_description
        if raw.pending_activities or raw.HasField("pending_workflow_task"):
            return False
        pending = [r.due_at for r in (await self.plan(handle)).reminders if r.status.is_pending]
        return bool(pending) and min(pending) > await self.skipper.get_current_time(handle)

    async def cancel_at(self, step: Step, handle: Handle) -> None:
        """Cancel a workflow the first time that a batch reaches a step."""
        cancels: list[asyncio.Task[None]] = []

        def hook(reached: Step) -> None:
            if reached is step and not cancels:
                cancels.append(asyncio.create_task(handle.cancel()))

        self.on_step = hook

    async def provider_refuses(self) -> None:
        """Let the provider accept nothing, and say so, until `clear_faults`."""
        await self.provider.faults(
            kind="status", status=429, name="rate_limit_exceeded", retry_after=300
        )

    def let_time_fly(self) -> None:
        """Let workflows started from now on skip all waiting; their histories show no winding."""
        self.skipper.config = TimeSkippingConfig(enabled=True)

    async def outage(self, handle: Handle, *, until_due: timedelta, lasts: timedelta) -> None:
        """Be without a worker while a reminder falls due, and come back some time later.

        The server does not skip time while a task waits for a worker, so the time that passes
        during the outage is added to the clock by which deliveries are judged.
        """
        await eventually(lambda: has_timer(handle))
        await self.stop_worker()
        passing = asyncio.create_task(self.skipper.fast_forward(handle, until_due))
        await eventually(lambda: timer_fired(handle))
        self.clock.outage = lasts
        await self.start_worker()
        await passing

    async def plan(self, handle: Handle) -> ReminderPlan:
        """The workflow's answer to the query `plan`."""
        return await handle.query(SessionReminderWorkflow.plan)

    async def ledger(self, session: Session, user_id: UUID | None = None) -> list[Reminder]:
        """The session's rows, earliest due first."""
        page = await self.queries.list(session_id=session.id, user_id=user_id, limit=10_000)
        return list(page.reminders)

    async def statuses(self, session: Session, user_id: UUID | None = None) -> dict[str, str]:
        """Reminder type to `status` or `status: reason`; the newest generation counts."""
        rows = sorted(await self.ledger(session, user_id), key=lambda r: r.generation)
        return {r.reminder_type: f"{r.status}: {r.reason}" if r.reason else r.status for r in rows}


async def eventually(
    check: Callable[[], Awaitable[bool]], *, within: timedelta = timedelta(seconds=60)
) -> None:
    """Wait until a check holds.

    Raises:
        AssertionError: If it does not in time.
    """
    deadline = asyncio.get_running_loop().time() + within.total_seconds()
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, f"not within {within}: {check}"
        await asyncio.sleep(0.02)


async def is_running(handle: Handle) -> bool:
    """Whether there is such a workflow, and it has not ended."""
    try:
        return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False


async def has_timer(handle: Handle) -> bool:
    """Whether the workflow has gone to sleep."""
    history = await handle.fetch_history()
    return any(e.HasField("timer_started_event_attributes") for e in history.events)


async def attempted(handle: Handle, times: int) -> bool:
    """Whether the activity at hand is at least at this attempt."""
    pending = (await handle.describe()).raw_description.pending_activities
    return any(a.attempt >= times for a in pending)


async def timer_fired(handle: Handle) -> bool:
    """Whether a reminder's timer has fired."""
    history = await handle.fetch_history()
    return any(e.HasField("timer_fired_event_attributes") for e in history.events)


async def end_sweep_by_hand(client: Client) -> None:
    """End the sweep by hand that runs, if one does: all tests of a server share its workflow id."""
    with suppress(RPCError):
        await client.get_workflow_handle(MANUAL_ID).terminate()
