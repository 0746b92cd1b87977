"""Enrollments: the plan of a new one, and the story of any."""

from __future__ import annotations

from starter.api.enrollments import EnrollmentOut, StoryOut
from starter.cli import layout
from starter.cli.printing.reminders import with_generation


def enrollment(answer: EnrollmentOut) -> None:
    """An enrollment's plan."""
    layout.lines(workflow=answer.workflow_id, run=answer.run_id)
    layout.table(
        ("reminder", "due (UTC)", "status", "reason", "id"),
        (
            (r.reminder_type, r.due_at, r.email_status, r.status_reason, str(r.id))
            for r in answer.reminders
        ),
    )


def story(answer: StoryOut) -> None:
    """The why of one enrollment."""
    workflow = answer.workflow
    layout.lines(
        session=f"{answer.session_id}, {answer.session_status}",
        starts=layout.shown(answer.start_time) + " UTC",
        enrollment=str(answer.enrollment_status),
        workflow=f"{workflow.id}, {workflow.status or 'not known to Temporal'}",
        run=workflow.run_id,
        link=workflow.url,
    )
    layout.table(
        (
            "reminder",
            "due (UTC)",
            "decision",
            "attempts",
            "sent (UTC)",
            "provider's id",
            "error",
            "id",
        ),
        (
            (
                with_generation(r),
                r.due_at,
                r.decision,
                str(r.attempts),
                r.sent_at,
                r.resend_email_id,
                r.last_error,
                str(r.id),
            )
            for r in answer.reminders
        ),
    )
