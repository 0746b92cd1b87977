"""Who is told of a change: that the session was cancelled or moved, or the enrollment confirmed.

Pure. A notice is a row of the ledger like any other, due now or in a moment. What was known until
now stands in the rows themselves: the start that they were planned for, and what e-mails have told.
So nobody has to say what has changed, and it makes no difference who noticed: the call that changed
it, or a sweep over the tables of a platform that said nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reminders.domain.case import Case
from reminders.domain.keys import reminder_id
from reminders.domain.model import (
    EnrollmentStatus,
    Notice,
    Reminder,
    ReminderStatus,
    SessionStatus,
    StatusReason,
)
from reminders.domain.revise import Revision, close, is_called_off, is_personal, newest_of

NOTICEABLE = timedelta(minutes=1)
"""What clocks show: by less nothing has moved."""
_SHARE = 4
"""A move is waited with for no more than this part of the time that is left."""


def announced(case: Case) -> Revision:
    """What the ledger must say of an enrollment's notices; reminders are left to `revise`.

    *Cancelled* and *moved* are for whoever is confirmed and whose start, as last planned, still
    lies ahead. *Confirmed* is for whoever enrolls, and for whoever was pending. Somebody who is
    not to get it for a reason of their own has a row that says so. Whoever was called off by hand
    is told nothing, and neither is anybody while the rule is off.

    Safe to repeat: told once, or recorded once why not.
    """
    newest = newest_of(case.recorded)
    known = _Known.of(case.recorded, newest)
    rows = {kind: newest.get(kind) for kind in Notice}
    if not case.enrolling and is_called_off(newest.values()):
        revised = {
            kind: row and _closed(row, ReminderStatus.CANCELLED, StatusReason.WORKFLOW_CANCELLED)
            for kind, row in rows.items()
        }
    else:
        revised = {kind: _revised(case, kind, row, known) for kind, row in rows.items()}
    pairs = [(rows[kind], row) for kind, row in revised.items() if row is not None]
    return Revision(
        added=tuple(now for was, now in pairs if was is None or was.id != now.id),
        changed=tuple(now for was, now in pairs if was and was.id == now.id and was != now),
        unchanged=tuple(now for was, now in pairs if was == now),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What a person knows of a session, as far as the ledger can tell."""

    newest: Mapping[str, Reminder]
    planned: Reminder | None
    """Planned last, or as late as any: for the start that counted until now."""
    told: Reminder | None
    """What the newest plan of which anything went out has told."""

    @classmethod
    def of(cls, recorded: Collection[Reminder], newest: Mapping[str, Reminder]) -> _Known:
        """What follows from all rows, and the newest generation of every type."""
        rows = sorted((r for r in newest.values() if not _is_unheard_of(r)), key=_by_plan)
        waiting = [r for r in rows if r.status is ReminderStatus.SCHEDULED and r.notice is None]
        out = sorted((r for r in recorded if r.is_out or _may_be_out(r)), key=_by_sending)
        # All that wait were planned together; what has ended may be of an earlier start.
        planned = (waiting or rows)[-1] if rows else None
        return cls(newest=newest, planned=planned, told=out[-1] if out else None)

    @property
    def is_anew(self) -> bool:
        """Whether somebody who enrolls now had been enrolled, and was called off."""
        return any(is_personal(row) for row in self.newest.values())

    def start(self) -> datetime | None:
        """The start that they reckon with: as planned, unless they were never told of that one.

        It moved and was called off before that was told, or back before we knew of it, or into the
        past, which nobody is told.
        """
        planned, told, moved = self.planned, self.told, self.newest.get(Notice.MOVED)
        if planned is None:
            return None
        if told is not None and told.plan_version >= planned.plan_version:
            return told_start(told)
        if moved is not None and moved.moved_from is not None:
            is_untold = (
                moved.reason in (StatusReason.SESSION_STARTED, StatusReason.TAKEN_BACK)
                and moved.starts_at == planned.starts_at
            )
            if is_untold or moved.reason is StatusReason.SESSION_CANCELLED:
                return moved.moved_from
        return planned.starts_at

    def called_off_by(self) -> Reminder | None:
        """What says that it is cancelled, if nothing was told since.

        What nobody was to be told of, they may have heard: that it takes place, or not, after all.
        """
        if self.told is None or self.told.notice is not Notice.CANCELLED:
            return None
        heard = [r for r in self.newest.values() if r.reason is StatusReason.UNTOLD]
        last = max([self.told, *heard], key=_by_plan)
        return last if last.notice is Notice.CANCELLED else None

    def was_told_of(self, starts_at: datetime) -> bool:
        """Whether an e-mail has told this start, though nothing was planned for it yet."""
        told, planned = self.told, self.planned
        if told is None or planned is None:
            return False
        return told.starts_at == starts_at and told.plan_version >= planned.plan_version


def told_start(row: Reminder) -> datetime:
    """The start that an e-mail told: a cancellation names the one that people knew."""
    return (row.moved_from if row.notice is Notice.CANCELLED else None) or row.starts_at


