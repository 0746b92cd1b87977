"""How early the workflows of a large session wake."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.lead_in import APART, COUNTED, LONGEST, UNTOUCHED, lead_in

SOMEBODY = UUID(int=7)


@given(enrolled=st.integers(min_value=0, max_value=UNTOUCHED), user_id=st.uuids())
def test_a_small_session_is_not_touched(enrolled: int, user_id: UUID) -> None:
    """Whoever comes, everybody wakes when they are due."""
    assert lead_in(enrolled, user_id, is_newest=True) is None
    assert lead_in(enrolled, user_id, is_newest=False) is None


@given(enrolled=st.integers(min_value=0), user_id=st.uuids(), is_newest=st.booleans())
def test_nobody_wakes_more_than_a_minute_early(
    enrolled: int, user_id: UUID, *, is_newest: bool
) -> None:
    """However many come, and never after the due instant."""
    early = lead_in(enrolled, user_id, is_newest=is_newest) or timedelta()
    assert timedelta() <= early <= LONGEST


def test_people_who_enroll_one_after_the_other_wake_one_after_the_other() -> None:
    """The same time apart, the last to come first."""
    places = [lead_in(n, SOMEBODY, is_newest=True) for n in range(UNTOUCHED + 1, 2_001)]
    assert {APART} == {later - sooner for sooner, later in pairwise(filter(None, places))}
    assert timedelta(seconds=38) == places[-1]


def test_a_session_planned_anew_wakes_evenly() -> None:
    """Each second of the window gets about as many as every other."""
    enrolled = COUNTED
    places = [lead_in(enrolled, uuid4(), is_newest=False) for _ in range(enrolled)]
    seconds = [place // timedelta(seconds=1) for place in places if place is not None]
    per_second = [seconds.count(n) for n in range(60)]
    assert max(per_second) < 3 * enrolled / 60
