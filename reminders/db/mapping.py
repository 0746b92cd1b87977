"""Rows of tables to the words of the domain, and back: a column is a field of the same name.

`_DIFFERENT` says which are not. So a new column of one of these tables needs no line in this package
but its own in `tables`, and in `existing_platform` if it is the platform's.

A platform's view may show several rows of one person, session or enrollment: a join shows somebody
twice, or a history is kept as rows. Whoever is concerned is served by the same row everywhere: a
confirmed enrollment before a pending one before one that has ended, a session that takes place
before one that does not, then the earlier, and of a person the first address by name. `doctor`
counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, case

from reminders.db.tables import EnrollmentRow, SessionRow, UserRow
from reminders.domain.model import (
    Attendee,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)

Record = Mapping[Any, Any]
"""Column name to value."""

_REASONS: Mapping[str | None, StatusReason] = {reason.value: reason for reason in StatusReason}


def reason(word: str | None) -> StatusReason | None:
    """A reason; one that a later release has written, and this one does not know, reads as none."""
    return _REASONS.get(word)


def _lead(minutes: int) -> timedelta:
    return timedelta(minutes=minutes)


_Entity = TypeVar("_Entity")
_DIFFERENT: Mapping[type, Mapping[str, str]] = {
    Session: {"starts_at": "start_time", "ends_at": "end_time"},
    Attendee: {"user_id": "id"},
    ReminderRule: {"lead": "minutes_before", "subject_template": "email_subject_template"},
    Reminder: {"status": "email_status", "reason": "status_reason"},
}
"""Fields whose column has another name."""
_READ: Mapping[type, Mapping[str, Callable[[Any], Any]]] = {
    Session: {"status": SessionStatus},
    ReminderRule: {"lead": _lead},
    Reminder: {"status": ReminderStatus, "reason": reason},
}
"""What makes a field of what its column holds, where that is not the same."""


@dataclass(frozen=True, slots=True)
class _Table(Generic[_Entity]):
    """One table and the dataclass that a row of it becomes."""

    entity: type[_Entity]
    columns: Mapping[str, str]
    """By field."""

    def read(self, row: Record, prefix: str = "") -> _Entity:
        """The entity of a row, whose columns may have a prefix, and others beside them."""
        found = {field: row[prefix + column] for field, column in self.columns.items()}
        for field, convert in _READ.get(self.entity, {}).items():
            found[field] = convert(found[field])
        return self.entity(**found)

    def values(self, entity: _Entity) -> dict[str, Any]:
        """What to write of an entity, by column."""
        values = {column: getattr(entity, field) for field, column in self.columns.items()}
        if "minutes_before" in values:
            values["minutes_before"] //= timedelta(minutes=1)
        return values

    def selected(self, alias: str) -> str:
        """SQL: these columns of a row, each with the alias before its name: `s.id AS s_id, ...`."""
        return ", ".join(
            f"{alias}.{column} AS {alias}_{column}" for column in self.columns.values()
        )


def _table(entity: type[_Entity]) -> _Table[_Entity]:
    names = [field.name for field in fields(entity)]  # type: ignore[arg-type]  # all dataclasses
    different = _DIFFERENT[entity]
    return _Table(entity, {name: different.get(name, name) for name in names})


SESSIONS = _table(Session)
ATTENDEES = _table(Attendee)
RULES = _table(ReminderRule)
REMINDERS = _table(Reminder)

session, attendee = SESSIONS.read, ATTENDEES.read
rule, reminder = RULES.read, REMINDERS.read


_LAST = 2
_STATUSES = {"confirmed": 0, "pending": 1}

ENROLLMENT_ORDER = "array_position(ARRAY['confirmed', 'pending'], e.status)"
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


def best_deliveries(rows: Iterable[Record]) -> Iterable[Record]:
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