def _may_be_out(row: Reminder) -> bool:
    """Whether somebody may believe that the session is cancelled: to say so once too often is better."""
    return row.notice is Notice.CANCELLED and row.reason is StatusReason.OUTCOME_UNKNOWN


def _is_unheard_of(row: Reminder) -> bool:
    """Whether it is a cancellation that nobody heard of: nor do they reckon with its start."""
    is_unsent = row.status in (ReminderStatus.SCHEDULED, ReminderStatus.SKIPPED)
    return row.notice is Notice.CANCELLED and is_unsent and row.reason is not StatusReason.UNTOLD


def _by_plan(row: Reminder) -> tuple[int, bool, datetime]:
    """The order in which rows were planned, as far as it is known."""
    return row.plan_version, row.notice is not None, row.due_at


def _by_sending(row: Reminder) -> tuple[int, bool, datetime]:
    """The order in which what is out was sent; what may be on its way comes last of its plan."""
    return row.plan_version, row.sent_at is None, row.sent_at or row.due_at


def _revised(case: Case, kind: Notice, row: Reminder | None, known: _Known) -> Reminder | None:
    """The newest notice of a kind as it is to be: as it was, changed, or a new generation."""
    if row is not None and row.status is ReminderStatus.SCHEDULED:
        return _while_it_waits(case, kind, row, known)
    if case.is_on(kind):
        new = _NEW[kind](case, row, known)
        if new is not None:
            return new
    is_known_anew = row is not None and case.enrolling and is_personal(row)
    if is_known_anew or (kind is Notice.MOVED and _has_no_other_row(case)):
        return _next(case, kind, row, status=ReminderStatus.SKIPPED, reason=StatusReason.TAKEN_BACK)
    return row


def _has_no_other_row(case: Case) -> bool:
    """Whether nothing else will say later that they took part, and in what: no reminder is planned."""
    return (
        case.session.status is SessionStatus.SCHEDULED
        and (case.is_on(Notice.CANCELLED) or case.is_on(Notice.MOVED))
        and not case.recorded
        and not any(rule.is_enabled and not rule.is_notice for rule in case.rules)
    )


def _while_it_waits(case: Case, kind: Notice, row: Reminder, known: _Known) -> Reminder:
    """A notice that waits, judged by what is so now."""
    session = case.session
    is_cancelled = session.status is SessionStatus.CANCELLED
    if not case.is_on(kind):
        return _closed(row, ReminderStatus.SKIPPED, StatusReason.RULE_DISABLED)
    if is_cancelled and kind is not Notice.CANCELLED:
        return _closed(row, ReminderStatus.CANCELLED, StatusReason.SESSION_CANCELLED)
    if not is_cancelled and kind is Notice.CANCELLED:
        return _closed(row, ReminderStatus.SKIPPED, StatusReason.TAKEN_BACK)
    if (why := case.withheld.get(kind)) is not None:
        return _closed(row, ReminderStatus.SKIPPED, why)
    if kind is Notice.MOVED and row.starts_at != session.starts_at:
        return _moved_on(case, row, known)
    now_at = replace(row, starts_at=session.starts_at)
    # What an operator asked for is asked for.
    if case.is_quiet and kind is not Notice.CONFIRMED and row.requested_at is None:
        return close(now_at, ReminderStatus.SKIPPED, StatusReason.UNTOLD)
    return now_at


def _moved_on(case: Case, row: Reminder, known: _Known) -> Reminder:
    """A notice of a move that waits, of a session that has moved once more."""
    session, now_at = case.session, replace(row, starts_at=case.session.starts_at)
    if known.was_told_of(row.starts_at):
        now_at = replace(now_at, moved_from=row.starts_at)
    if is_taken_back(now_at, session.starts_at) and known.called_off_by() is None:
        return close(now_at, ReminderStatus.SKIPPED, StatusReason.TAKEN_BACK)
    if case.is_quiet:
        return close(now_at, ReminderStatus.SKIPPED, StatusReason.UNTOLD)
    if session.starts_at <= case.now:
        return close(now_at, ReminderStatus.SKIPPED, StatusReason.SESSION_STARTED)
    return replace(now_at, due_at=_cooled(case, now_at.moved_from))


def is_taken_back(row: Reminder, starts_at: datetime) -> bool:
    """Whether a session that had moved starts, for all that clocks show, when it did before."""
    return row.moved_from is not None and abs(starts_at - row.moved_from) < NOTICEABLE


_OF_THE_ATTENDEE = frozenset(
    {StatusReason.OPTED_OUT, StatusReason.ADDRESS_BOUNCED, StatusReason.SPAM_COMPLAINT}
)
"""Why somebody was not told, and may be once that is over."""


