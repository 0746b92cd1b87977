"""What became of a restored ledger."""

from __future__ import annotations

from starter.cli import layout
from starter.services.restoring import Reconciled


def reconciled(answer: Reconciled) -> None:
    """What became of the reminders that a restored ledger had as pending."""
    layout.lines(
        pending=str(answer.looked_at),
        waiting=str(answer.still_waiting),
        added=str(answer.added),
        unenrolled=str(answer.unenrolled),
        cancelled=f"{answer.sessions_cancelled} sessions",
        moved=f"{answer.sessions_moved} sessions",
        unreadable=str(answer.unreadable) if answer.unreadable else None,
    )
    layout.table(
        ("became", "reminders"), ((name, str(count)) for name, count in answer.ended.items())
    )
