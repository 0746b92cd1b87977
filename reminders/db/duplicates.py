"""Which row of a person, a session or an enrollment counts where a platform's view shows several.

In our own tables there is one; in a platform's a join may show somebody twice, or a history may be
kept as rows. Whoever is concerned is served by the same row everywhere: a confirmed enrollment
before a pending one before one that has ended, a session that takes place before one that does not,
then the earlier, and of a person the first address by name. `doctor` counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, case

from reminders.db.mapping import Record
from reminders.db.tables import EnrollmentRow, SessionRow, UserRow

_LAST = 2
_STATUSES = {"confirmed": 0, "pending": 1}

ENROLLMENT = "array_position(ARRAY['confirmed', 'pending'], e.status)"
"""SQL over a row `e`; those that have ended come last, as NULL."""


def enrollments_first() -> tuple[ColumnElement[Any], ...]:
    """To order enrollments of one person in one session by."""
    return (case(_STATUSES, value=EnrollmentRow.status, else_=_LAST),)


def sessions_first() -> tuple[Any, ...]:
    """To order rows of one session by."""
    return (SessionRow.status.desc(), SessionRow.start_time)


def people_first() -> tuple[Any, ...]:
    """To order rows of one person by."""
    return (UserRow.email == "", UserRow.email)


def deliveries(rows: Iterable[Record]) -> Iterable[Record]:
    """Of what a delivery has read, one row for each reminder."""
    best: dict[Any, Record] = {}
    for row in rows:
        known = best.get(row["id"])
        if known is None or _rank(row) < _rank(known):
            best[row["id"]] = row
    return best.values()


def _rank(row: Record) -> tuple[Any, ...]:
    email = row["u_email"] or ""
    return (
        row["s_status"] != "scheduled",
        row["s_start_time"],
        _STATUSES.get(row["enrollment_status"], _LAST),
        not email,
        email,
    )
