"""An operator asks for a reminder, once more or now: whether it may be, and what it is then.

Pure. What has ended stays as it is; the second sending is a new generation of the same reminder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from reminders.domain.errors import SendRefusedError
from reminders.domain.keys import reminder_id
from reminders.domain.model import (
    EnrollmentStatus,
    Notice,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.plan import due_before
from reminders.domain.revise import is_called_off, newest_of


class Refusal(StrEnum):
    """Why a reminder is not sent once more, or not now, as counts name it."""

    STILL_WAITS = "still_waits"
    ENDED = "ended"
    IN_FLIGHT = "in_flight"
    SESSION_CANCELLED = "session_cancelled"
    SESSION_STARTED = "session_started"
    TAKEN_BACK = "taken_back"
    NOT_ENROLLED = "not_enrolled"
    CALLED_OFF = "called_off"
    STOPPED = "stopped"
    RULE_OFF = "rule_off"
    OUTCOME_UNKNOWN = "outcome_unknown"
    """Of a redrive only: it may have been accepted after all; look first, then ask by its id."""
    SUPERSEDED = "superseded"
    """Of a redrive only: a later reminder of the same enrollment is sent, or is sent instead."""


def successor(row: Reminder, recorded: Collection[Reminder]) -> Reminder | None:
    """The generation after this one, if there is one: the answer to somebody who asks twice."""
    return next(
        (
            other
            for other in recorded
            if (other.reminder_type, other.generation) == (row.reminder_type, row.generation + 1)
        ),
        None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What a reminder that somebody asks for is judged by."""

    session: Session
    """As it is now."""
    enrollment: EnrollmentStatus | None
    """Absent when it was deleted."""
    rule: ReminderRule | None
    """The one that counts for the session; absent when it was deleted."""
    stopped: StatusReason | None
    """Why this person is not to get it, if they are not."""
    now: datetime
    """Aware."""


def once_more(
    row: Reminder, recorded: Collection[Reminder], circumstances: Circumstances
) -> Reminder:
    """The next generation of a reminder that has ended.

    It is due one lead before the start, or now if that has passed. Then it carries the instant at
    which it was asked for, so that no later plan takes it for past due.

    Args:
        row: The newest generation.
        recorded: All ledger rows of the enrollment.
        circumstances: What counts for it.

    Raises:
        SendRefusedError: If it may not be; the message says the remedy.
    """
    if row.status is ReminderStatus.SCHEDULED:
        raise _refused(
            Refusal.STILL_WAITS,
            f"it still waits, until {row.due_at:%Y-%m-%d %H:%M} UTC; have it sent now instead",
        )
    if row.status is ReminderStatus.SENDING:
        raise _refused(Refusal.IN_FLIGHT, "it is being sent; wait for its outcome, then ask again")
    rule = _rule_of_wanted(row, recorded, circumstances)
    if row.notice is Notice.MOVED and row.reason is StatusReason.TAKEN_BACK:
        raise _refused(Refusal.TAKEN_BACK, "it starts when this person knows that it does")
    session, now = circumstances.session, circumstances.now
    due_at = due_before(session.starts_at, rule.lead)
    is_over = due_at < now or rule.is_notice
    generation = row.generation + 1
    return Reminder(
        id=reminder_id(row.session_id, row.user_id, row.reminder_type, generation),
        session_id=row.session_id,
        user_id=row.user_id,
        reminder_type=row.reminder_type,
        generation=generation,
        due_at=now if is_over else due_at,
        starts_at=session.starts_at,
        status=ReminderStatus.SCHEDULED,
        requested_at=now if is_over else None,
        moved_from=row.moved_from,
    )


