"""A bar plot as numbers for an SVG: made here, so that the page needs no script and no inline style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reminders.db.reports import DueHour

HEIGHT = 100
"""Of the plot, in its own units; it is stretched to the space there is."""
_STEP = 10
_GAP = 2
_EVERY = 4
"""Each so many hours have their time below them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One hour."""

    begins_at: datetime
    reminders: int
    x: int
    y: float
    width: int
    height: float
    is_labelled: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Plot:
    """All bars, and the scale beside them."""

    bars: Sequence[Bar]
    width: int
    top: int
    """What the upper edge stands for."""
    total: int
    busiest: DueHour | None
    """Absent when nothing is due."""


def by_hour(hours: Sequence[DueHour]) -> Plot:
    """The plot of what falls due hour by hour.

    Args:
        hours: In order of time.
    """
    top = _rounded_up(max((h.reminders for h in hours), default=0))
    bars = []
    for n, hour in enumerate(hours):
        height = round(HEIGHT * hour.reminders / top, 2)
        if hour.reminders:
            height = max(height, 2)  # one reminder beside ten thousand is still one
        bars.append(
            Bar(
                begins_at=hour.begins_at,
                reminders=hour.reminders,
                x=n * _STEP + _GAP // 2,
                y=round(HEIGHT - height, 2),
                width=_STEP - _GAP,
                height=height,
                is_labelled=n % _EVERY == 0,
            )
        )
    busiest = max(hours, key=lambda h: h.reminders, default=None)
    return Plot(
        bars=bars,
        width=_STEP * len(hours),
        top=top,
        total=sum(h.reminders for h in hours),
        busiest=busiest if busiest and busiest.reminders else None,
    )


def _rounded_up(highest: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ... that is not less."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if factor * step >= highest:
                return factor * step
        step *= 10
