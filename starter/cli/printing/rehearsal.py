"""What an enrollment would get."""

from __future__ import annotations

from starter.api.mails import RehearsalOut
from starter.cli import layout


def rehearsal(answer: RehearsalOut) -> None:
    """What would go out, and what would not."""
    layout.lines(
        session=f"starts {layout.shown(answer.start_time)} UTC, announced in {answer.time_zone}",
        enrolled=f"{layout.shown(answer.enrolled_at)} UTC",
    )
    layout.table(
        ("reminder", "goes out (UTC)", "due (UTC)", "subject, or why not"),
        (
            (
                f"{r.reminder_type} ({r.generation})" if r.generation > 1 else r.reminder_type,
                r.sent_at or "-",
                r.due_at,
                r.subject or r.decision,
            )
            for r in answer.reminders
        ),
    )
