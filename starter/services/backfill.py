"""Brings in who was enrolled before us: plans and workflows for enrollments that exist already."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from reminders.db.planning import EnrollmentPlanner
from reminders.db.sweep import Ahead
from reminders.domain.errors import NotFoundError, ReminderError, ServiceUnavailableError
from reminders.domain.model import ReminderStatus, StatusReason
from reminders.domain.ports import Clock, Enrollment
from reminders.fan_out import fan_out, total
from starter.services.handover import Handover

logger = logging.getLogger(__name__)

_PAST = (StatusReason.PAST_DUE, StatusReason.SESSION_STARTED)
PAGE = 200
"""Enrollments that are read at once; after each page the cursor moves on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillReceipt:
    """What a back-fill did, or would do; counts."""

    enrollments: int = 0
    """Enrollments that were looked at."""
    planned: int = 0
    """Of these, those whose ledger rows were added or changed."""
    scheduled: int = 0
    """Reminders that wait for their instant now, in all of them."""
    past_due: int = 0
    """Reminders whose instant had passed, or whose session has begun: never sent."""
    gone: int = 0
    """Enrollments that were deleted meanwhile."""
    failed: int = 0
    """Enrollments that could not be planned; the log says why."""
    after: Enrollment | None = None
    """Continue behind this one; absent when nothing is left."""
    stopped_because: str | None = None
    """Why it ended early; absent when it did not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """Plans what is enrolled already; safe to repeat, and to go on with after a break."""

    enrollments: Ahead
    planner: EnrollmentPlanner
    handover: Handover
    clock: Clock
    """Decides which sessions lie ahead."""

    async def expected(self, session_id: UUID | None = None) -> int:
        """How many enrollments a run goes through from the beginning."""
        return await self.enrollments.count(now=self.clock.now(), session_id=session_id)

    async def run(
        self,
        *,
        session_id: UUID | None = None,
        after: Enrollment | None = None,
        limit: int | None = None,
        rate: float = 50,
        dry_run: bool = False,
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> BackfillReceipt:
        """Plan every confirmed enrollment of the sessions that lie ahead, the soonest first.

        Their workflows are started; what is planned already is only confirmed. Nothing is ever sent late: a reminder whose
        instant has passed is recorded as `past_due`. Who was unenrolled with us stays so.

        Args:
            session_id: Only this session's.
            after: Continue behind this enrollment.
            limit: Look at no more than this many.
            rate: Enrollments a second at the most.
            dry_run: Write and start nothing; only count.
            on_progress: Called with how many more have been looked at.

        Returns:
            Counts. If PostgreSQL or Temporal goes away, those so far, and where to go on.
        """
        receipt = BackfillReceipt(after=after)
        pace = _Pace(rate)
        left = limit
        while left is None or left > 0:
            try:
                page = await self.enrollments.page(
                    now=self.clock.now(),
                    session_id=session_id,
                    after=receipt.after,
                    limit=PAGE if left is None else min(PAGE, left),
                )
                if not page:
                    return replace(receipt, after=None)
                counts = await self._page(page, pace, dry_run=dry_run)
            except ServiceUnavailableError as error:
                return replace(receipt, stopped_because=str(error))
            receipt = total(replace(counts, after=page[-1]), receipt)
            left = None if left is None else left - len(page)
            on_progress(len(page))
        return receipt

    async def _page(
        self, page: Sequence[Enrollment], pace: _Pace, *, dry_run: bool
    ) -> BackfillReceipt:
        async def one(enrollment: Enrollment) -> BackfillReceipt:
            await pace.wait()
            return await self._one(enrollment, dry_run=dry_run)

        return total(BackfillReceipt(), *await fan_out(one, page))

    async def _one(self, enrollment: Enrollment, *, dry_run: bool) -> BackfillReceipt:
        key = enrollment.session_id, enrollment.user_id
        try:
            planned = await self.planner.reconcile(*key, dry_run=dry_run)
            if not dry_run:
                planned = (await self.handover.hand_over(planned)).planned
        except NotFoundError:
            return BackfillReceipt(enrollments=1, gone=1)
        except ServiceUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the others follow
            # The class name only: the message of a foreign error may quote anything.
            why = str(error) if isinstance(error, ReminderError) else type(error).__name__
            logger.warning("session %s, user %s: could not be planned: %s", *key, why)
            return BackfillReceipt(enrollments=1, failed=1)
        rows = planned.reminders
        return BackfillReceipt(
            enrollments=1,
            planned=int(planned.is_changed),
            scheduled=sum(r.status.is_pending for r in rows),
            past_due=sum(r.status is ReminderStatus.SKIPPED and r.reason in _PAST for r in rows),
        )


class _Pace:
    """A steady number of turns a second."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for the next place."""
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now)
        delay, self._next = self._next - now, self._next + self._gap
        await asyncio.sleep(delay)
