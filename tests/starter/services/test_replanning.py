"""A page of enrollments, planned anew while the worker has more to do than it can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from reminders.db.plans import PlannedEnrollment
from starter.services.handover import HandedOver
from starter.services.session_changes import EnrollmentReplanner
from tests.builders import NOW, a_session


@dataclass
class _Parts:
    """Plans everybody; a run of those who are slow confirms from the second time on, or never."""

    users: list[UUID]
    slow: dict[UUID, int] = field(default_factory=dict)
    broken: set[UUID] = field(default_factory=set)
    asked: Counter[UUID] = field(default_factory=Counter)

    async def enrolled(self, _session_id: UUID, *, after: UUID | None, limit: int) -> list[UUID]:
        """Everybody."""
        assert after is None
        return self.users[:limit]

    async def replan(self, session_id: UUID, user_id: UUID) -> PlannedEnrollment:
        """A plan of nothing."""
        (planned,) = await self.replan_all(session_id, [user_id])
        return planned

    async def replan_all(
        self, _session_id: UUID, users: Sequence[UUID]
    ) -> Sequence[PlannedEnrollment]:
        """Plans of nothing; none at all if there is somebody for whom it is not possible."""
        if self.broken & set(users):
            raise ValueError
        nothing: dict[str, Any] = {"session": a_session(), "enrollment": None, "reminders": ()}
        more: dict[str, Any] = {"version": 1, "is_first": False, "is_changed": True}
        return [PlannedEnrollment(user_id=user_id, **nothing, **more) for user_id in users]

    async def hand_over(self, planned: PlannedEnrollment, *, is_patient: bool) -> HandedOver:
        """Confirmed, once it was asked for often enough."""
        assert is_patient
        (handed,) = await self.hand_over_changed([planned])
        return handed

    async def hand_over_changed(self, planned: Sequence[PlannedEnrollment]) -> list[HandedOver]:
        """Likewise."""
        self.asked.update(plan.user_id for plan in planned)
        return [
            HandedOver(planned=p, is_confirmed=self.asked[p.user_id] > self.slow.get(p.user_id, 0))
            for p in planned
        ]


def _replanner(parts: _Parts) -> EnrollmentReplanner:
    anything = cast(Any, parts)
    return EnrollmentReplanner(handover=anything, planner=anything, catalogue=anything)


async def test_those_who_did_not_confirm_in_time_are_asked_once_more() -> None:
    """A busy worker costs a second question, and no quarter of an hour; each is counted once."""
    users = [uuid4() for _ in range(40)]
    parts = _Parts(users, slow={users[3]: 1, users[7]: 1, users[9]: 9})
    replanner = _replanner(parts)
    page = await replanner.replan_page(a_session().id, after=None, limit=100, since=NOW)
    assert (40, 39, 1) == (page.counts.enrollments, page.counts.replanned, page.counts.unconfirmed)
    assert {users[3]: 2, users[7]: 2, users[9]: 2} == {
        u: n for u, n in parts.asked.items() if n > 1
    }


async def test_one_who_cannot_be_planned_is_counted_and_the_others_follow(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The page as a whole fails for them; one by one it is theirs alone, and named."""
    users = [uuid4() for _ in range(40)]
    parts = _Parts(users, broken={users[3]})
    page = await _replanner(parts).replan_page(a_session().id, after=None, limit=100, since=NOW)
    assert (40, 39, 1) == (page.counts.enrollments, page.counts.replanned, page.counts.unconfirmed)
    assert [str(users[3]) in record.getMessage() for record in caplog.records] == [True]
