"""Reminders: rows of the ledger."""

from __future__ import annotations

from collections.abc import Mapping

from reminders.domain.model import ReminderStatus
from starter.api.reminders import RedriveOut, ReminderOut, ReminderPageOut
from starter.cli import layout


def reminders(answer: ReminderPageOut) -> None:
    """A list of reminders."""
    layout.table(
        ("due (UTC)", "reminder", "status", "reason", "session", "user", "id"),
        (
            (
                r.due_at,
                with_generation(r),
                r.email_status,
                r.status_reason,
                str(r.session_id),
                str(r.user_id),
                str(r.id),
            )
            for r in answer.items
        ),
    )
    layout.more(answer.next_cursor)


def redrive(answer: RedriveOut) -> None:
    """What a redrive did, or would do."""
    left = ", ".join(f"{why} {count}" for why, count in sorted(answer.left_alone.items()))
    layout.table(
        ("failed", "would be sent again" if answer.dry_run else "planned again", "left alone"),
        [(str(answer.found), str(answer.resent), left or "0")],
    )


def with_generation(reminder: ReminderOut) -> str:
    """Its type, and which sending it is if not the first."""
    again = f" ({reminder.generation})" if reminder.generation > 1 else ""
    return reminder.reminder_type + again


def by_status(counts: Mapping[ReminderStatus, int]) -> str:
    """Counts on one line, in the order of a reminder's life."""
    return ", ".join(f"{status} {counts[status]}" for status in ReminderStatus if status in counts)
