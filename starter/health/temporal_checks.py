"""What `doctor` asks of Temporal: whether it answers, keeps what has ended, has workers, and sweeps."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.client import (  # noqa: TID251 - asks how things are, starts nothing
    Client,
    ScheduleDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError

from reminders import temporal
from reminders.db.sessions import Catalogue
from reminders.domain.errors import ServiceUnavailableError, TemporalUnavailableError
from reminders.domain.keys import SWEEP_ID
from reminders.domain.ports import Clock
from reminders.settings import Settings
from starter.health.diagnosis import FoundError, Level
from starter.services.namespace import LONGEST_LOOK_AHEAD, NOT_ALLOWED, look_ahead, period
from starter.services.sweeps import Sweeps

PERIODS = 3
"""After so many without a sweep that was completed, somebody should look."""
_SETUP = "run `reminders temporal setup`"
_NOT_KNOWN = "not known: looking at Schedules is not allowed here"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepChecks:
    """Whether what nobody tells us would be found: the sweep's Schedule, and what became of its runs."""

    client: Client
    sweeps: Sweeps
    settings: Settings
    clock: Clock

    async def schedule(self) -> str:
        """Whether the Schedule is there, runs, and is what the settings say."""
        found = await self._found()
        if isinstance(found, str):
            return found
        if found is None:
            raise FoundError(
                f"there is no Schedule {SWEEP_ID}: what nobody tells us is not found", _SETUP
            )
        if found.schedule.state.paused:
            raise FoundError(
                f"the Schedule {SWEEP_ID} is paused: what nobody tells us is not found",
                f"run `temporal schedule toggle --schedule-id {SWEEP_ID} --unpause`",
                Level.WARNING,
            )
        self._compare(found)
        every = period(found)
        if every is not None and look_ahead(every) is None:
            raise FoundError(
                f"SWEEP_CRON leaves {every} between two sweeps, and they look"
                f" {LONGEST_LOOK_AHEAD} ahead at the most: whose workflow is lost gets nothing",
                "sweep at least once a day: SWEEP_CRON",
                Level.WARNING,
            )
        return "the sweep is scheduled"

    async def _found(self) -> ScheduleDescription | str | None:
        """The Schedule, if there is one; or why that is not known."""
        try:
            return await temporal.schedule(self.client, SWEEP_ID)
        except RPCError as error:
            if error.status in NOT_ALLOWED:
                return _NOT_KNOWN
            raise

    def _compare(self, found: ScheduleDescription) -> None:
        """See that the Schedule has the settings of this process."""
        present = {
            "SWEEP_CRON": temporal.cron_of(found.schedule),
            "TEMPORAL_TASK_QUEUE": getattr(found.schedule.action, "task_queue", ""),
        }
        here = {
            "SWEEP_CRON": self.settings.sweep_cron,
            "TEMPORAL_TASK_QUEUE": self.settings.temporal_task_queue,
        }
        for name, theirs in present.items():
            if theirs != here[name]:
                raise FoundError(
                    f"the Schedule {SWEEP_ID} has {theirs!r}, and {name} is {here[name]!r} here",
                    f"set {name} alike for all processes; then {_SETUP}",
                    Level.WARNING,
                )

    async def runs(self) -> str:
        """Whether sweeps are completed, as often as they are meant to be."""
        found = await self._found()
        if isinstance(found, str):
            return found
        every = period(found) if found else None
        if found is None or found.schedule.state.paused or every is None:
            return "none is expected; see `schedule`"
        try:
            newest = await self.sweeps.newest_ended()
            completed_at = await self.sweeps.last_completed_at()
        except TemporalUnavailableError as error:
            raise FoundError(
                "what became of sweeps is not known: Temporal's visibility does not answer",
                "see that its visibility store is up",
                Level.WARNING,
            ) from error
        if newest is not None and newest is not WorkflowExecutionStatus.COMPLETED:
            raise FoundError(
                f"the last sweep ended as {newest.name.lower()}: what nobody tells us is not found",
                "see `reminders runs`, and whether a worker polls",
                Level.WARNING,
            )
        silence = self.clock.now() - (completed_at or found.info.created_at)
        if silence > PERIODS * every:
            since = timedelta(seconds=round(silence.total_seconds()))
            raise FoundError(
                f"no sweep was completed for {since}, and there is one every {every}",
                "see `reminders runs`, and whether a worker polls",
                Level.WARNING,
            )
        return "the last sweep was completed"


