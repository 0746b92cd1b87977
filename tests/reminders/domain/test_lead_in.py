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
    QUICKEST,
    SHORTEST,
    SLOWEST,
    crowd_cooling,
    lead_in,
    learned,
)

SOMEBODY = UUID(int=7)


@given(
    enrolled=st.integers(min_value=0),
    user_id=st.uuids(),
    is_newest=st.booleans(),
    apart=st.timedeltas(min_value=QUICKEST, max_value=SLOWEST),
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
    assert timedelta(seconds=61) == places[-1]


def test_a_session_planned_anew_wakes_evenly() -> None:
    """Each second of the window gets about as many as every other."""
    enrolled = COUNTED
    places = [lead_in(enrolled, uuid4(), is_newest=False) for _ in range(enrolled)]
    ten = timedelta(seconds=10)
    tens = [(place - SHORTEST) // ten for place in places]
    per_ten = [tens.count(n) for n in range(COUNTED * APART // ten)]
    assert max(per_ten) < 1.3 * enrolled / len(per_ten)


def test_a_slow_server_is_given_more_time_and_a_quick_one_no_less_than_the_least() -> None:
    """A crowd that came late shows how fast it can; one that was in time says that less would do."""
    minute = timedelta(minutes=1)
    slower = learned(APART, woken=1_500, took=minute, were_late=True)
    assert timedelta(milliseconds=44) == slower
    relaxed = learned(slower, woken=1_500, took=minute, were_late=False)
    assert timedelta(milliseconds=43) < relaxed < slower
    assert QUICKEST == learned(QUICKEST, woken=1_500, took=minute, were_late=False)
    assert APART == learned(APART, woken=6_000, took=minute, were_late=True)  # for another reason
    assert APART < learned(APART, woken=20_000, took=6 * minute, were_late=True)
    assert SLOWEST == learned(APART, woken=500, took=minute, were_late=True)


def test_a_move_is_told_to_a_crowd_once_all_workflows_know_of_it() -> None:
    """Half as long again as the first of them wakes before; at once if nobody is to wait."""
    two_minutes = timedelta(minutes=2)
    assert two_minutes == crowd_cooling(two_minutes, 2_000, apart=APART)
    assert timedelta(minutes=7, seconds=30) == crowd_cooling(two_minutes, 10_000, apart=APART)
    assert LONGEST == crowd_cooling(two_minutes, 10**6, apart=SLOWEST)
    assert timedelta() == crowd_cooling(timedelta(), 10_000, apart=APART)
