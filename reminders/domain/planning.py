"""What the ledger must say of one enrollment: its reminders, and its notices."""

from __future__ import annotations

from reminders.domain.case import Case
from reminders.domain.model import EnrollmentStatus, ReminderStatus, StatusReason
from reminders.domain.notices import announced
from reminders.domain.plan import plan, withheld
from reminders.domain.revise import Revision, call_off, close, is_personal, revise


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

    What was called off for them alone is called off with the session from now on.
    """
    personal = [row for row in off.unchanged if is_personal(row)]
    return Revision(
        added=off.added,
        changed=(*off.changed, *(close(r, ReminderStatus.CANCELLED, reason) for r in personal)),
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
