"""How early workflows wake."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from reminders.domain.lead_in import (
    APART,
    COUNTED,
    LONGEST,
    SHORTEST,
    SLOWEST,
    lead_in,
    learned,
)

SOMEBODY = UUID(int=7)


@given(
    enrolled=st.integers(min_value=0),
    user_id=st.uuids(),
    is_newest=st.booleans(),
    apart=st.timedeltas(min_value=APART, max_value=SLOWEST),
)
def test_everybody_wakes_a_second_to_ten_minutes_early(
    enrolled: int, user_id: UUID, apart: timedelta, *, is_newest: bool
) -> None:
    """However few or many come, and however slow the server is."""
    assert SHORTEST <= lead_in(enrolled, user_id, is_newest=is_newest, apart=apart) <= LONGEST


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


def test_a_slow_server_is_given_more_time_and_a_quick_one_no_less_than_the_least() -> None:
    """A crowd that came late shows how fast it can; one that was in time says that less would do."""
    minute = timedelta(minutes=1)
    slower = learned(APART, woken=2_000, took=minute, were_late=True)
    assert timedelta(milliseconds=30) == slower
    assert timedelta(milliseconds=27) == learned(
        slower, woken=2_000, took=minute * 0.7, were_late=False
    )
    assert APART == learned(APART, woken=2_000, took=minute * 0.7, were_late=False)
    assert SLOWEST == learned(APART, woken=500, took=minute, were_late=True)
