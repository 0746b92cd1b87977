"""A page of enrollments, planned anew while the worker has more to do than it can."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

from reminders.db.plans import PlannedEnrollment
from starter.services.handover import HandedOver
from starter.services.replanning import EnrollmentReplanner
from tests.builders import NOW, a_session


@dataclass
class _Parts:
    """Plans everybody; a run of those who are slow confirms from the second time on, or never."""

    users: list[UUID]
    slow: dict[UUID, int]
    asked: Counter[UUID] = field(default_factory=Counter)

    async def enrolled(self, _session_id: UUID, *, after: UUID | None, limit: int) -> list[UUID]:
        """Everybody."""
        assert after is None
        return self.users[:limit]

    async def replan(self, _session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """A plan of nothing."""
        return PlannedEnrollment(
            session=a_session(),
            user_id=user_id,
            enrollment=None,
            reminders=(),
            version=1,
            is_first=False,
            is_changed=True,
        )

    async def hand_over(self, planned: PlannedEnrollment, *, is_patient: bool) -> HandedOver:
        """Confirmed, once it was asked for often enough."""
        assert is_patient
        self.asked[planned.user_id] += 1
        is_confirmed = self.asked[planned.user_id] > self.slow.get(planned.user_id, 0)
        return HandedOver(planned=planned, is_confirmed=is_confirmed)


async def test_those_who_did_not_confirm_in_time_are_asked_once_more() -> None:
    """A busy worker costs a second question, and no quarter of an hour; each is counted once."""
    users = [uuid4() for _ in range(40)]
    parts: Any = _Parts(users, slow={users[3]: 1, users[7]: 1, users[9]: 9})
    replanner = EnrollmentReplanner(
        handover=cast(Any, parts), planner=cast(Any, parts), catalogue=cast(Any, parts)
    )
    page = await replanner.replan_page(a_session().id, after=None, limit=100, since=NOW)
    assert (40, 39, 1) == (page.counts.enrollments, page.counts.replanned, page.counts.unconfirmed)
    assert {users[3]: 2, users[7]: 2, users[9]: 2} == {
        u: n for u, n in parts.asked.items() if n > 1
    }
