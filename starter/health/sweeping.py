"""Whether what nobody tells us would be found: the sweep's Schedule, and what became of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (  # noqa: TID251 - asks how the sweeps are, starts none
    Client,
    ScheduleDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError

from reminders import temporal
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.keys import SWEEP_ID
from reminders.domain.ports import Clock
from reminders.settings import Settings
from starter.health.diagnosis import FoundError, Level
from starter.services.namespace import NOT_ALLOWED
from starter.services.sweep_schedule import LONGEST_LOOK_AHEAD, look_ahead, period
from starter.services.sweeps import Sweeps

PERIODS = 3
"""After so many without a sweep that was completed, somebody should look."""
_SETUP = "run `reminders temporal setup`"
_NOT_KNOWN = "not known: looking at Schedules is not allowed here"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepChecks:
    """What `doctor` asks about sweeps."""

    client: Client
    sweeps: Sweeps
    settings: Settings
    clock: Clock

    async def schedule(self) -> str:
        """Whether the Schedule is there, runs, and is what the settings say."""
        try:
            found = await temporal.schedule(self.client, SWEEP_ID)
        except RPCError as error:
            if error.status in NOT_ALLOWED:
                return _NOT_KNOWN
            raise
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
        try:
            found = await temporal.schedule(self.client, SWEEP_ID)
        except RPCError as error:
            if error.status in NOT_ALLOWED:
                return _NOT_KNOWN
            raise
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