_POLL_PATIENCE = timedelta(seconds=3)


async def last_poll(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType
) -> datetime | None:
    """When a worker last polled; `None` if none has for minutes.

    Raises:
        FoundError: If some poll, and all are of versions that Temporal gives no tasks to.
        TemporalUnavailableError: If Temporal does not answer.
    """
    found = await temporal.pollers(client, task_queue, kind, patience=_POLL_PATIENCE)
    current = found.versioning_info.current_deployment_version
    serving = [poller for poller in found.pollers if _is_given_tasks(poller, current)]
    if found.pollers and not serving:
        raise FoundError(
            f"workers poll task queue {task_queue}, and none is of the Worker Deployment's current"
            " version: they are given no tasks",
            "start workers of it, or see `temporal worker deployment set-current-version --help`",
        )
    return max((p.last_access_time.ToDatetime(tzinfo=UTC) for p in serving), default=None)


def _is_given_tasks(poller: PollerInfo, current: WorkerDeploymentVersion) -> bool:
    own = poller.deployment_options
    if own.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return not current.build_id
    return (own.deployment_name, own.build_id) == (current.deployment_name, current.build_id)


LEAST = timedelta(days=1)
"""As long as a backup is old at the most; `ledger-restored` reads what has ended since."""
RECOMMENDED = timedelta(days=7)
LOOKED_EVERY = timedelta(minutes=10)
"""How often sessions are looked at: the table may be large, and lack an index."""
_CATALOGUE_PATIENCE = 1.0
"""Seconds; Temporal is what is examined here, and PostgreSQL elsewhere."""


@dataclass(slots=True)
class RetentionCheck:
    """Whether Temporal answers, and keeps what has ended for as long as somebody may ask for it."""

    client: Client
    catalogue: Catalogue
    clock: Clock
    _longest: timedelta = timedelta()
    """Of the coming sessions, as last looked at."""
    _looked_at: float = float("-inf")

    async def look(self) -> str:
        """Whether a run is kept for a day, and while the session that it was for takes place.

        A run ends with its last reminder, before the start. Until the session is over, it may be
        moved or its reminders asked for, and what its run did is to be seen.
        """
        namespace = self.client.namespace
        kept, longest = await temporal.retention(self.client), await self._longest_session()
        if kept >= max(LEAST, longest):
            return f"Temporal answers for namespace {namespace}"
        if kept < LEAST:
            why = "a ledger restored from last night's backup could not be brought up to date"
        else:
            why = (
                f"a coming session takes {_hours(longest)}, and its runs are gone before it is over"
            )
        days = math.ceil(max(RECOMMENDED, longest) / timedelta(days=1))
        raise FoundError(
            f"namespace {namespace} forgets runs {_hours(kept)} after their end: {why}",
            f"run `temporal operator namespace update --namespace {namespace} --retention {days}d`",
            Level.WARNING,
        )

    async def _longest_session(self) -> timedelta:
        if time.monotonic() - self._looked_at > LOOKED_EVERY.total_seconds():
            self._looked_at = time.monotonic()
            try:
                async with asyncio.timeout(_CATALOGUE_PATIENCE):
                    self._longest = await self.catalogue.longest(self.clock.now())
            except (TimeoutError, ServiceUnavailableError):
                pass  # what was known before counts, until the next look
        return self._longest


def _hours(length: timedelta) -> str:
    return f"{length / timedelta(hours=1):.0f} h"
