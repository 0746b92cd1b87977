"""Enroll, cancel, and ask why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from starter.cli import tables
from starter.cli.options import (
    CHANGE_WAIT,
    AsJson,
    DryRun,
    Reason,
    Session,
    User,
    Yes,
    by,
    only_counted,
    show,
)
from starter.cli.progress import waited_for
from starter.cli.reminders import with_generation
from starter.cli.running import ask
from starter.cli.sessions import print_under_way

if TYPE_CHECKING:
    from starter.api.enrollments import EnrollmentOut, StoryOut
    from starter.api.sessions import CancelReceiptOut
    from starter.assembly import Parts

app = typer.Typer()


@app.command()
def enroll(session: Session, user: User, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Enroll a user: plan the reminders and start the workflow. Safe to repeat."""
    from starter.api.enrollments import EnrollmentOut

    enrolled = ask(lambda parts: parts.gateway.enroll(session, user, by=by(reason), by_hand=True))
    show(EnrollmentOut.of(enrolled), _print_enrollment, as_json=as_json)


@app.command()
def cancel(
    session: Session,
    user: Annotated[
        UUID | None, typer.Argument(metavar="USER", help="Only this user's enrollment.")
    ] = None,
    *,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a whole session with all its pending reminders, or unenroll one user."""
    from starter.api.sessions import CancelReceiptOut, UnderWayOut

    receipt = only_counted(
        lambda parts: parts.gateway.expected(session, user),
        lambda counts: f"Cancel “{_title(session)}” and its {counts.cancelled} pending reminders?",
        dry_run=dry_run,
        yes=yes or user is not None,
    )
    if receipt is None and user is not None:
        receipt = ask(lambda parts: parts.gateway.unenroll(session, user, by(reason)))
    elif receipt is None:
        change = waited_for(
            lambda parts: parts.gateway.cancel_session(session, by(reason), wait=CHANGE_WAIT),
            session,
            quiet=as_json,
        )
        if not change.is_done:
            show(UnderWayOut.of(change), print_under_way, as_json=as_json)
            return
        receipt = change.reminders
    show(
        CancelReceiptOut.of(receipt),
        lambda answer: _print_cancelled(answer, dry_run=dry_run),
        as_json=as_json,
    )


def _title(session: UUID) -> str:
    return ask(lambda parts: parts.catalogue.session(session)).title


@app.command()
def why(session: Session, user: User, *, as_json: AsJson = False) -> None:
    """Explain why a user was, will be or was not reminded of a session."""
    from starter.api.enrollments import StoryOut

    async def looked_up(parts: Parts) -> StoryOut:
        story = await parts.gateway.why(session, user)
        url = parts.workflow_url(story.workflow_id, story.run_id)
        return StoryOut.of(story, url, now=parts.clock.now())

    show(ask(looked_up), _print_story, as_json=as_json)


def _print_enrollment(answer: EnrollmentOut) -> None:
    """An enrollment's plan."""
    tables.lines(workflow=answer.workflow_id, run=answer.run_id)
    tables.table(
        ("reminder", "due (UTC)", "status", "reason", "id"),
        (
            (r.reminder_type, r.due_at, r.email_status, r.status_reason, r.id)
            for r in answer.reminders
        ),
    )


def _print_cancelled(answer: CancelReceiptOut, *, dry_run: bool) -> None:
    """What was cancelled, or would be."""
    tables.table(
        ("would be cancelled" if dry_run else "cancelled", "already sent", "in flight"),
        [(answer.cancelled, answer.already_sent, answer.in_flight)],
    )


def _workflow_status(status: str | None) -> str:
    from starter.services.receipts import UNKNOWN

    if status == UNKNOWN:
        return "status unknown: Temporal does not answer"
    return status or "not known to Temporal (any more)"


def _print_story(answer: StoryOut) -> None:
    """The why of one enrollment."""
    workflow = answer.workflow
    tables.lines(
        session=f"{answer.session_id}, {answer.session_status}",
        starts=f"{tables.plain(answer.start_time)} UTC",
        enrollment=str(answer.enrollment_status),
        workflow=f"{workflow.id}, {_workflow_status(workflow.status)}",
        run=workflow.run_id,
        link=workflow.url,
        reminders=f"none: {answer.nothing_planned}" if answer.nothing_planned else None,
    )
    if answer.nothing_planned:
        return
    tables.table(
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
                r.attempts,
                r.sent_at,
                r.resend_email_id,
                r.last_error,
                r.id,
            )
            for r in answer.reminders
        ),
    )
