"""What a plan does to the reminders that an enrollment has: rows to add, and rows to change.

Pure: what is wanted and the ledger's rows in; a `Revision` out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from reminders.domain.keys import reminder_id
from reminders.domain.model import NOTICES, Reminder, ReminderStatus, StatusReason
from reminders.domain.plan import DueReminder

_UNWANTED = frozenset(
    {
        StatusReason.UNCONFIRMED,
        StatusReason.OPTED_OUT,
        StatusReason.ADDRESS_BOUNCED,
        StatusReason.SPAM_COMPLAINT,
    }
)
"""Reasons that lie with the person, and may pass: a reminder that waits ends for them."""


_OUT_OF_TIME = frozenset({StatusReason.EXPIRED, StatusReason.QUOTA, StatusReason.MISCONFIGURED})
"""Reasons of a failed reminder that say no more than that its session began before it could go out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """What a plan does to the ledger rows of one enrollment."""

    added: tuple[Reminder, ...]
    changed: tuple[Reminder, ...]
    unchanged: tuple[Reminder, ...]

    @property
    def reminders(self) -> tuple[Reminder, ...]:
        """The newest generation of every type, earliest due first."""
        return tuple(
            sorted(
                (*self.added, *self.changed, *self.unchanged),
                key=lambda r: (r.due_at, r.reminder_type),
            )
        )

    @property
    def is_empty(self) -> bool:
        """Whether the ledger already says all this."""
        return not self.added and not self.changed

    def __add__(self, other: Revision) -> Revision:
        """Both, of different rows."""
        return Revision(
            added=self.added + other.added,
            changed=self.changed + other.changed,
            unchanged=self.unchanged + other.unchanged,
        )


def revise(
    wanted: Collection[DueReminder],
    recorded: Iterable[Reminder],
    *,
    session_id: UUID,
    user_id: UUID,
    starts_at: datetime,
    threshold: timedelta,
    enrolling: bool,
) -> Revision:
    """What the ledger must say so that it holds what is wanted.

    A row never moves backwards. What has ended stays as it is, and a legitimate second sending is
    a new generation: after a cancelled session was restored, after a person enrolled again, after
    a skipped reminder became possible, or one that had run out of time, and after a session moved
    by more than the threshold once its reminder was out. What the e-mail before told already, or
    nearly, is not told again. A row in `sending` is left alone: its request resolves it. Notices
    are left to `reminders.domain.notices`.

    Call it only for a session that is held and a person who takes part.

    Args:
        wanted: What `plan()` returned, and `withheld()` left of it.
        recorded: The enrollment's ledger rows, any generation, any order.
        session_id: Of the new rows.
        user_id: Of the new rows.
        starts_at: The start the plan was made for.
        threshold: How far a session must move for a second sending of what was sent.
        enrolling: Whether somebody asked for this enrollment now; only then is one anew that was
            called off by hand.

    Returns:
        Rows to add and to change, and the newest generation of those left alone.
    """
    recorded = tuple(recorded)
    newest = newest_of(recorded)
    told = newest_of(row for row in recorded if row.status.is_accepted)
    called_off = not enrolling and is_called_off(newest.values())
    newest = {kind: row for kind, row in newest.items() if kind not in NOTICES}
    added: list[Reminder] = []
    changed = _without_left_over(newest) if called_off else []
    unchanged: list[Reminder] = []
    for want in wanted:
        row = newest.pop(want.reminder_type, None)
        if row is not None and row.status is ReminderStatus.SCHEDULED:
            want = _as_late(_as_requested(want, row, starts_at), row)  # noqa: PLW2901 - nothing else is to see it without
        before = told.get(want.reminder_type)
        was_told = before is not None and abs(starts_at - before.starts_at) <= threshold
        if was_told:
            want = _as_told(want, row, starts_at)  # noqa: PLW2901 - as above
        if row is None or _again(row, want, starts_at, threshold, enrolling=enrolling):
            if called_off:  # neither a new rule nor a move revives what somebody called off
                unchanged += [row] if row else []
                continue
            generation = row.generation + 1 if row else 1
            added.append(_new(want, session_id, user_id, generation, starts_at))
        elif row.status is ReminderStatus.SCHEDULED and (
            _differs(row, want, starts_at) or want.reason in _UNWANTED
        ):
            changed.append(
                replace(
                    row,
                    due_at=want.due_at,
                    starts_at=starts_at,
                    status=want.status,
                    reason=want.reason,
                    requested_at=row.requested_at if was_told else _still_requested(row, want),
                )
            )
        else:
            unchanged.append(row)
    for row in newest.values():  # its rule was switched off or deleted
        if row.status is ReminderStatus.SCHEDULED:
            changed.append(close(row, ReminderStatus.SKIPPED, StatusReason.RULE_DISABLED))
        elif enrolling and is_personal(row):
            off = DueReminder(
                reminder_type=row.reminder_type,
                due_at=row.due_at,
                status=ReminderStatus.SKIPPED,
                reason=StatusReason.RULE_DISABLED,
            )
            added.append(_new(off, session_id, user_id, row.generation + 1, starts_at))
        else:
            unchanged.append(row)
    return Revision(added=tuple(added), changed=tuple(changed), unchanged=tuple(unchanged))


