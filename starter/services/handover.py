"""How a plan meets a run: the one place that decides it, for every call and for the sweep.

The ledger comes first, and what is in it wins. A plan that was read before somebody else's change
must undo nothing of it, and a call that is broken off at any moment must be completed by whoever
comes next. So:

- Whoever finds no run, or has waited for one to end, reads the ledger once more before starting
  another. What the caller asked for is in the ledger, and is never asked for twice.
- After every step it is asked whether there is a newer plan by now, and if so, that one is handed
  over too: whoever wrote it may have found the run of before.
- A plan that changed something stays noted as unconfirmed until a run follows it. A call that
  changes nothing sees by that whether there is something left to do, and so does the sweep.
- A run that was cancelled takes no plan any more. It is waited for; if it does not end, only
  somebody who has just enrolled replaces it, because nothing else may revive what was cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from reminders.db.audit import By
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.domain.errors import ReminderError
from reminders.domain.model import Enrollee, EnrollmentStatus
from reminders.fan_out import fan_out
from starter.services.enrollments import Answer, EnrollmentRun, EnrollmentWorkflows
from starter.services.receipts import Enrolled

logger = logging.getLogger(__name__)

_Person = TypeVar("_Person")
_Done = TypeVar("_Done")

ROUNDS = 5
"""How often a plan is handed over that others change meanwhile; the sweep goes on from there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedOver:
    """A plan as it was handed over in the end."""

    planned: PlannedEnrollment
    """The newest."""
    run_id: str = ""
    """Of the enrollment's newest run; empty if there is none."""
    is_confirmed: bool = False
    """Whether a run follows it, or none is needed. If not, the sweep hands it over once more."""
    is_found: bool = False
    """Whether there was a run: confirmed it, was started, or was asked to cancel."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Hands plans over to workflows."""

    workflows: EnrollmentWorkflows
    planner: EnrollmentPlanner
    """Reads the ledger once more, and notes what is confirmed."""

    async def hand_over(
        self, planned: PlannedEnrollment, *, enrolling: bool = False, is_patient: bool = False
    ) -> HandedOver:
        """Make an enrollment's run follow what the ledger says; safe to repeat.

        A run is cancelled if everything was called off, started if one is needed and there is
        none, and replaced if it does not answer: the ledger has all it knew.

        Args:
            planned: As it was just written, or read.
            enrolling: Whether somebody asked for this enrollment now: what was cancelled by hand
                is revived.
            is_patient: Whether a run that does not answer is left alone, and one that ends is
                waited for, however long a busy worker takes. It may be busy, and the
                sweep hands the plan over once more.

        Raises:
            SessionNotFoundError: If the session was deleted meanwhile.
            DatabaseUnavailableError: If PostgreSQL is away; the ledger holds, repeat the call.
            TemporalUnavailableError: If Temporal is away; likewise.
        """
        for _ in range(ROUNDS):
            met = await self._meet(planned, enrolling=enrolling, is_patient=is_patient)
            if met is None:  # a run has ended, or another was started: look once more
                planned, enrolling = await self._reread(planned), False
                continue
            if not met.is_confirmed:
                return met
            if await self.planner.confirm(met.planned, is_found=met.is_found):
                return met
            planned = await self._reread(met.planned)
        logger.warning(
            "session %s, user %s: others change the plan all the time",
            planned.session.id,
            planned.user_id,
        )
        return HandedOver(planned=planned)

    async def hand_over_all(self, planned: Sequence[PlannedEnrollment]) -> list[HandedOver]:
        """As `hand_over`, for people who enroll in one session: in this order.

        Most of them are new. Their runs are started, and confirmed together; the others are handed
        over one by one.
        """

        async def started(plan: PlannedEnrollment) -> HandedOver | None:
            run_id = await self.workflows.start(plan) if plan.is_first else None
            if run_id is None:
                return None
            return HandedOver(planned=plan, run_id=run_id, is_confirmed=True, is_found=True)

        return await self._together(
            planned, started, partial(self.hand_over, enrolling=True), at_once=STARTS
        )

    async def hand_over_changed(self, planned: Sequence[PlannedEnrollment]) -> list[HandedOver]:
        """As `hand_over`, patiently, for people of one session whose plan has changed.

        Most of their runs are there and take it: they are told without being looked at before, and
        confirmed together. One that may have been asked to cancel, by a plan that called off what is
        wanted again, would take a plan that reaches it together with that, and end for all that.
        """

        async def told(plan: PlannedEnrollment) -> HandedOver | None:
            if plan.is_first or plan.is_over or not plan.is_unconfirmed or plan.is_revived:
                return None
            answer = await self.workflows.replan(None, plan)
            if answer is Answer.REFUSED:
                return None
            is_confirmed = answer is Answer.CONFIRMED
            return HandedOver(planned=plan, is_confirmed=is_confirmed, is_found=is_confirmed)

        return await self._together(
            planned, told, partial(self.hand_over, is_patient=True), at_once=UPDATES
        )

    async def _together(
        self,
        planned: Sequence[PlannedEnrollment],
        simply: Callable[[PlannedEnrollment], Awaitable[HandedOver | None]],
        thoroughly: Callable[[PlannedEnrollment], Awaitable[HandedOver]],
        *,
        at_once: int,
    ) -> list[HandedOver]:
        """Hand plans over in the way that suits most, and the others as it must be."""
        met = await fan_out(simply, planned, at_once=at_once)
        followed = [found.planned for found in met if found and found.is_confirmed]
        outdated = await self.planner.confirm_all(followed) if followed else set()

        async def completed(pair: tuple[PlannedEnrollment, HandedOver | None]) -> HandedOver:
            plan, found = pair
            if plan.user_id in outdated:
                plan = await self._reread(plan)
            elif found:
                return found
            return await thoroughly(plan)

        return await fan_out(completed, zip(planned, met, strict=True), at_once=at_once)

    async def _meet(
        self, planned: PlannedEnrollment, *, enrolling: bool, is_patient: bool
    ) -> HandedOver | None:
        """Hand over once; `None` if things have changed meanwhile."""
        session_id, user_id = planned.session.id, planned.user_id
        if planned.is_first and (run_id := await self.workflows.start(planned)) is not None:
            return HandedOver(planned=planned, run_id=run_id, is_confirmed=True, is_found=True)
        if planned.is_over and planned.called_off is not None:
            is_found = await self.workflows.cancel(session_id, user_id, planned.called_off)
            return HandedOver(planned=planned, is_confirmed=True, is_found=is_found)
        run = await self.workflows.latest(session_id, user_id)
        if run is None or not run.is_running:
            return await self._follow(planned, run)
        if run.is_ending:
            return await self._see_off(planned, run, enrolling=enrolling, is_patient=is_patient)
        if planned.is_unconfirmed or planned.is_first:
            answer = await self.workflows.replan(run, planned)
            if answer is Answer.REFUSED:
                return None
            if answer is Answer.NONE:
                if is_patient:
                    return HandedOver(planned=planned, run_id=run.run_id)
                newest = await self.workflows.latest(session_id, user_id)
                # One that was asked to cancel meanwhile is seen off: only an enrollment undoes that.
                if newest and newest.run_id == run.run_id and not newest.is_ending:
                    await self.workflows.terminate(run)
                return None
        return HandedOver(planned=planned, run_id=run.run_id, is_confirmed=True, is_found=True)

    async def _follow(
        self, planned: PlannedEnrollment, last: EnrollmentRun | None
    ) -> HandedOver | None:
        """Have the last run followed by another, if something is still pending by now."""
        newest = await self._reread(planned) if planned.has_pending else planned
        run_id: str | None = last.run_id if last else ""
        if newest.is_over or not newest.has_pending:
            return HandedOver(planned=newest, run_id=run_id or "", is_confirmed=True)
        run_id = await self.workflows.start(newest)
        if run_id is None:
            return None
        return HandedOver(planned=newest, run_id=run_id, is_confirmed=True, is_found=True)

    async def _see_off(
        self, planned: PlannedEnrollment, run: EnrollmentRun, *, enrolling: bool, is_patient: bool
    ) -> HandedOver | None:
        """Wait for a run that was cancelled to end; `None` once it has."""
        if enrolling:
            planned = await self.planner.renew(planned)
        if await self.workflows.has_ended(run, is_patient=is_patient):
            return None
        if enrolling:
            await self.workflows.terminate(run)
            return None
        return HandedOver(planned=planned, run_id=run.run_id)

    async def _reread(self, planned: PlannedEnrollment) -> PlannedEnrollment:
        """The plan as it is now; what this call has changed so far stays counted.

        It is to be confirmed even if a run has done so before: that may be another run.
        """
        newest = await self.planner.reconcile(planned.session.id, planned.user_id)
        return replace(
            newest,
            is_first=False,
            is_unconfirmed=True,
            is_changed=newest.is_changed or planned.is_changed,
            cancelled=newest.cancelled + planned.cancelled,
            written=newest.written + planned.written,
        )


