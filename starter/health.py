"""Whether reminders will go out, and if not, why: for `/readyz` and `reminders doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from sqlalchemy import text
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client  # noqa: TID251 - asks how the server is, starts nothing
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.db.queries import ReminderQueries
from reminders.errors import DatabaseUnavailableError, TemporalUnavailableError
from reminders.keys import SWEEP_ID
from reminders.model import StatusReason
from reminders.ports import Clock
from starter.failures import understood

PATIENCE = timedelta(seconds=3)
"""How long one check may take; they run at the same time."""
OVERDUE = timedelta(minutes=1)
"""A reminder that still waits this long after its due instant is an alarm."""
WORKER_GONE = timedelta(minutes=2)
"""A worker polls at least once a minute (the server's long poll), or it is busy, or gone."""
WORKER_SILENT = timedelta(seconds=65)
"""With reminders overdue, one long poll without a sign of a worker is reason enough."""

_REMEDIES = {
    StatusReason.QUOTA: "raise the quota at Resend, or wait until it is renewed",
    StatusReason.MISCONFIGURED: "check RESEND_API_KEY and EMAIL_FROM against Resend's dashboard",
}
_NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    """What was found; no secrets, no addresses."""
    remedy: str | None = None
    """What to do about it; absent when `ok`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All checks, the most fundamental first."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether everything is well."""
        return all(check.ok for check in self.checks)

    @property
    def cause(self) -> str | None:
        """The one thing to mend first; `None` when ready."""
        red = [check for check in self.checks if not check.ok]
        if not red:
            return None
        overdue = next((check for check in red if check.name == "overdue"), None)
        if overdue is None or red[0] is overdue or red[0].name in ("database", "schema"):
            return red[0].detail
        return f"{overdue.detail}, because {red[0].detail}"


class _RedError(Exception):
    """A check failed."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


class Examiner:
    """Examines the system; callers that ask at the same time share one examination."""

    def __init__(
        self,
        client: Client,
        *,
        database: Database,
        queries: ReminderQueries,
        task_queue: str,
        clock: Clock,
    ) -> None:
        """Ask these parts; nothing is asked yet.

        Args:
            client: May be lazy.
            database: Whose schema is compared with this release's.
            queries: Says what is overdue.
            task_queue: Where a worker should poll.
            clock: Decides what is overdue.
        """
        self._client = client
        self._database = database
        self._queries = queries
        self._task_queue = task_queue
        self._clock = clock
        self._running: asyncio.Task[Diagnosis] | None = None

    async def examine(self) -> Diagnosis:
        """Run all checks, within about three seconds; never raises."""
        # `/readyz` is open to everybody: a flood of probes must not use up the connection pool.
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._examine())
        return await asyncio.shield(self._running)

    async def _examine(self) -> Diagnosis:
        overdue = asyncio.create_task(_bounded("overdue", self._overdue))

        async def worker() -> str:
            return await self._worker(overdue)

        checks = await asyncio.gather(
            _bounded("database", self._reach_database),
            _bounded("schema", self._schema),
            _bounded("temporal", self._reach_temporal),
            _bounded("search_attributes", self._search_attributes),
            _bounded("schedule", self._schedule),
            _bounded("worker", worker),
            _bounded("delivery", self._delivery),
            overdue,
        )
        return Diagnosis(checks=tuple(checks))

    async def _reach_database(self) -> str:
        async with self._database.autocommit() as connection:
            await connection.execute(text("SELECT 1"))
        return "PostgreSQL answers"

    async def _schema(self) -> str:
        current, head = await migrate.current(self._database), _head()
        if current != head:
            raise _RedError(
                f"the schema is at {current or 'nothing'}, this release needs {head}",
                "run `reminders db upgrade`",
            )
        return f"at {head}"

    async def _reach_temporal(self) -> str:
        namespace = self._client.namespace
        with temporal.unavailable():
            await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace), timeout=PATIENCE
            )
        return f"Temporal answers for namespace {namespace}"

    async def _search_attributes(self) -> str:
        try:
            missing = await temporal.missing_search_attributes(self._client)
        except RPCError as error:
            if error.status in _NOT_ALLOWED:
                return "not known: listing them is not allowed here"
            raise
        if missing:
            raise _RedError(
                f"search attributes are not registered: {', '.join(missing)}",
                "run `reminders temporal setup`",
            )
        return "registered"

    async def _schedule(self) -> str:
        try:
            found = await temporal.schedule(self._client, SWEEP_ID)
        except RPCError as error:
            if error.status in _NOT_ALLOWED:
                return "not known: looking at Schedules is not allowed here"
            raise
        if found is None:
            raise _RedError(
                f"there is no Schedule {SWEEP_ID}: what nobody tells us is not found",
                "run `reminders temporal setup`",
            )
        if found.schedule.state.paused:
            raise _RedError(
                f"the Schedule {SWEEP_ID} is paused: what nobody tells us is not found",
                f"run `temporal schedule toggle --schedule-id {SWEEP_ID} --unpause`",
            )
        return "the sweep is scheduled"

    async def _worker(self, overdue: asyncio.Task[Check]) -> str:
        now = self._clock.now()
        polls = await asyncio.gather(
            self._last_poll(TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
            self._last_poll(TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
        )
        # Shielded: running out of time here must not cancel the other check.
        patience = WORKER_GONE if (await asyncio.shield(overdue)).ok else WORKER_SILENT
        known = [poll for poll in polls if poll is not None]
        queue = f"task queue {self._task_queue}"
        remedy = "start one: `reminders worker`"
        if len(known) < len(polls):
            raise _RedError(f"no worker polls {queue}", remedy)
        silence = now - min(known)
        if silence > patience:
            seconds = int(silence.total_seconds())
            raise _RedError(f"no worker has polled {queue} for {seconds} s", remedy)
        return f"a worker polls {queue}"

    async def _last_poll(self, kind: TaskQueueType.ValueType) -> datetime | None:
        with temporal.unavailable():
            found = await self._client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._client.namespace,
                    task_queue=TaskQueue(name=self._task_queue),
                    task_queue_type=kind,
                ),
                timeout=PATIENCE,
            )
        polls = [p.last_access_time.ToDatetime(tzinfo=UTC) for p in found.pollers]
        return max(polls, default=None)

    async def _delivery(self) -> str:
        hold = await self._queries.hold()
        if hold is not None:
            raise _RedError(
                f"delivery is held until {hold.until:%Y-%m-%d %H:%M:%S} UTC: {hold.reason}",
                _REMEDIES.get(hold.reason, "see the worker's log"),
            )
        return "nothing holds delivery back"

    async def _overdue(self) -> str:
        count = await self._queries.overdue(before=self._clock.now() - OVERDUE)
        if count:
            some = "1 reminder is" if count == 1 else f"{count} reminders are"
            raise _RedError(
                f"{some} overdue by more than {OVERDUE.seconds} s",
                "see the other checks, then the worker's log",
            )
        return "nothing is overdue"


@cache
def _head() -> str:
    """The revision of this release; read from the disk once."""
    return migrate.head()


async def _bounded(name: str, look: Callable[[], Awaitable[str]]) -> Check:
    """The outcome of one check, in time and whatever happens."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            detail = await look()
    except _RedError as red:
        return Check(name=name, ok=False, detail=red.detail, remedy=red.remedy)
    except TimeoutError:
        detail, remedy = f"no answer within {PATIENCE.seconds} s", "see that it is up and reachable"
    except DatabaseUnavailableError:
        detail, remedy = "PostgreSQL does not answer", "see that it is up, and DATABASE_URL"
    except TemporalUnavailableError:
        detail, remedy = "Temporal does not answer", "see that it is up, and TEMPORAL_ADDRESS"
    except Exception as error:  # noqa: BLE001 - a check must say something, whatever happens
        known = understood(error)
        told = str(known) if known else f"the check failed with {type(error).__name__}"
        detail, _, remedy = told.partition("; ")
    else:
        return Check(name=name, ok=True, detail=detail)
    return Check(name=name, ok=False, detail=detail, remedy=remedy or "see the log")
