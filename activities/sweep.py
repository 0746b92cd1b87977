"""The activity that reconciles. It knows `reminders.domain.ports`, and sends nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeat import heartbeating
from reminders.domain.contracts import ReconcileInput, SweepKind, SweepTally
from reminders.domain.errors import ServiceUnavailableError
from reminders.domain.ports import Enrollment
from reminders.domain.upkeep import Reconciler, Suspect
from reminders.fan_out import fan_out

logger = logging.getLogger(__name__)

PAGE = 200
"""Enrollments looked at between two cursors: what a worker's death costs is done again."""
SLICE = 50
"""Enrollments repaired between two looks at the time: a run that does not answer takes seconds."""
AT_ONCE = 10
"""Repairs at the same time: they mostly wait, but share the connections with delivery."""
CROWD = 100
"""So many of one session on a page: it has changed for all, and nobody said so."""
_OF_A_SESSION = (SweepKind.UNCONFIRMED, SweepKind.DRIFTED, SweepKind.LOST)
"""What may be so of everybody in a session at once."""
MOST_FAILED = 5000
"""After so many that cannot be repaired, the next sweep goes on: with those whom this one tried last."""
RESERVE = timedelta(seconds=30)
"""How long before its time is up an activity begins no further page, so that its counts are kept."""
_Outcome = int | None | Exception
"""Of a repair: as `Reconciler.repair` answers, or what it raised."""


@dataclass(slots=True)
class _Progress:
    """What the next attempt goes on from."""

    after: Suspect | None = None
    tally: SweepTally = field(default_factory=SweepTally)

    def details(self) -> tuple[Any, ...]:
        """As a heartbeat carries it."""
        after = self.after
        cursor = (
            [str(after.session_id), str(after.user_id), after.urgent_at.isoformat()]
            if after
            else None
        )
        return cursor, asdict(self.tally)

    @classmethod
    def of(cls, details: Sequence[Any]) -> _Progress:
        """What the attempt before left; nothing if it left nothing."""
        if len(details) != 2:
            return cls()
        cursor, tally = details
        after = None
        if cursor and len(cursor) == 3:  # an earlier release left no instant: it begins anew
            session_id, user_id, urgent_at = cursor
            after = Suspect(UUID(session_id), UUID(user_id), datetime.fromisoformat(urgent_at))
        return cls(after=after, tally=SweepTally(**tally))


@dataclass(frozen=True, slots=True)
class SweepActivities:
    """Finds enrollments that are not as they should be, and puts them right."""

    reconciler: Reconciler
    _failed: dict[SweepKind, frozenset[Enrollment]] = field(default_factory=dict, init=False)
    """Whom the last sweep that this worker ran could not repair: others come before them."""

    @activity.defn
    async def reconcile_enrollments(self, request: ReconcileInput) -> SweepTally:
        """Repair what is found of one kind, up to a limit, and count truthfully.

        May run twice, and at the same time as another sweep: every repair reads what is, under
        the enrollment's lock, and does nothing where all is well. A later attempt goes on behind
        the last page that was finished. One enrollment that cannot be repaired is counted, and
        the others follow; only PostgreSQL or Temporal being away ends the attempt.

        A crowd of one session is also planned anew as a whole, by a workflow that is not bounded as
        this is: those whom it reaches first are counted there, and not found here any more.
        """
        with as_application_errors():
            if request.kind is SweepKind.IN_DOUBT:
                return SweepTally(found=await self.reconciler.in_doubt())
            search = _Search(
                reconciler=self.reconciler,
                request=request,
                progress=_Progress.of(activity.info().heartbeat_details),
                failed_before=self._failed.get(request.kind, frozenset()),
                deadline=asyncio.get_running_loop().time() + _time_left(),
            )
            try:
                async with heartbeating(search.progress.details):
                    return await search.all_pages()
            finally:
                self._failed[request.kind] = frozenset(search.failed)


