"""The Schedule that starts sweeps, as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from reminders.domain.keys import SWEEP_ID, TASK_QUEUE
from workflows.reminder_sweep import ReminderSweepWorkflow

EXECUTION_TIMEOUT = timedelta(minutes=14)
"""Less than the time between two runs: a run that hangs does not cost the next one its turn."""
CATCH_UP = timedelta(minutes=30)
"""After an outage of Temporal two runs at the most are made up for; one finds everything."""


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
