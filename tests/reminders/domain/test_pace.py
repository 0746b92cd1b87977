"""The pace: what may go at once, and what follows when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reminders.domain.pace import Pace

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("per_second", [0.5, 1, 1.5, 2, 2.5, 8, 10, 100, 10_000])
def test_no_second_sees_more_than_its_rate(per_second: float) -> None:
    """Whichever second is looked at, by whichever clock; a rate of less than one has longer ones."""
    pace = Pace.of(per_second)
    assert pace.requests / pace.window.total_seconds() <= per_second + 1e-6
    assert pace.window <= max(SECOND, SECOND / per_second) * 1.1


def test_the_first_of_a_crowd_go_at_once() -> None:
    """As many as one second of the provider's takes."""
    assert Pace.of(8) == Pace(8, timedelta(seconds=1.1))


def test_the_provider_says_how_many_it_takes() -> None:
    """Until then few; an operator's word is a ceiling, and so is the provider's."""
    pace = Pace.of(8, is_ceiling=False)
    assert 8 == pace.requests
    assert (True, False) == (pace.learn(10), pace.learn(10))
    assert Pace.of(10) == pace
    pace.learn(2)
    assert Pace.of(2) == pace
    capped = Pace.of(4)
    assert not capped.learn(10)
    assert Pace.of(4) == capped
    assert capped.learn(3)
    assert Pace.of(3) == capped


@pytest.mark.parametrize("per_second", [0.25, 8])
def test_what_is_to_lie_apart_lies_apart(per_second: float) -> None:
    """However fast the rate would be; it is kept, too."""
    assert Pace.of(per_second, apart=2 * SECOND) == Pace(1, max(2, 1 / per_second) * SECOND)


@pytest.mark.parametrize(("per_second", "aside"), [(8, 1.1 / 4), (2, 1.1 / 2), (1, 1)])
def test_what_nobody_waits_for_leaves_most_of_a_window(per_second: float, aside: float) -> None:
    """A quarter at the most, of what goes at once."""
    assert Pace.of(per_second).aside == timedelta(seconds=aside)


def test_beyond_twenty_at_once_the_window_shrinks() -> None:
    """No burst is larger, however fast the provider is."""
    assert Pace.of(40) == Pace(20, timedelta(seconds=0.55))
