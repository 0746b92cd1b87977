"""What operators look for: people, failures, the audit log, the day."""

from __future__ import annotations

from starter.api.reports import (
    CauseListOut,
    EventPageOut,
    OverviewOut,
    UserEnrollmentsOut,
    UserIdsOut,
)
from starter.cli import layout
from starter.cli.printing.reminders import by_status

_BAR = 40
"""Characters of the longest bar."""


def overview(answer: OverviewOut) -> None:
    """How things stand, and a bar an hour."""
    layout.table(
        ("today: sent", "late", "failed", "waiting", "overdue", "in doubt", "failed, can be sent"),
        [
            tuple(
                str(count)
                for count in (
                    answer.sent_today,
                    answer.late_today,
                    answer.failed_today,
                    answer.waiting,
                    answer.overdue,
                    answer.in_doubt,
                    answer.redrivable,
                )
            )
        ],
    )
    most = max((hour.reminders for hour in answer.next_hours), default=0)
    layout.table(
        ("hour (UTC)", "due", ""),
        (
            (
                f"{hour.begins_at:%Y-%m-%d %H:00}",
                str(hour.reminders),
                "█" * -(-hour.reminders * _BAR // most) if most else "",
            )
            for hour in answer.next_hours
        ),
    )


def enrollments(answer: UserEnrollmentsOut) -> None:
    """What a person is or was enrolled in."""
    layout.table(
        ("starts (UTC)", "session", "title", "enrollment", "reminders"),
        (
            (s.start_time, str(s.session_id), s.title, s.enrollment_status, by_status(s.counts))
            for s in answer.items
        ),
    )


def user_ids(answer: UserIdsOut) -> None:
    """Who was found."""
    layout.table(("user",), ((str(user_id),) for user_id in answer.items))
    if answer.is_cut:
        layout.lines(more="there are more; look more precisely")


def failures(answer: CauseListOut) -> None:
    """Failures by cause."""
    layout.table(
        ("cause", "reminders", "sessions", "can still be sent", "latest due (UTC)", "meaning"),
        (
            (
                c.status_reason or "-",
                str(c.reminders),
                str(c.sessions),
                str(c.redrivable),
                c.newest_due_at,
                c.meaning,
            )
            for c in answer.items
        ),
    )


def events(answer: EventPageOut) -> None:
    """Entries of the audit log."""
    layout.table(
        ("when (UTC)", "who", "what", "why", "session", "user"),
        (
            (
                e.happened_at,
                e.actor,
                e.action.replace("_", " "),
                e.reason,
                str(e.session_id or ""),
                str(e.user_id or ""),
            )
            for e in answer.items
        ),
    )
    layout.more(answer.next_cursor)