def at_once(
    row: Reminder, recorded: Collection[Reminder], circumstances: Circumstances
) -> Reminder:
    """A reminder that still waits, due now.

    One that is due already, is being sent, or went out after it was asked for, stays as it is: the
    answer to somebody who asks twice.

    Args:
        row: As it is recorded.
        recorded: All ledger rows of the enrollment.
        circumstances: What counts for it.

    Raises:
        SendRefusedError: If it may not be; the message says the remedy.
    """
    if row.status is ReminderStatus.SENDING or (row.requested_at and row.status.is_accepted):
        return row
    if row.status is not ReminderStatus.SCHEDULED:
        raise _refused(
            Refusal.ENDED, f"it no longer waits ({row.status}); have it sent once more instead"
        )
    _rule_of_wanted(row, recorded, circumstances)
    session, now = circumstances.session, circumstances.now
    if row.due_at <= now and row.starts_at == session.starts_at:
        return row
    return replace(row, due_at=now, starts_at=session.starts_at, requested_at=now)


def _rule_of_wanted(
    row: Reminder, recorded: Collection[Reminder], circumstances: Circumstances
) -> ReminderRule:
    """The rule of a reminder that is still of use, to somebody who may get it.

    Raises:
        SendRefusedError: If it is of none, or they may not.
    """
    session, rule = circumstances.session, circumstances.rule
    is_cancelled = session.status is SessionStatus.CANCELLED
    if is_cancelled and row.notice is not Notice.CANCELLED:
        raise _refused(Refusal.SESSION_CANCELLED, "its session is cancelled; restore it first")
    if row.notice is Notice.CANCELLED and not is_cancelled:
        raise _refused(Refusal.TAKEN_BACK, "its session takes place, which is not what it tells")
    if circumstances.now >= session.starts_at:
        raise _refused(
            Refusal.SESSION_STARTED, "its session has begun, and nobody is reminded of the past"
        )
    if circumstances.enrollment is not EnrollmentStatus.CONFIRMED:
        raise _refused(
            Refusal.NOT_ENROLLED, "the person is not enrolled; enroll them first, which plans anew"
        )
    if is_called_off(newest_of(recorded).values()):
        raise _refused(
            Refusal.CALLED_OFF,
            "the person's reminders were called off; enroll them once more, which plans anew",
        )
    if circumstances.stopped is not None:
        raise _refused(
            Refusal.STOPPED,
            f"the person is not to get it ({circumstances.stopped}); only they can change that, or"
            " an address that takes mail",
        )
    if rule is None or not rule.is_enabled:
        raise _refused(Refusal.RULE_OFF, "its rule is off or deleted; switch it on first")
    return rule


OF_ONE = frozenset({Refusal.TAKEN_BACK, Refusal.RULE_OFF, Refusal.STOPPED})
"""Why one reminder is not sent, although an earlier one of the same person may be."""


def failed_ones(
    recorded: Collection[Reminder], *, now: datetime, refused: Collection[UUID] = ()
) -> tuple[Reminder | None, tuple[Refusal, ...]]:
    """Which of an enrollment's failed reminders a redrive takes: one e-mail a person, the latest.

    Args:
        recorded: All ledger rows of the enrollment.
        now: The instant to judge by: a later reminder that is due takes their place; aware.
        refused: Those that turned out not to be sent, for a reason of their own.

    Returns:
        The one to send, if there is one, and why each of the others is left alone.
    """
    newest = sorted(newest_of(recorded).values(), key=lambda r: (r.due_at, r.reminder_type))
    chosen: Reminder | None = None
    left: list[Refusal] = []
    is_served = False
    for row in reversed(newest):
        if row.id in refused:
            continue
        if row.status is not ReminderStatus.FAILED:
            is_due = row.status.is_pending and row.due_at <= now
            is_served |= row.status.is_accepted or is_due
        elif row.reason is StatusReason.OUTCOME_UNKNOWN:
            left.append(Refusal.OUTCOME_UNKNOWN)
        elif is_served:
            left.append(Refusal.SUPERSEDED)
        else:
            chosen, is_served = row, True
    return chosen, tuple(left)


def _refused(why: Refusal, message: str) -> SendRefusedError:
    return SendRefusedError(message, why=why)
