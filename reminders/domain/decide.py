"""Send it, skip it, or wait: the decision at the moment of sending.

Pure. Whatever changed while the workflow slept (the session moved, the attendee left, the rule was
switched off) is judged here, on facts read in the same transaction that claims the reminder.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reminders.domain.model import (
    DeliveryFacts,
    EnrollmentStatus,
    Notice,
    Reminder,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
    Turn,
)
from reminders.domain.notices import NOTICEABLE, is_taken_back
from reminders.domain.plan import due_before
from reminders.domain.revise import due_as_requested


@dataclass(frozen=True, slots=True)
class Send:
    """It goes out now."""


@dataclass(frozen=True, slots=True)
class Close:
    """It never goes out."""

    status: ReminderStatus
    reason: StatusReason


@dataclass(frozen=True, slots=True)
class Wait:
    """It is not due yet."""

    due_at: datetime
    starts_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """It has already ended, or is frozen in a request; there is nothing to decide."""


@dataclass(frozen=True, slots=True)
class Pause:
    """It is to go out, but not before its session has been taken over from another system."""


Decision = Send | Close | Wait | Settled | Pause


def decide(facts: DeliveryFacts, *, now: datetime) -> Decision:
    """What to do with a reminder whose workflow woke up.

    Args:
        facts: The reminder and everything it depends on, as they are now.
        now: The instant to judge by; aware.

    Returns:
        `Send` only if the session still takes place and lies ahead, the attendee is enrolled, has an
        address and wants it, the rule is on, and start minus lead has been reached, or the instant at which an
        operator asked for it. What they asked for goes out whatever else is due. A notice goes out
        if what it tells is still so; the one of a cancellation only while the session is cancelled.
    """
    if facts.reminder.status is not ReminderStatus.SCHEDULED:
        return Settled()
    session, rule, notice = facts.session, facts.rule, facts.reminder.notice
    if session is None:
        return Close(ReminderStatus.CANCELLED, StatusReason.SESSION_DELETED)
    is_cancelled = session.status is SessionStatus.CANCELLED
    if is_cancelled and notice is not Notice.CANCELLED:
        return Close(ReminderStatus.CANCELLED, StatusReason.SESSION_CANCELLED)
    if notice is Notice.CANCELLED and not is_cancelled:
        return Close(ReminderStatus.SKIPPED, StatusReason.TAKEN_BACK)
    if (unwanted := _unwanted_by_attendee(facts)) is not None:
        return unwanted
    if rule is None or not rule.is_enabled:
        return Close(ReminderStatus.SKIPPED, StatusReason.RULE_DISABLED)
    if now >= session.starts_at:
        return _too_late(facts.reminder, session)
    if notice is not None:
        due_at = facts.reminder.due_at
    else:
        due_at = due_as_requested(
            facts.reminder, due_before(session.starts_at, rule.lead), starts_at=session.starts_at
        )
    if now < due_at:
        return Wait(due_at, session.starts_at)
    return _needless(facts, session, now=now) or _unreachable(facts) or _IN_TURN[facts.turn]


def _needless(facts: DeliveryFacts, session: Session, *, now: datetime) -> Close | None:
    """Why a reminder that is due would tell nothing new; what an operator asked for always does."""
    if facts.reminder.requested_at is not None:
        return None
    notice = facts.reminder.notice
    if facts.is_quiet and notice in (Notice.CANCELLED, Notice.MOVED):
        return Close(ReminderStatus.SKIPPED, StatusReason.UNTOLD)
    if notice is Notice.MOVED:
        if not facts.was_called_off and is_taken_back(facts.reminder, session.starts_at):
            return Close(ReminderStatus.SKIPPED, StatusReason.TAKEN_BACK)
        if facts.told_already:
            return Close(ReminderStatus.SKIPPED, StatusReason.ALREADY_TOLD)
    # Planned for another start, to which the session had moved for a while. What was planned for
    # this start is wanted, whatever was told before.
    elif notice is None and facts.was_told and facts.reminder.starts_at != session.starts_at:
        return Close(ReminderStatus.SKIPPED, StatusReason.ALREADY_TOLD)
    next_due_at = _taken_over_at(facts)
    if next_due_at is not None and now >= next_due_at:
        return Close(ReminderStatus.SKIPPED, StatusReason.SUPERSEDED)
    return None


def moved_from(
    told: datetime | None, starts_at: datetime | None, *, now: datetime
) -> datetime | None:
    """The start that a person was told last, if the session has moved away from it, as clocks show.

    One that has passed took place: a weekly class is kept in one row, and is not moved each week.
    """
    if told is None or told <= now:
        return None
    return told if starts_at is None or abs(told - starts_at) >= NOTICEABLE else None


def superseded_at(facts: DeliveryFacts, *, now: datetime) -> datetime | None:
    """From when on a reminder that goes out now is not to be repeated, for its next one's sake.

    A little before the next is due: two e-mails within seconds are one too many.

    Returns:
        `None` if no later one takes its place: it is the last, or an operator asked for it.
    """
    next_due_at = _taken_over_at(facts)
    if next_due_at is None or facts.reminder.requested_at is not None:
        return None
    return next_due_at - min(_APART, (next_due_at - now) / 2)


def _taken_over_at(facts: DeliveryFacts) -> datetime | None:
    """When the next reminder says what this one would; it tells of a move as well, not of other news."""
    return facts.next_due_at if facts.reminder.notice in (None, Notice.MOVED) else None


_APART = timedelta(minutes=1)
"""Between an e-mail that is repeated, and the next one to the same person."""

_IN_TURN: dict[Turn, Decision] = {
    Turn.OURS: Send(),
    Turn.THEIRS: Close(ReminderStatus.SKIPPED, StatusReason.SHADOWED),
    Turn.BETWEEN: Pause(),
}
"""What becomes of a reminder that is to go out now."""


def _unwanted_by_attendee(facts: DeliveryFacts) -> Close | None:
    """The reason why this person is not to be reminded, if there is one."""
    enrollment = facts.enrollment_status
    if facts.attendee is None or enrollment is None or enrollment is EnrollmentStatus.CANCELLED:
        return Close(ReminderStatus.CANCELLED, StatusReason.UNENROLLED)
    if enrollment is EnrollmentStatus.PENDING:
        return Close(ReminderStatus.SKIPPED, StatusReason.UNCONFIRMED)
    if facts.stopped is not None:
        return Close(ReminderStatus.SKIPPED, facts.stopped)
    return None


def _unreachable(facts: DeliveryFacts) -> Close | None:
    """Whether there is nowhere to send it; judged at the instant, until which one may be added."""
    return None if facts.has_address else Close(ReminderStatus.SKIPPED, StatusReason.NO_ADDRESS)


def _too_late(reminder: Reminder, session: Session) -> Close:
    """Why a reminder meets a session that has begun.

    Planned for this very start, it should have gone out and did not; planned for another, the
    session was moved into the past.
    """
    if reminder.starts_at == session.starts_at:
        return Close(ReminderStatus.FAILED, StatusReason.EXPIRED)
    return Close(ReminderStatus.SKIPPED, StatusReason.SESSION_STARTED)