def call_off(recorded: Iterable[Reminder], reason: StatusReason) -> Revision:
    """The revision that calls off whatever is still waiting."""
    rows = newest_of(recorded).values()
    waiting = [r for r in rows if r.status is ReminderStatus.SCHEDULED]
    return Revision(
        added=(),
        changed=tuple(close(row, ReminderStatus.CANCELLED, reason) for row in waiting),
        unchanged=tuple(r for r in rows if r.status is not ReminderStatus.SCHEDULED),
    )


def close(row: Reminder, status: ReminderStatus, reason: StatusReason) -> Reminder:
    """The row, ended without an e-mail."""
    return replace(row, status=status, reason=reason)


def due_as_requested(row: Reminder, due_at: datetime, *, starts_at: datetime) -> datetime:
    """When a reminder that waits is due, if an operator asked for it, or its own instant.

    What they asked for holds for the start they knew. Once the session moves it is due at its new
    instant, but not before they asked.

    Args:
        row: As it is recorded.
        due_at: Its own instant: start minus lead.
        starts_at: The start that counts.
    """
    if row.requested_at is None:
        return due_at
    if row.starts_at == starts_at:
        return row.due_at
    return max(due_at, row.requested_at)


def newest_of(recorded: Iterable[Reminder]) -> dict[str, Reminder]:
    """The newest generation of every type."""
    newest: dict[str, Reminder] = {}
    for row in recorded:
        if (known := newest.get(row.reminder_type)) is None or known.generation < row.generation:
            newest[row.reminder_type] = row
    return newest


def is_revived(revision: Revision, recorded: Iterable[Reminder]) -> bool:
    """Whether something waits anew that was called off, and its workflow with it perhaps.

    Args:
        revision: What becomes of them.
        recorded: The enrollment's ledger rows, any generation, any order.
    """
    called_off = {
        (r.reminder_type, r.generation) for r in recorded if r.status is ReminderStatus.CANCELLED
    }
    return any(
        (r.reminder_type, r.generation - 1) in called_off
        for r in revision.reminders
        if r.status.is_pending
    )


def is_called_off(newest: Iterable[Reminder]) -> bool:
    """Whether an enrollment's reminders were called off, and nobody has enrolled it anew since.

    Enrolling anew follows every reminder that was called off by a new generation, so one that is
    still the newest says that nobody did.

    Args:
        newest: The newest generation of every type.
    """
    return any(_is_called_off(row) for row in newest)


_SAID_BY_TABLES = frozenset(
    {StatusReason.SESSION_CANCELLED, StatusReason.SESSION_DELETED, StatusReason.UNENROLLED}
)
"""Reasons of a cancelled reminder that hold only as long as the platform's tables say so."""


def _is_called_off(row: Reminder) -> bool:
    """Whether somebody called off this person's reminders by hand; no table says so."""
    return row.status is ReminderStatus.CANCELLED and row.reason not in _SAID_BY_TABLES