PER_TRANSACTION = 100
"""People who are planned in one transaction, whose locks others wait for meanwhile."""
TRANSACTIONS = 2
"""At once: one is written while the runs of the other are told."""
STARTS = 16
"""Runs that are started at once, for each transaction."""
UPDATES = 8
"""Runs that are told at once, for each transaction: with those of the other about as many as a
worker polls for. More at once, and Temporal writes tasks down that it could have handed over."""


async def by_transaction(
    call: Callable[[Sequence[_Person]], Awaitable[_Done]], people: Sequence[_Person]
) -> list[_Done]:
    """Call for as many people as one transaction takes, in their order, and a few times at once."""
    firsts = range(0, len(people), PER_TRANSACTION)
    groups = (people[first : first + PER_TRANSACTION] for first in firsts)
    return await fan_out(call, groups, at_once=TRANSACTIONS)


async def enroll_many(
    handover: Handover,
    session_id: UUID,
    people: Sequence[Enrollee],
    by: By,
    *,
    on_progress: Callable[[int], None],
) -> dict[UUID, Enrolled | ReminderError]:
    """Enroll people, or confirm that they are, and have their runs follow. Safe to repeat.

    Args:
        handover: Of each plan.
        session_id: In what.
        people: Who is in it twice is enrolled once, as by as many calls in this order.
        by: See `ReminderGateway.enroll`.
        on_progress: Called with how many more are done.

    Returns:
        What became of each, or why they could not be enrolled.

    Raises:
        SessionNotFoundError: If there is no such session.
        ServiceUnavailableError: If PostgreSQL or Temporal is away: some are enrolled, and the
            same call repeated completes it.
    """
    planner = handover.planner

    async def group(some: Sequence[Enrollee]) -> dict[UUID, Enrolled | ReminderError]:
        found = await planner.enroll_all(session_id, some, by)
        plans = [plan for plan in found.values() if not isinstance(plan, ReminderError)]
        handed = await handover.hand_over_all(plans)
        on_progress(len(some))
        answers: dict[UUID, Enrolled | ReminderError] = {
            user_id: why for user_id, why in found.items() if isinstance(why, ReminderError)
        }
        for done in handed:
            answers[done.planned.user_id] = Enrolled.of(done.planned, done.run_id)
        return answers

    each: dict[UUID, Enrollee] = {}
    for person in people:
        before = each.get(person.user_id)
        each[person.user_id] = _both(before, person) if before else person
    everybody = list(each.values())
    done = await by_transaction(group, everybody)
    return {user_id: answer for answers in done for user_id, answer in answers.items()}


def _both(before: Enrollee, then: Enrollee) -> Enrollee:
    """One entry for two of the same person: a confirmation is not taken back, nor a link left out."""
    is_confirmed = EnrollmentStatus.CONFIRMED in (before.status, then.status)
    return Enrollee(
        user_id=then.user_id,
        enrollment_id=then.enrollment_id or before.enrollment_id,
        status=EnrollmentStatus.CONFIRMED if is_confirmed else then.status,
        join_url=before.join_url if then.join_url is None else then.join_url,
    )
