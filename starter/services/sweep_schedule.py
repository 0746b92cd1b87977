"""The Schedule that starts sweeps, as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import pairwise

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from reminders.db.sweep import DUE_SOON
from reminders.domain.keys import SWEEP_ID, TASK_QUEUE
from workflows.reminder_sweep import ReminderSweepWorkflow

EXECUTION_TIMEOUT = timedelta(minutes=14)
"""Less than the time between two runs: a run that hangs does not cost the next one its turn."""
CATCH_UP = timedelta(minutes=30)
"""After an outage of Temporal two runs at the most are made up for; one finds everything."""
LONGEST_LOOK_AHEAD = timedelta(days=3)
"""What falls due within it can be looked through; a sweep a day needs two."""
_SPARE = timedelta(minutes=5)
"""As long as a sweep may begin or last longer than the one before."""


def sweep_schedule(
    cron: str, *, task_queue: str = TASK_QUEUE, memo: Mapping[str, str] | None = None
) -> Schedule:
    """The Schedule `reminder-sweep` as it should be.

    Args:
        cron: `SWEEP_CRON`, in UTC.
        task_queue: Where the workers poll.
        memo: What its runs carry.
    """
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ReminderSweepWorkflow.run,
            id=SWEEP_ID,
            task_queue=task_queue,
            execution_timeout=EXECUTION_TIMEOUT,
            memo=memo,
            static_summary="reconciles ledger and workflows",
        ),
        spec=ScheduleSpec(cron_expressions=[cron]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCH_UP),
    )


def period(found: ScheduleDescription) -> timedelta | None:
    """The longest time between two of its next sweeps; `None` if there are no two."""
    coming = found.info.next_action_times
    return max((later - one for one, later in pairwise(coming)), default=None)


def look_ahead(every: timedelta) -> timedelta | None:
    """How far a sweep looks, so that whoever falls due is looked at at least once.

    Returns:
        Twice the time between two sweeps, and some; `None` if that is too far to be looked through.
    """
    wanted = max(DUE_SOON, 2 * every + _SPARE)
    return wanted if wanted <= LONGEST_LOOK_AHEAD else None
