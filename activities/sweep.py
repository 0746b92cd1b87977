"""The activity that reconciles. It knows `reminders.domain.ports`, and sends nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeat import heartbeating
from reminders.domain.contracts import ReconcileInput, SweepKind, SweepTally
from reminders.domain.errors import ServiceUnavailableError
from reminders.domain.ports import Enrollment, Outcome, Reconciler, Repair
from reminders.fan_out import fan_out

logger = logging.getLogger(__name__)

PAGE = 200
"""Enrollments looked at between two cursors: what a worker's death costs is done again."""
AT_ONCE = 10
"""Repairs at the same time: they mostly wait, but share the connections with delivery."""
RESERVE = timedelta(seconds=30)
"""How long before its time is up an activity begins no further page, so that its counts are kept."""


@dataclass(slots=True)
class _Progress:
    """What the next attempt goes on from."""

    after: Enrollment | None = None
    tally: SweepTally = field(default_factory=SweepTally)

    def details(self) -> tuple[Any, ...]:
        """As a heartbeat carries it."""
        after = self.after
        cursor = [str(after.session_id), str(after.user_id)] if after else None
        return cursor, asdict(self.tally)

    @classmethod
    def of(cls, details: Sequence[Any]) -> _Progress:
        """What the attempt before left; nothing if it left nothing."""
        if len(details) != 2:
            return cls()
        cursor, tally = details
        after = Enrollment(UUID(cursor[0]), UUID(cursor[1])) if cursor else None
        return cls(after=after, tally=SweepTally(**tally))


@dataclass(frozen=True, slots=True)
class SweepActivities:
    """Finds enrollments that are not as they should be, and puts them right."""

    reconciler: Reconciler

    @activity.defn
    async def reconcile_enrollments(self, request: ReconcileInput) -> SweepTally:
        """Repair what is found of one kind, up to a limit, and count truthfully.

        May run twice, and at the same time as another sweep: every repair reads what is, under
        the enrollment's lock, and does nothing where all is well. A later attempt goes on behind
        the last page that was finished. One enrollment that cannot be repaired is counted, and
        the others follow; only PostgreSQL or Temporal being away ends the attempt.
        """
        with as_application_errors():
            if request.kind is SweepKind.IN_DOUBT:
                return SweepTally(found=await self.reconciler.in_doubt())
            progress = _Progress.of(activity.info().heartbeat_details)
            async with heartbeating(progress.details):
                return await self._all_pages(request, progress)

    async def _all_pages(self, request: ReconcileInput, progress: _Progress) -> SweepTally:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _time_left()
        while True:
            page = await self.reconciler.suspects(request.kind, after=progress.after, limit=PAGE)
            left = request.limit - progress.tally.found
            await self._repair_all(page.suspects[:left], request.kind, progress)
            if page.after is None and len(page.suspects) <= left:
                return progress.tally
            if len(page.suspects) >= left or loop.time() > deadline:
                return replace(progress.tally, stopped_early=True)
            progress.after = page.after
            activity.heartbeat(*progress.details())

    async def _repair_all(
        self, suspects: Sequence[Enrollment], kind: SweepKind, progress: _Progress
    ) -> None:
        """Repair some enrollments and count what became of them.

        Raises:
            ServiceUnavailableError: If PostgreSQL or Temporal is away; what is repaired is counted.
        """

        async def one(enrollment: Enrollment) -> Repair | Exception:
            try:
                return await self.reconciler.repair(enrollment, kind)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
                return error

        outcomes = await fan_out(one, suspects, at_once=AT_ONCE)
        away = next((o for o in outcomes if isinstance(o, ServiceUnavailableError)), None)
        if away is not None:
            # The next attempt meets the others again, and not those that are repaired.
            repaired = [
                o for o in outcomes if isinstance(o, Repair) and o.outcome is Outcome.REPAIRED
            ]
            progress.tally = _counted(progress.tally, repaired)
            activity.heartbeat(*progress.details())
            raise away
        for enrollment, outcome in zip(suspects, outcomes, strict=True):
            if isinstance(outcome, Exception):
                # The class name only: the message of a foreign error may quote anything.
                logger.error(
                    "sweep: session %s, user %s: %s could not be repaired: %s",
                    enrollment.session_id,
                    enrollment.user_id,
                    kind,
                    type(outcome).__name__,
                )
        progress.tally = _counted(progress.tally, outcomes)


def _time_left() -> float:
    """Seconds until this activity should come to its end by itself."""
    info = activity.info()
    if info.schedule_to_close_timeout is None:
        return float("inf")
    left = info.schedule_to_close_timeout - (info.started_time - info.scheduled_time) - RESERVE
    return left.total_seconds()


def _counted(tally: SweepTally, outcomes: Sequence[Repair | Exception]) -> SweepTally:
    done = [outcome for outcome in outcomes if isinstance(outcome, Repair)]
    repaired = sum(repair.outcome is Outcome.REPAIRED for repair in done)
    return replace(
        tally,
        found=tally.found + len(outcomes),
        repaired=tally.repaired + repaired,
        unchanged=tally.unchanged + len(done) - repaired,
        failed=tally.failed + len(outcomes) - len(done),
        reminders=tally.reminders + sum(repair.reminders for repair in done),
    )
