"""Whose a Temporal namespace is: one installation's, named in the memo of its sweep's Schedule.

In a namespace of another installation nothing is started, changed or ended: ids of a copy's
workflows are those of the original's.

The Schedule itself, as it should be, is `sweep_schedule`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.db.installation import MEMO, Installation
from reminders.db.sweep import DUE_SOON
from reminders.domain.errors import AnotherInstallationError
from reminders.domain.keys import SWEEP_ID, TASK_QUEUE
from workflows.reminder_sweep import ReminderSweepWorkflow

logger = logging.getLogger(__name__)

LOOKED_FOR = timedelta(minutes=1)
"""How long a namespace that is nobody's yet, or does not say, is taken for free."""
NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)
_UNREADABLE = "another, whose memo cannot be read here"


async def schedule_shown(client: Client) -> ScheduleDescription | None:
    """The sweep's Schedule; `None` if there is none, or if we may not look at it."""
    try:
        return await temporal.schedule(client, SWEEP_ID)
    except RPCError as error:
        if error.status not in NOT_ALLOWED:
            raise
        return None


@dataclass(slots=True)
class Namespace:
    """The namespace that our workflows are in, looked at before the first of them is touched."""

    client: Client
    """May be lazy."""
    installation: Installation
    _sure_until: float = field(default=-math.inf, init=False)
    """Monotonic seconds; for ever once it was found to be ours."""

    async def memo(self) -> dict[str, str]:
        """What a workflow of ours carries, where we may start and change any.

        Raises:
            AnotherInstallationError: If the namespace, or the database, is another's.
            DatabaseUnavailableError: If PostgreSQL is away.
            TemporalUnavailableError: If Temporal does not answer.
        """
        mine = str(await self.installation.id())
        if time.monotonic() >= self._sure_until:
            await self._look(mine)
        return {MEMO: mine}

    async def _look(self, mine: str) -> None:
        found = await schedule_shown(self.client)
        owner = await self._owner(found) if found else None
        self._refuse(owner, mine)
        self._sure_until = (
            math.inf if owner == mine else time.monotonic() + LOOKED_FOR.total_seconds()
        )

    async def claim(
        self, cron: str, *, task_queue: str, take_over: bool = False
    ) -> temporal.Ensured:
        """Create the sweep's Schedule, or bring ours up to date; safe to repeat, and all at once.

        One that names no installation is of an earlier release, and is adopted.

        Args:
            cron: `SWEEP_CRON`, in UTC.
            task_queue: Where the workers poll.
            take_over: Make another installation's ours: it is gone, or has its own namespace now.

        Raises:
            AnotherInstallationError: If the namespace, or the database, is another's.
            ConfigurationError: If Temporal cannot read `SWEEP_CRON`.
            DatabaseUnavailableError: If PostgreSQL is away.
            TemporalUnavailableError: If Temporal does not answer.
        """
        mine = str(await self.installation.id())

        async def look(found: ScheduleDescription) -> bool:
            owner = await self._owner(found)
            if not take_over:
                self._refuse(owner, mine)
            elif owner not in (None, mine):
                logger.warning("the namespace is taken over from installation %s", owner)
            polled = getattr(found.schedule.action, "task_queue", task_queue)
            if polled != task_queue:
                logger.warning("the sweep moves from task queue %s to %s", polled, task_queue)
            return owner != mine

        wanted = sweep_schedule(cron, task_queue=task_queue, memo={MEMO: mine})
        done = await temporal.ensure_schedule(self.client, SWEEP_ID, wanted, look=look)
        self._sure_until = math.inf
        return done

    def _refuse(self, owner: str | None, mine: str) -> None:
        if owner in (None, mine):
            return
        msg = (
            f"namespace {self.client.namespace} is installation {owner}'s, and this is {mine}; give"
            " each a namespace of its own (TEMPORAL_NAMESPACE), or, if the other is gone, run"
            " `reminders temporal setup --take-over`"
        )
        raise AnotherInstallationError(msg)

    async def _owner(self, found: ScheduleDescription) -> str | None:
        """Which installation a Schedule names; `None` if it names none."""
        action = found.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            return None
        payload = (action.memo or {}).get(MEMO)
        if payload is None:
            return None
        context = WorkflowSerializationContext(
            namespace=self.client.namespace, workflow_id=action.id
        )
        # With another's keys it cannot be read: it is not ours then, whatever it says.
        with suppress(Exception):
            (owner,) = await self.client.data_converter.with_context(context).decode([payload])
            return str(owner)
        return _UNREADABLE


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
