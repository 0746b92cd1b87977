"""Sessions, one or many, and who is enrolled."""

from __future__ import annotations

from starter.api.reports import RosterPageOut, SessionPageOut
from starter.api.sessions import SessionWithCounts
from starter.cli import layout
from starter.cli.printing.reminders import by_status


def session(answer: SessionWithCounts) -> None:
    """A session and its counts."""
    layout.lines(
        session=str(answer.id),
        title=answer.title,
        starts=layout.shown(answer.start_time) + f" UTC, announced in {answer.time_zone}",
        status=str(answer.status),
    )
    counted = {status: count for status, count in answer.counts.items() if count}
    layout.table(("status", "reminders"), ((status, str(n)) for status, n in counted.items()))


def sessions(answer: SessionPageOut) -> None:
    """A list of sessions."""
    layout.table(
        ("starts (UTC)", "session", "title", "status", "enrolled", "reminders"),
        (
            (s.start_time, str(s.id), s.title, s.status, str(s.enrolled), by_status(s.counts))
            for s in answer.items
        ),
    )
    layout.more(answer.next_cursor)


def roster(answer: RosterPageOut) -> None:
    """Who is enrolled in a session."""
    layout.table(
        ("user", "enrollment", "reminders"),
        (
            (
                str(entry.user_id),
                entry.enrollment_status,
                ", ".join(f"{r.reminder_type} {r.email_status}" for r in entry.reminders),
            )
            for entry in answer.items
        ),
    )
    layout.more(answer.next_cursor)
