"""Which reminders an enrollment gets, and when.

Pure: start, rules and the present instant in; what is wanted out. What that does to the rows that
there are is `reminders.domain.revise`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from reminders.domain.errors import InvalidInputError, NaiveInstantError
from reminders.domain.model import ReminderRule, ReminderStatus, StatusReason

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
"""The first instant that the ledger keeps, and that every zone can show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DueReminder:
    """One reminder as the rules want it."""

    reminder_type: str
    due_at: datetime
    status: ReminderStatus
    """`scheduled`, or `skipped` with the reason."""
    reason: StatusReason | None = None


def plan(
    starts_at: datetime, rules: Iterable[ReminderRule], *, now: datetime
) -> tuple[DueReminder, ...]:
    """The reminders a session needs, earliest first.

    A reminder is due one lead before the start, in elapsed time. One whose instant has already
    passed is *skipped*, not sent late: a "tomorrow" mail on the day is worse than none.

    Args:
        starts_at: Start of the session; aware, any zone.
        rules: Disabled ones are left out, and those of notices; types are unique.
        now: The instant to judge by; aware.

    Returns:
        Due instants in UTC, ascending, every one before `starts_at`.

    Raises:
        NaiveInstantError: If an instant carries no zone.
        InvalidInputError: If a lead is not positive.

    Source:
        RFC 5545 §3.8.6.3 (TRIGGER relative to DTSTART).
    """
    starts_at, now = _utc(starts_at, "starts_at"), _utc(now, "now")
    due = []
    for rule in rules:
        if not rule.is_enabled or rule.is_notice:
            continue
        if rule.lead <= timedelta():
            raise InvalidInputError(
                f"minutes_before of {rule.reminder_type!r} must be positive", field="minutes_before"
            )
        due_at = due_before(starts_at, rule.lead)
        if starts_at <= now:
            status, reason = ReminderStatus.SKIPPED, StatusReason.SESSION_STARTED
        elif due_at < now:
            status, reason = ReminderStatus.SKIPPED, StatusReason.PAST_DUE
        else:
            status, reason = ReminderStatus.SCHEDULED, None
        due.append(
            DueReminder(
                reminder_type=rule.reminder_type, due_at=due_at, status=status, reason=reason
            )
        )
    return tuple(sorted(due, key=lambda d: (d.due_at, d.reminder_type)))


def due_before(starts_at: datetime, lead: timedelta) -> datetime:
    """One lead before a start; the beginning of the calendar if that lies before it.

    A rule whose lead somebody mistyped by thousands of years is long past due, for everybody, and
    is no reason not to plan the others.
    """
    try:
        return max(starts_at - lead, _BEGINNING)
    except OverflowError:
        return _BEGINNING


def withheld(
    wanted: Iterable[DueReminder], reasons: Mapping[str, StatusReason]
) -> tuple[DueReminder, ...]:
    """The same reminders, without those that this person is not to get for now.

    Args:
        wanted: What `plan()` returned; what is skipped already stays as it is.
        reasons: Why not, by reminder type.
    """
    return tuple(
        replace(want, status=ReminderStatus.SKIPPED, reason=reasons[want.reminder_type])
        if want.status is ReminderStatus.SCHEDULED and want.reminder_type in reasons
        else want
        for want in wanted
    )


def _utc(instant: datetime, field: str) -> datetime:
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise NaiveInstantError(field)
    return instant.astimezone(UTC)