def _without_left_over(newest: dict[str, Reminder]) -> list[Reminder]:
    """Take out what waits although its enrollment was called off by hand, and close it.

    The workflow that was cancelled closed what it knew, and did not know of these yet. What an
    operator has asked for since is asked for nonetheless.
    """
    left = [
        row
        for row in newest.values()
        if row.status is ReminderStatus.SCHEDULED and row.requested_at is None
    ]
    for row in left:
        del newest[row.reminder_type]
    return [close(r, ReminderStatus.CANCELLED, StatusReason.WORKFLOW_CANCELLED) for r in left]


def is_personal(row: Reminder) -> bool:
    """Whether it was cancelled for this person, in whatever way, rather than with the session."""
    return (
        row.status is ReminderStatus.CANCELLED and row.reason is not StatusReason.SESSION_CANCELLED
    )


def _again(
    row: Reminder, want: DueReminder, starts_at: datetime, threshold: timedelta, *, enrolling: bool
) -> bool:
    """Whether a reminder that has ended is to be sent once more, as a new generation."""
    if row.status.is_pending:
        return False
    if enrolling and is_personal(row):
        return True
    if want.status is not ReminderStatus.SCHEDULED:
        return False
    if row.status is ReminderStatus.SKIPPED:
        return True
    if row.status is ReminderStatus.CANCELLED:
        return not _is_called_off(row)
    if row.status is ReminderStatus.FAILED and row.reason in _OUT_OF_TIME:
        return True  # nobody was told anything, and there is time again
    return abs(starts_at - row.starts_at) > threshold


def _as_requested(want: DueReminder, row: Reminder, starts_at: datetime) -> DueReminder:
    """What is wanted of a reminder that an operator asked for: as they asked for it.

    Its own instant being over is no reason to skip it.
    """
    if row.requested_at is None or want.reason not in (None, StatusReason.PAST_DUE):
        return want
    return replace(
        want,
        due_at=due_as_requested(row, want.due_at, starts_at=starts_at),
        status=ReminderStatus.SCHEDULED,
        reason=None,
    )


def _as_late(want: DueReminder, row: Reminder) -> DueReminder:
    """What is wanted of a reminder that was due before, and is due again: it is late, not past due."""
    if want.reason is not StatusReason.PAST_DUE or row.due_at > want.due_at:
        return want
    return replace(want, status=ReminderStatus.SCHEDULED, reason=None)


def _as_told(want: DueReminder, row: Reminder | None, starts_at: datetime) -> DueReminder:
    """What is wanted of a reminder whose last e-mail told this start, or nearly: no further one.

    Only a move makes it known already: one that an operator asked for once more stays wanted.
    """
    is_moved_back = row is not None and row.starts_at != starts_at and row.requested_at is None
    if want.status is not ReminderStatus.SCHEDULED or (
        row is not None and row.status is ReminderStatus.SCHEDULED and not is_moved_back
    ):
        return want
    return replace(want, status=ReminderStatus.SKIPPED, reason=StatusReason.ALREADY_TOLD)


def _still_requested(row: Reminder, want: DueReminder) -> datetime | None:
    """Nothing, once its own instant lies ahead again: it is an ordinary reminder then.

    Not for somebody who was told already: they get it once more because an operator said so.
    """
    if row.requested_at is None or want.due_at > row.requested_at:
        return None
    return row.requested_at


def _differs(row: Reminder, want: DueReminder, starts_at: datetime) -> bool:
    """Whether a reminder that waits is wanted at another instant, or for another start.

    One that waits past its own instant is late, not past due: its delivery decides, truthfully.
    """
    return (row.due_at, row.starts_at) != (want.due_at, starts_at)


def _new(
    want: DueReminder, session_id: UUID, user_id: UUID, generation: int, starts_at: datetime
) -> Reminder:
    return Reminder(
        id=reminder_id(session_id, user_id, want.reminder_type, generation),
        session_id=session_id,
        user_id=user_id,
        reminder_type=want.reminder_type,
        generation=generation,
        due_at=want.due_at,
        starts_at=starts_at,
        status=want.status,
        reason=want.reason,
    )
