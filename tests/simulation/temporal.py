"""Temporal's rules, in virtual time, around the product's own workflow and activities.

`SessionReminderWorkflow` and `DeliveryActivities` run as they are. What they call of the SDK is
taken over by `installed()`: timers, conditions, activities, heartbeats. The server here times out,
retries, cancels and delivers late as the real one does; workflows outlive workers, as by replay.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TimeoutType,
    is_cancelled_exception,
)
from temporalio.exceptions import (
    TimeoutError as ActivityTimeoutError,
)
from temporalio.workflow import ActivityCancellationType

from activities.delivery import DeliveryActivities
from reminders.db.plans import PlannedEnrollment
from reminders.domain.contracts import SessionReminderInput
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import StatusReason
from starter.services.enrollments import PATIENCE, UPDATE_TIMEOUT, Answer, EnrollmentRun, _plan
from tests.simulation.virtual import Process, VirtualLoop
from workflows.session_reminder import IS_ENDING, SessionReminderWorkflow

RUN: ContextVar[Execution] = ContextVar("run")
ATTEMPT: ContextVar[SimpleNamespace] = ContextVar("attempt")
NEVER = timedelta(days=999)


@dataclass(slots=True)
class Worker:
    """Takes tasks of workflows and activities."""

    process: Process
    activities: DeliveryActivities
    mode: str

    @property
    def is_polling(self) -> bool:
        """Whether it is there."""
        return not self.process.is_dead and self.process.paused is None


@dataclass(slots=True)
class TemporalServer:
    """The server: one for all."""

    loop: VirtualLoop
    random: Random
    note: Callable[..., None]
    workers: list[Worker] = field(default_factory=list)
    executions: dict[str, list[Execution]] = field(default_factory=dict)
    is_away: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    """What waits for a worker to poll."""
    failures: list[str] = field(default_factory=list)
    attempts: Counter[tuple[UUID, int]] = field(default_factory=Counter)
    """Of deliveries, by reminder and minute."""
    cut_short: set[UUID] = field(default_factory=set)
    """Reminders of which no attempt was heard of any more, with too little time left for another."""
    older: list[str] = field(default_factory=list)
    """Runs that went back to an older plan."""
    planned_to_end: list[str] = field(default_factory=list)
    """Runs that were given a plan in which everything is called off."""

    def polling(self) -> list[Worker]:
        """Workers that take tasks."""
        return [w for w in self.workers if w.is_polling]

    def poll(self) -> None:
        """Somebody polls again: hand out what waits."""
        waiting, self.waiting = self.waiting, []
        for go in waiting:
            self.loop.outside(self.latency(), go)

    def latency(self) -> float:
        """Seconds that a task takes to be handed out: mostly few, sometimes many."""
        chance = self.random.random()
        return chance * 0.05 if chance < 0.95 else self.random.random() * 4

    def newest(self, workflow_id: str) -> Execution | None:
        """The newest run of a workflow."""
        runs = self.executions.get(workflow_id)
        return runs[-1] if runs else None


class Execution:
    """One run of a workflow."""

    def __init__(
        self, server: TemporalServer, workflow_id: str, number: int, start: SessionReminderInput
    ) -> None:
        """Start it; the first workflow task waits for a worker."""
        self.server = server
        self.workflow_id = workflow_id
        self.run_id = f"{workflow_id[-4:]}-{number}"
        self.start = start
        self.status = "running"
        self.cancel_asked_at: datetime | None = None
        self.cancel_requested = False
        self.cancel_reason: str | None = None
        self.workflow: SessionReminderWorkflow | None = None
        self.task: asyncio.Task[None] | None = None
        self.jobs: list[tuple[bool, Callable[[], None]]] = []
        self.conditions: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.updates: dict[str, asyncio.Future[Any]] = {}
        self.ended: asyncio.Future[None] = server.loop.create_future()
        self.pending: set[Activity] = set()
        self._is_scheduled = False
        self.wake()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "running"

    def job(self, work: Callable[[], None], *, is_update: bool = False) -> None:
        """Have the next workflow task bring this."""
        if self.is_running:
            self.jobs.append((is_update, work))
            self.wake()

    def wake(self) -> None:
        """Schedule a workflow task, unless one is."""
        if not self._is_scheduled and self.is_running:
            self._is_scheduled = True
            self.server.loop.outside(self.server.latency(), self._activate)

    def _activate(self) -> None:
        if not self.server.polling():
            self.server.waiting.append(self._activate)
            return
        self._is_scheduled = False
        if not self.is_running:
            return
        RUN.set(self)  # of this callback's own context
        if self.task is None:
            self.workflow = SessionReminderWorkflow(self.start)
            self.task = self.server.loop.create_task(self._run())
        jobs, self.jobs = self.jobs, []
        for is_update in (True, False):
            for of_update, work in jobs:
                if of_update is is_update:
                    work()
            self.check()

    def check(self) -> None:
        """Let go who waits for a condition that holds."""
        for condition, future in self.conditions:
            if not future.done() and condition():
                future.set_result(None)
        self.conditions = [c for c in self.conditions if not c[1].done()]

    async def _run(self) -> None:
        assert self.workflow
        try:
            await self.workflow.run(self.start)
        except BaseException as error:  # noqa: BLE001 - judged as the SDK does
            if is_cancelled_exception(error) and self.cancel_requested:
                self.end("canceled")
            elif is_cancelled_exception(error) and not self.is_running:
                return
            else:
                self.server.failures.append(f"workflow {self.run_id} failed: {error!r}")
                self.end("failed")
        else:
            self.end("completed")

    def end(self, status: str) -> None:
        """Close it."""
        if not self.is_running:
            return
        self.status = status
        self.server.note("temporal", "run {} is {}", self.run_id, status)
        if not self.ended.done():
            self.ended.set_result(None)
        for future in self.updates.values():
            if not future.done():
                future.set_result(Answer.REFUSED)
        for activity in list(self.pending):
            activity.abandon()

    def request_cancel(self, reason: str) -> None:
        """Deliver a request to cancel, once."""
        if self.cancel_requested or not self.is_running:
            return
        self.cancel_requested = True
        self.cancel_asked_at = self.server.loop.now()
        self.server.note("temporal", "run {} is asked to cancel: {}", self.run_id, reason)

        def work() -> None:
            self.cancel_reason = reason
            if self.task is not None:
                self.server.loop.call_soon(self.task.cancel)

        self.job(work)

    def terminate(self) -> None:
        """End it at once; its code runs no more."""
        if self.is_running:
            self.end("terminated")
            if self.task is not None:
                self.task.cancel()

    def update(self, plan: Any) -> asyncio.Future[Any]:
        """Have an update handled; the same one is handled once."""
        name = f"plan-{plan.version}"
        if (known := self.updates.get(name)) is not None:
            return known
        future = self.updates[name] = self.server.loop.create_future()

        def work() -> None:
            assert self.workflow
            try:
                self.workflow._check_plan(plan)
            except ApplicationError as error:
                self.updates.pop(name, None)
                if not future.done():
                    future.set_result(Answer.REFUSED if error.type == IS_ENDING else Answer.NONE)
                return
            before = self.workflow.plan().version
            SessionReminderWorkflow.replan(self.workflow, plan)
            if self.workflow.plan().version < before:
                self.server.older.append(self.run_id)
            if not future.done():
                future.set_result(Answer.CONFIRMED)

        self.job(work, is_update=True)
        return future


class Activity:
    """One activity of a run, and all its attempts."""

    def __init__(self, execution: Execution, method: Any, argument: Any, **options: Any) -> None:
        """Schedule it."""
        self.execution = execution
        self.server = execution.server
        self.method = method.__name__
        self.argument = argument
        self.options = options
        self.result: asyncio.Future[Any] = self.server.loop.create_future()
        self.attempt = 0
        self.current: object | None = None
        """Token of the attempt under way."""
        self.task: tuple[Process, asyncio.Task[None]] | None = None
        self.last_failure: ApplicationError | None = None
        self.cancel_requested = False
        self.is_done = False
        loop = self.server.loop
        self.deadline = loop.time() + options["schedule_to_close_timeout"].total_seconds()
        execution.pending.add(self)
        loop.outside(
            options["schedule_to_close_timeout"].total_seconds(),
            self._time_out,
            TimeoutType.SCHEDULE_TO_CLOSE,
            None,
        )
        self.dispatch()

    def dispatch(self) -> None:
        """Hand out the next attempt."""
        self.server.loop.outside(self.server.latency(), self._start)

    def _start(self) -> None:
        if self.is_done or self.current is not None or not self.execution.is_running:
            return  # of a run that was terminated nothing goes on
        server = self.server
        workers = server.polling()
        paused = [w for w in server.workers if w.process.paused is not None]
        if paused and (not workers or server.random.random() < 0.2):
            workers = paused  # it had polled before
        if not workers:
            server.waiting.append(self._start)
            return
        worker = server.random.choice(workers)
        self.attempt += 1
        token = self.current = object()
        loop, options = server.loop, self.options
        if self.method == "deliver_reminder":
            server.attempts[self.argument.reminder_id, int(loop.time() // 60)] += 1
        loop.outside(
            options["start_to_close_timeout"].total_seconds(),
            self._time_out,
            TimeoutType.START_TO_CLOSE,
            token,
        )
        self._expect_heartbeat(token)
        context = worker.process.context.copy()
        beats = {"beaten": loop.time()}

        def heartbeat(*_details: object) -> None:
            beats["beaten"] = loop.time()
            loop.outside(server.random.random() * 0.05, self._heartbeat, token, worker)

        context.run(
            ATTEMPT.set,
            SimpleNamespace(
                attempt=self.attempt,
                heartbeat_timeout=options.get("heartbeat_timeout"),
                started_time=loop.now(),
                workflow_run_id=self.execution.run_id,
                heartbeat=heartbeat,
            ),
        )
        server.note(
            worker.process.name,
            "{} attempt {} of {}",
            self.method,
            self.attempt,
            _of(self.argument),
        )
        task = loop.create_task(self._work(worker, token), context=context)
        self.task = worker.process, task

    async def _work(self, worker: Worker, token: object) -> None:
        """On the worker."""
        try:
            result = await getattr(worker.activities, self.method)(self.argument)
        except asyncio.CancelledError:
            answer: tuple[str, Any] = "cancelled", None
        except ApplicationError as error:
            answer = "failed", error
        else:
            answer = "completed", result
        self.server.loop.outside(self.server.latency(), self._finish, token, *answer)

    def _heartbeat(self, token: object, worker: Worker) -> None:
        is_unwanted = self.is_done or self.current is not token or self.cancel_requested
        if is_unwanted and self.task is not None and self.task[0] is worker.process:
            self.task[1].cancel()
        if self.current is token:
            self._expect_heartbeat(token)

    def _expect_heartbeat(self, token: object) -> None:
        timeout = self.options.get("heartbeat_timeout")
        if timeout is None:
            return
        self.beaten = self.server.loop.time()
        expected = self.beaten

        def missed() -> None:
            if self.beaten == expected:
                self._time_out(TimeoutType.HEARTBEAT, token)

        self.server.loop.outside(timeout.total_seconds(), missed)

    def _finish(self, token: object, how: str, what: Any) -> None:
        if self.is_done or self.current is not token:
            return
        self.current = None
        if how == "completed":
            self._end(result=what)
        elif how == "cancelled" and self.cancel_requested:
            self._end(cause=CancelledError("cancelled"))
        else:
            failure = what or ApplicationError("worker stopped", type="CancelledError")
            self._fail(failure, retryable=not failure.non_retryable)

    def _time_out(self, kind: TimeoutType, token: object | None) -> None:
        if self.is_done or (token is not None and self.current is not token):
            return
        self.current = None
        error = ActivityTimeoutError(kind.name, type=kind, last_heartbeat_details=[])
        error.__cause__ = self.last_failure
        if kind is TimeoutType.SCHEDULE_TO_CLOSE:
            self._end(cause=error)
        else:
            self._fail(error, retryable=True)

    def _fail(self, error: Any, *, retryable: bool) -> None:
        delay = self._backoff()
        if isinstance(error, ApplicationError):
            self.last_failure = error
            if error.next_retry_delay is not None:
                delay = error.next_retry_delay.total_seconds()
        out_of_time = self.server.loop.time() + delay >= self.deadline
        if not retryable or out_of_time or self.cancel_requested:
            if isinstance(error, ActivityTimeoutError) and self.method == "deliver_reminder":
                self.server.cut_short.add(self.argument.reminder_id)
            is_cancelled = self.cancel_requested and retryable
            self._end(cause=CancelledError("cancelled") if is_cancelled else error)
        else:
            self.server.loop.outside(delay, self._start)

    def _backoff(self) -> float:
        retry = self.options["retry_policy"]
        seconds = retry.initial_interval.total_seconds() * retry.backoff_coefficient ** (
            self.attempt - 1
        )
        return float(min(seconds, retry.maximum_interval.total_seconds()))

    def _end(self, *, result: Any = None, cause: BaseException | None = None) -> None:
        if self.is_done:
            return
        self.is_done = True
        self.execution.pending.discard(self)

        def work() -> None:
            if self.result.done():
                return
            if cause is None:
                self.result.set_result(result)
            else:
                self.result.set_exception(_activity_error(cause))
                self.result.exception()  # the workflow may not wait for it any more

        self.execution.job(work)

    def abandon(self) -> None:
        """Its run has ended."""
        self.is_done = True
        self.execution.pending.discard(self)

    def request_cancel(self) -> None:
        """The workflow asks for it."""

        def arrive() -> None:
            self.cancel_requested = True
            if self.current is None and not self.is_done:  # between attempts
                self._end(cause=CancelledError("cancelled"))

        self.server.loop.outside(self.server.latency(), arrive)


def _activity_error(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "failed",
        scheduled_event_id=0,
        started_event_id=0,
        identity="",
        activity_type="",
        activity_id="",
        retry_state=None,
    )
    error.__cause__ = cause
    return error


def _of(argument: Any) -> str:
    ids = getattr(argument, "reminder_ids", None) or (argument.reminder_id,)
    return ", ".join(str(i)[:4] for i in ids)


class ModelWorkflows:
    """`EnrollmentWorkflows`, asked over a way that takes time and may break."""

    def __init__(
        self, server: TemporalServer, random: Random, *, loses: Callable[[], float] = float
    ) -> None:
        """Ask this server; a part of the calls is lost."""
        self._server = server
        self._random = random
        self.loses = loses

    async def _call(self, work: Callable[[], Any]) -> Any:
        server = self._server
        await asyncio.sleep(self._random.random() * 0.05)
        is_lost = server.is_away or self._random.random() < self.loses()
        if is_lost and (server.is_away or self._random.random() < 0.5):
            raise TemporalUnavailableError
        answer = work()
        if self._random.random() < 0.5:
            await asyncio.sleep(self._random.random() * 0.05)
        if is_lost:
            raise TemporalUnavailableError
        return answer

    async def latest(self, session_id: UUID, user_id: UUID) -> EnrollmentRun | None:
        """See `EnrollmentWorkflows.latest`."""
        workflow_id = session_reminder_workflow_id(session_id, user_id)

        def work() -> EnrollmentRun | None:
            run = self._server.newest(workflow_id)
            if run is None:
                return None
            is_ending = run.is_running and run.cancel_requested
            is_at_work = is_ending or (run.is_running and (bool(run.pending) or run._is_scheduled))
            return EnrollmentRun(
                workflow_id=workflow_id,
                run_id=run.run_id,
                is_running=run.is_running,
                is_ending=is_ending,
                is_at_work=is_at_work,
                is_cancelled=run.status == "canceled",
            )

        found: EnrollmentRun | None = await self._call(work)
        return found

    async def cancel_asked_at(self, run: EnrollmentRun) -> datetime | None:
        """See `EnrollmentWorkflows.cancel_asked_at`."""
        runs = self._server.executions[run.workflow_id]
        [there] = [r for r in runs if r.run_id == run.run_id]
        found: datetime | None = await self._call(lambda: there.cancel_asked_at)
        return found

    async def start(self, planned: PlannedEnrollment) -> str | None:
        """See `EnrollmentWorkflows.start`."""
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)
        server = self._server

        def work() -> str | None:
            newest = server.newest(workflow_id)
            if newest is not None and newest.is_running:
                return None
            if newest is not None and not planned.has_pending and newest.status == "completed":
                return None
            runs = server.executions.setdefault(workflow_id, [])
            run = Execution(
                server,
                workflow_id,
                len(runs) + 1,
                SessionReminderInput(
                    session_id=planned.session.id,
                    user_id=planned.user_id,
                    plan=_plan(planned),
                ),
            )
            runs.append(run)
            server.note("temporal", "run {} starts, plan {}", run.run_id, planned.version)
            return run.run_id

        started: str | None = await self._call(work)
        return started

    async def replan(self, run: EnrollmentRun | None, planned: PlannedEnrollment) -> Answer:
        """See `EnrollmentWorkflows.replan`."""
        workflow_id = session_reminder_workflow_id(planned.session.id, planned.user_id)

        def work() -> asyncio.Future[Any] | Answer:
            found = self._find(run) if run else self._server.newest(workflow_id)
            if found is None or not found.is_running:
                return Answer.REFUSED
            if planned.is_over:
                self._server.planned_to_end.append(found.run_id)
            return found.update(_plan(planned))

        pending = await self._call(work)
        if isinstance(pending, Answer):
            return pending
        try:
            async with asyncio.timeout(UPDATE_TIMEOUT.total_seconds()):
                answer: Answer = await asyncio.shield(pending)
        except TimeoutError:
            return Answer.NONE
        return answer

    async def cancel(self, session_id: UUID, user_id: UUID, reason: StatusReason) -> bool:
        """See `EnrollmentWorkflows.cancel`."""
        workflow_id = session_reminder_workflow_id(session_id, user_id)

        def work() -> bool:
            run = self._server.newest(workflow_id)
            if run is None or not run.is_running:
                return False
            run.request_cancel(reason)
            return True

        return bool(await self._call(work))

    async def has_ended(self, run: EnrollmentRun, *, is_patient: bool = False) -> bool:
        """See `EnrollmentWorkflows.has_ended`."""
        found = self._find(run)
        if found is None or not found.is_running:
            return True
        try:
            async with asyncio.timeout(
                (PATIENCE if is_patient else UPDATE_TIMEOUT).total_seconds()
            ):
                await asyncio.shield(found.ended)
        except TimeoutError:
            return False
        return True

    async def terminate(self, run: EnrollmentRun) -> None:
        """See `EnrollmentWorkflows.terminate`."""
        found = self._find(run)
        await self._call(lambda: found.terminate() if found else None)

    def _find(self, run: EnrollmentRun) -> Execution | None:
        runs = self._server.executions.get(run.workflow_id, [])
        return next((r for r in runs if r.run_id == run.run_id), None)


class _Workflow:
    """What the workflow calls of `temporalio.workflow`."""

    ActivityCancellationType = ActivityCancellationType
    logger = logging.getLogger("workflow")

    @staticmethod
    def now() -> datetime:
        return RUN.get().server.loop.now()

    @staticmethod
    def info() -> SimpleNamespace:
        return SimpleNamespace(is_continue_as_new_suggested=bool)

    @staticmethod
    def cancellation_reason() -> str | None:
        return RUN.get().cancel_reason

    @staticmethod
    def all_handlers_finished() -> bool:
        return True

    @staticmethod
    def upsert_search_attributes(_attributes: object) -> None:
        return None

    @staticmethod
    def set_current_details(_details: str) -> None:
        return None

    @staticmethod
    async def wait_condition(
        condition: Callable[[], bool],
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - the SDK's
        timeout_summary: str | None = None,
    ) -> None:
        if condition():
            return
        run = RUN.get()
        future = run.server.loop.create_future()
        run.conditions.append((condition, future))

        def ring() -> None:
            if not future.done():
                future.set_exception(TimeoutError())

        if timeout is not None:
            run.server.loop.outside(timeout.total_seconds(), run.job, ring)
        await future

    @staticmethod
    async def execute_activity_method(method: Any, argument: Any, **options: Any) -> Any:
        activity = Activity(RUN.get(), method, argument, **options)
        while True:
            try:
                return await asyncio.shield(activity.result)
            except asyncio.CancelledError:
                activity.request_cancel()
                kind = options.get("cancellation_type", ActivityCancellationType.TRY_CANCEL)
                if kind is not ActivityCancellationType.WAIT_CANCELLATION_COMPLETED:
                    raise _activity_error(CancelledError("cancelled")) from None


class _ActivitySide:
    """What the activities call of `temporalio.activity`."""

    @staticmethod
    def info() -> SimpleNamespace:
        return ATTEMPT.get()

    @staticmethod
    def heartbeat(*details: object) -> None:
        ATTEMPT.get().heartbeat(*details)

    @staticmethod
    async def wait_for_worker_shutdown() -> None:
        await asyncio.get_running_loop().create_future()


@contextmanager
def installed() -> Iterator[None]:
    """Let workflow and activities of this process call the server above."""
    with (
        patch("workflows.session_reminder.workflow", _Workflow),
        patch("activities.delivery.activity", _ActivitySide),
        patch("activities.heartbeat.activity", _ActivitySide),
        patch("activities.failures.activity", _ActivitySide),
    ):
        yield
