"""How long before a reminder is due its workflow wakes, so that everybody is ready on time.

Pure. Waking costs Temporal a few milliseconds for each workflow, and the reminders of a session
fall due in the same instant. So its workflows wake one after the other, a little before, and the
delivery pipeline lets their e-mails go at the due instant, never earlier. How fast they can wake is
measured whenever a crowd does.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

SHORTEST = timedelta(seconds=1)
"""Even one workflow takes a moment to wake, and a busy server more than one."""
APART = timedelta(milliseconds=30)
"""Between two that wake, until it was measured: what two slow cores and the smallest Temporal server
keep up with."""
QUICKEST, SLOWEST = timedelta(milliseconds=20), timedelta(milliseconds=50)
"""However quick or slow the server, neither closer together nor further apart."""
LONGEST = timedelta(minutes=10)
COUNTED = (LONGEST - SHORTEST) // SLOWEST
"""How many must be enrolled for the longest lead-in; counting stops there."""
CROWD = 200
"""So many in one instant tell how fast workflows wake; of fewer the first and the last lie too close
together."""

_RELAXED = 0.98
"""Of what lay between two, once a crowd was there in time: nearly as much, for the first that is too
close together is late."""
_HEADROOM = 1.1
"""Of what a crowd took that was late: a server at its limit does nothing else."""
_FRACTIONS = 2**32


def lead_in(
    enrolled: int, user_id: UUID, *, is_newest: bool, apart: timedelta = APART
) -> timedelta:
    """How long before a due instant one enrollment's workflow wakes.

    People who enroll one after the other get places one after the other. When a whole session is
    planned anew, everybody gets a place by their id, spread evenly over the same window.

    Args:
        enrolled: How many are enrolled in the session, this one included, or wait for the same
            instant; above `COUNTED` the number makes no difference.
        user_id: Who.
        is_newest: Whether they have just come.
        apart: Between two that wake; see `learned`.

    Returns:
        From one second to ten minutes; to six where the server is not slow.
    """
    window = _window(enrolled, apart)
    if is_newest and enrolled < COUNTED:
        return SHORTEST + window
    place = window * ((user_id.int % _FRACTIONS) / _FRACTIONS)
    return SHORTEST + timedelta(milliseconds=place // timedelta(milliseconds=1))


def crowd_cooling(cooling: timedelta, enrolled: int, *, apart: timedelta) -> timedelta:
    """How long a move is waited with before it is told to so many.

    Before the first workflow wakes for it, all are to have the new plan: waking, sending and ending
    would keep the others from it. They have it in half the time that it takes them to wake.

    Args:
        cooling: How long for a few; nothing means that nobody is to wait.
        enrolled: How many are enrolled in the session.
        apart: Between two that wake.
    """
    return max(cooling, min(1.5 * _window(enrolled, apart), LONGEST)) if cooling else cooling


def _window(enrolled: int, apart: timedelta) -> timedelta:
    return min(enrolled, COUNTED) * apart


def learned(apart: timedelta, *, woken: int, took: timedelta, were_late: bool) -> timedelta:
    """How far apart workflows are to wake once it was seen how a crowd woke.

    Args:
        apart: As it was.
        woken: How many were due in the same instant.
        took: From the first that was there to the last.
        were_late: Whether the last came after the instant.

    Returns:
        From `QUICKEST` to `SLOWEST`.
    """
    # Those who were late although they woke as quickly as planned were late for another reason, such
    # as a worker that took over from one that was stopped.
    counted = min(woken, COUNTED)  # more share the same window
    apart = max(apart, took / counted * _HEADROOM) if were_late else apart * _RELAXED
    return min(max(apart, QUICKEST), SLOWEST)
