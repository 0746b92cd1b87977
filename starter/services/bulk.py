"""Enrolls many people in one session: plans by the hundred, and starts their runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from reminders.db.audit import By
from reminders.domain.errors import ReminderError
from reminders.domain.model import Enrollee, EnrollmentStatus
from reminders.fan_out import fan_out
from starter.services.handover import Handover
from starter.services.receipts import Enrolled

PER_TRANSACTION = 100
"""People who are planned in one transaction, whose locks others wait for meanwhile."""
TRANSACTIONS = 2
"""At once: one is written while the runs of the other start."""
STARTS = 16
"""Runs that are started at once, for each transaction."""


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
        handed = await handover.hand_over_all(plans, at_once=STARTS)
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
    groups = range(0, len(everybody), PER_TRANSACTION)
    some = (everybody[first : first + PER_TRANSACTION] for first in groups)
    done = await fan_out(group, some, at_once=TRANSACTIONS)
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
