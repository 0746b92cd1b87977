"""What the ledger must say of one enrollment: its reminders, and its notices."""

from __future__ import annotations

from reminders.domain.case import Case
from reminders.domain.keys import reminder_id
from reminders.domain.model import EnrollmentStatus, Reminder, ReminderStatus, StatusReason
from reminders.domain.notices import announced
from reminders.domain.plan import plan, withheld
from reminders.domain.revise import Revision, call_off, is_personal, revise


def revised(case: Case) -> Revision:
    """The revision of an enrollment's rows; what is as it should be is in it unchanged."""
    reason = case.called_off
    if reason is None:
        return _reminders(case) + announced(case)
    if case.enrollment in (None, EnrollmentStatus.CANCELLED):
        return call_off(case.recorded, reason)
    off = call_off([row for row in case.recorded if row.notice is None], reason)
    return (_with_the_session(off, reason) if case.enrolling else off) + announced(case)


def _with_the_session(off: Revision, reason: StatusReason) -> Revision:
    """Whoever enrolls while a session is off is reminded again once it is held, as all others are.

    What was called off for them alone is followed by what is called off with the session.
    """
    personal = [row for row in off.unchanged if is_personal(row)]
    return Revision(
        added=tuple(
            Reminder(
                id=reminder_id(r.session_id, r.user_id, r.reminder_type, r.generation + 1),
                session_id=r.session_id,
                user_id=r.user_id,
                reminder_type=r.reminder_type,
                generation=r.generation + 1,
                due_at=r.due_at,
                starts_at=r.starts_at,
                status=ReminderStatus.CANCELLED,
                reason=reason,
            )
            for r in personal
        ),
        changed=off.changed,
        unchanged=tuple(row for row in off.unchanged if row not in personal),
    )


def _reminders(case: Case) -> Revision:
    """Of a session that is held and a person who takes part."""
    wanted = plan(case.session.starts_at, case.rules, now=case.now)
    return revise(
        withheld(wanted, case.withheld),
        case.recorded,
        session_id=case.session.id,
        user_id=case.user_id,
        starts_at=case.session.starts_at,
        threshold=case.threshold,
        enrolling=case.enrolling,
    )
