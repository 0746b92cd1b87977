"""How early workflows wake."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.lead_in import APART, COUNTED, LONGEST, SHORTEST, lead_in

SOMEBODY = UUID(int=7)


@given(enrolled=st.integers(min_value=0), user_id=st.uuids(), is_newest=st.booleans())
def test_everybody_wakes_a_second_to_four_minutes_early(
    enrolled: int, user_id: UUID, *, is_newest: bool
) -> None:
    """However few or many come."""
    assert SHORTEST <= lead_in(enrolled, user_id, is_newest=is_newest) <= LONGEST


def test_people_who_enroll_one_after_the_other_wake_one_after_the_other() -> None:
    """The same time apart, the last to come first."""
    places = [lead_in(n, SOMEBODY, is_newest=True) for n in range(1, 2_001)]
    assert {APART} == {later - sooner for sooner, later in pairwise(places)}
    assert timedelta(seconds=41) == places[-1]


def test_a_session_planned_anew_wakes_evenly() -> None:
    """Each second of the window gets about as many as every other."""
    enrolled = COUNTED
    places = [lead_in(enrolled, uuid4(), is_newest=False) for _ in range(enrolled)]
    tens = [(place - SHORTEST) // timedelta(seconds=10) for place in places]
    per_ten = [tens.count(n) for n in range(24)]
    assert max(per_ten) < 1.3 * enrolled / 24
