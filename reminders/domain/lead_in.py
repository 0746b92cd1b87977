"""How long before a reminder is due its workflow wakes, so that a crowd is ready on time.

Pure. Waking costs Temporal a few milliseconds for each workflow, and a big session's reminders
fall due in the same instant. So its workflows wake one after the other, a little before, and the
delivery pipeline lets their e-mails go at the due instant, never earlier.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

UNTOUCHED = 100
"""Enrollments of a session that wake when they are due: one full request."""
APART = timedelta(milliseconds=20)
"""Between two that wake early: what two cores and the smallest Temporal server keep up with."""
LONGEST = timedelta(seconds=60)
COUNTED = UNTOUCHED + LONGEST // APART
"""How many must be enrolled for the longest lead-in; counting stops there."""

_FRACTIONS = 2**32


def lead_in(enrolled: int, user_id: UUID, *, is_newest: bool) -> timedelta | None:
    """How long before a due instant one enrollment's workflow wakes.

    People who enroll one after the other get places one after the other. When a whole session is
    planned anew, everybody gets a place by their id, spread evenly over the same window.

    Args:
        enrolled: How many are enrolled in the session, this one included; above `COUNTED` the
            number makes no difference.
        user_id: Who.
        is_newest: Whether they have just come.

    Returns:
        At most 60 seconds; `None` is no lead-in, as in a small session.
    """
    window = (min(enrolled, COUNTED) - UNTOUCHED) * APART
    if window <= timedelta():
        return None
    if is_newest and window < LONGEST:
        return window
    place = window * ((user_id.int % _FRACTIONS) / _FRACTIONS)
    return timedelta(milliseconds=place // timedelta(milliseconds=1))