@dataclass(slots=True)
class _Search:
    """One attempt at one kind: what it may still do, and what it has met."""

    reconciler: Reconciler
    request: ReconcileInput
    progress: _Progress
    failed_before: frozenset[Enrollment]
    deadline: float
    """By `loop.time()`."""
    failed: set[Enrollment] = field(default_factory=set)
    met: list[_Outcome] = field(default_factory=list)
    """What became of others than the repaired: counted once the next attempt meets them no more."""
    replanned: set[UUID] = field(default_factory=set)
    """Sessions that are planned anew as a whole at the same time."""

    @property
    def left(self) -> int:
        """How many more may be repaired."""
        return self.request.limit - self.progress.tally.repaired

    @property
    def is_late(self) -> bool:
        """Whether its time is up."""
        return asyncio.get_running_loop().time() > self.deadline

    async def all_pages(self) -> SweepTally:
        """What became of all, or of as many as there was time for."""
        is_done = await self._look_through()
        self._count_met()
        return replace(self.progress.tally, stopped_early=not is_done)

    async def _look_through(self) -> bool:
        """Repair page after page, and last those whom the last sweep could not; whether all were."""
        progress, put_off = self.progress, list[Enrollment]()
        while True:
            page = await self.reconciler.suspects(
                self.request.kind, after=progress.after, limit=PAGE
            )
            await self._replan_crowds(page.suspects)
            put_off += [one for one in page.suspects if one in self.failed_before]
            fresh = [one for one in page.suspects if one not in self.failed_before]
            if not await self._repair(fresh):
                return False
            if page.after is None:
                break
            if self.left <= 0 or self.is_late or len(self.failed) + len(put_off) > MOST_FAILED:
                return False
            progress.after = page.after
            self._count_met()
            activity.heartbeat(*progress.details())
        return not put_off or (not self.is_late and await self._repair(put_off[:MOST_FAILED]))

    def _count_met(self) -> None:
        self.progress.tally = _counted(self.progress.tally, self.met)
        self.met.clear()

    async def _replan_crowds(self, suspects: Sequence[Enrollment]) -> None:
        """Have sessions planned anew of which many are found together."""
        if self.request.kind not in _OF_A_SESSION:
            return
        found = Counter(one.session_id for one in suspects)
        for session_id, count in found.items():
            if count < CROWD or session_id in self.replanned:
                continue
            self.replanned.add(session_id)
            try:
                await self.reconciler.replan(session_id)
            except ServiceUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - they are repaired one by one all the same
                logger.error(  # noqa: TRY400 - the class name only, as below
                    "sweep: session %s: could not be planned anew: %s",
                    session_id,
                    type(error).__name__,
                )

    async def _repair(self, suspects: Sequence[Enrollment]) -> bool:
        """Repair and count them; whether bound and time sufficed. What fails uses up only time."""
        while suspects:
            if self.left <= 0:
                return False
            size = min(self.left, SLICE)
            some, suspects = suspects[:size], suspects[size:]
            await self._repair_some(some)
            if suspects and self.is_late:
                return False
        return True

    async def _repair_some(self, suspects: Sequence[Enrollment]) -> None:
        """Repair some enrollments. Who is repaired is counted at once: no attempt meets them again.

        Raises:
            ServiceUnavailableError: If PostgreSQL or Temporal is away.
        """
        kind, progress = self.request.kind, self.progress

        async def one(enrollment: Enrollment) -> _Outcome:
            try:
                return await self.reconciler.repair(enrollment, kind)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
                return error

        outcomes = await fan_out(one, suspects, at_once=AT_ONCE)
        repaired, others = list[_Outcome](), list[_Outcome]()
        for o in outcomes:
            (repaired if isinstance(o, int) else others).append(o)
        progress.tally = _counted(progress.tally, repaired)
        away = next((o for o in outcomes if isinstance(o, ServiceUnavailableError)), None)
        if away is not None:
            activity.heartbeat(*progress.details())
            raise away
        self.met += others
        for enrollment, outcome in zip(suspects, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.failed.add(enrollment)
                # The class name only: the message of a foreign error may quote anything.
                logger.error(
                    "sweep: session %s, user %s: %s could not be repaired: %s",
                    enrollment.session_id,
                    enrollment.user_id,
                    kind,
                    type(outcome).__name__,
                )


def _time_left() -> float:
    """Seconds until this activity should come to its end by itself."""
    info = activity.info()
    if info.schedule_to_close_timeout is None:
        return float("inf")
    left = info.schedule_to_close_timeout - (info.started_time - info.scheduled_time) - RESERVE
    return left.total_seconds()


def _counted(tally: SweepTally, outcomes: Sequence[_Outcome]) -> SweepTally:
    repaired = [outcome for outcome in outcomes if isinstance(outcome, int)]
    unchanged = sum(outcome is None for outcome in outcomes)
    return replace(
        tally,
        found=tally.found + len(outcomes),
        repaired=tally.repaired + len(repaired),
        unchanged=tally.unchanged + unchanged,
        failed=tally.failed + len(outcomes) - len(repaired) - unchanged,
        reminders=tally.reminders + sum(repaired),
    )