def _of_cancelled(case: Case, row: Reminder | None, known: _Known) -> Reminder | None:
    """A new notice of a cancellation, if it is to be one."""
    session, known_start = case.session, known.start()
    if session.status is not SessionStatus.CANCELLED or known_start is None:
        return None
    if known_start <= case.now or known.called_off_by() is not None:
        return None
    versions = [r.plan_version for r in known.newest.values()]
    if row is not None and row.plan_version >= max(versions):  # it is of this cancellation
        had_begun = row.reason is StatusReason.SESSION_STARTED and session.starts_at > case.now
        is_lifted = row.reason in _OF_THE_ATTENDEE and Notice.CANCELLED not in case.withheld
        if row.reason is not StatusReason.TAKEN_BACK and not had_begun and not is_lifted:
            return None
    moving = known.newest.get(Notice.MOVED)
    if moving is not None and moving.status is ReminderStatus.SCHEDULED:
        known_start = moving.moved_from
    is_other = known_start != session.starts_at
    return _next(
        case, Notice.CANCELLED, row, due_at=case.now, moved_from=known_start if is_other else None
    )


def _of_moved(case: Case, row: Reminder | None, known: _Known) -> Reminder | None:
    """A new notice of a move, or of a session that takes place after all, if it is to be one."""
    starts_at, known_start = case.session.starts_at, known.start()
    if case.session.status is not SessionStatus.SCHEDULED or known_start is None:
        return None
    cancelled = known.called_off_by()
    # Unless it was told already, or why not, and not called off by a further cancel.
    is_after_all = cancelled is not None and (
        row is None
        or row.plan_version <= cancelled.plan_version
        or row.status is ReminderStatus.CANCELLED
    )
    is_noted = row and row.reason is StatusReason.SESSION_STARTED and row.starts_at == starts_at
    has_moved = abs(starts_at - known_start) >= NOTICEABLE and not is_noted
    if not is_after_all and (not has_moved or known.was_told_of(starts_at)):
        return None
    # It has begun, with or without them; or they enroll anew, in what they see.
    if known_start <= case.now or (case.enrolling and known.is_anew):
        return None
    return _next(case, Notice.MOVED, row, due_at=_cooled(case, known_start), moved_from=known_start)


def _of_confirmed(case: Case, row: Reminder | None, known: _Known) -> Reminder | None:
    """A new notice of a confirmation, or a note that there is none yet, if it is to be one."""
    session = case.session
    if session.status is not SessionStatus.SCHEDULED or session.starts_at <= case.now:
        return None
    is_noted = row is not None and row.reason is StatusReason.UNCONFIRMED
    if case.enrollment is EnrollmentStatus.PENDING:
        return None if is_noted else _next(case, Notice.CONFIRMED, row, due_at=case.now)
    others = known.newest.values()
    is_new = (
        not others
        or (row is None and any(r.reason is StatusReason.UNCONFIRMED for r in others))
        or known.is_anew
    )
    if is_noted or (case.enrolling and is_new):
        return _next(case, Notice.CONFIRMED, row, due_at=case.now)
    return None


_NEW: Mapping[Notice, Callable[[Case, Reminder | None, _Known], Reminder | None]] = {
    Notice.CANCELLED: _of_cancelled,
    Notice.MOVED: _of_moved,
    Notice.CONFIRMED: _of_confirmed,
}
"""A new notice of a kind whose rule is on, if there is to be one."""


def _next(
    case: Case,
    kind: Notice,
    row: Reminder | None,
    *,
    due_at: datetime | None = None,
    moved_from: datetime | None = None,
    status: ReminderStatus = ReminderStatus.SCHEDULED,
    reason: StatusReason | None = None,
) -> Reminder:
    """The next generation of a notice; recorded as skipped if it is not for this person."""
    session, generation = case.session, row.generation + 1 if row else 1
    if status is ReminderStatus.SCHEDULED:
        reason = case.withheld.get(kind)
        if reason is None and case.is_quiet and kind is not Notice.CONFIRMED:
            reason = StatusReason.UNTOLD
        if reason is None and session.starts_at <= case.now:
            reason = StatusReason.SESSION_STARTED
        status = ReminderStatus.SKIPPED if reason else status
    return Reminder(
        id=reminder_id(session.id, case.user_id, kind.value, generation),
        session_id=session.id,
        user_id=case.user_id,
        reminder_type=kind.value,
        generation=generation,
        due_at=due_at or case.now,
        starts_at=session.starts_at,
        status=status,
        reason=reason,
        moved_from=moved_from,
    )


def _closed(row: Reminder, status: ReminderStatus, reason: StatusReason) -> Reminder:
    """A notice that waits, ended without an e-mail; one that has ended stays as it is."""
    return close(row, status, reason) if row.status is ReminderStatus.SCHEDULED else row


def _cooled(case: Case, known_start: datetime | None) -> datetime:
    """When a move is told: not at once, for it may not be the last, but while it is of use.

    That is before the start, and before the one that people know. On the second, so that those who
    are planned one after the other are told together.
    """
    left = min(case.session.starts_at, known_start or case.session.starts_at) - case.now
    cooling = min(case.cooling, left / _SHARE)
    if cooling <= timedelta():
        return case.now
    instant = case.now + cooling
    return instant + timedelta(microseconds=-instant.microsecond % 1_000_000)
