"""Enroll, cancel, and ask why."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from starter.api.enrollments import EnrollmentOut, StoryOut
from starter.api.sessions import CancelReceiptOut, UnderWayOut
from starter.assembly import Parts
from starter.cli.options import (
    ACTOR,
    CHANGE_WAIT,
    AsJson,
    Reason,
    Session,
    User,
    Yes,
    by,
    confirmed,
    show,
    waited_for,
)
from starter.cli.printing import enrollments as printing
from starter.cli.printing import receipts
from starter.cli.running import ask

app = typer.Typer()


@app.command()
def enroll(session: Session, user: User, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Enroll a user: plan the reminders and start the workflow. Safe to repeat."""
    enrolled = ask(
        lambda parts: parts.gateway.enroll(session, user, actor=ACTOR, by_hand=True, reason=reason)
    )
    show(EnrollmentOut.of(enrolled), printing.enrollment, as_json=as_json)


@app.command()
def cancel(
    session: Session,
    user: Annotated[
        UUID | None, typer.Argument(metavar="USER", help="Only this user's enrollment.")
    ] = None,
    *,
    reason: Reason = None,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a whole session with all its pending reminders, or unenroll one user."""
    if dry_run:
        receipt = ask(lambda parts: parts.gateway.expected(session, user))
    elif user is not None:
        receipt = ask(lambda parts: parts.deeds.unenroll(session, user, by(reason))).receipt
    else:
        if not yes:
            confirmed(
                lambda: (
                    "Cancel the session and its"
                    f" {ask(lambda parts: parts.gateway.expected(session)).cancelled}"
                    " pending reminders?"
                )
            )
        done = waited_for(
            lambda parts: parts.deeds.cancel_session(session, by(reason), wait=CHANGE_WAIT),
            session,
            quiet=as_json,
        )
        if not done.is_done:
            show(UnderWayOut.of(done), receipts.under_way, as_json=as_json)
            return
        receipt = done.reminders
    show(
        CancelReceiptOut.of(receipt),
        lambda answer: receipts.called_off(answer, dry_run=dry_run),
        as_json=as_json,
    )


@app.command()
def why(session: Session, user: User, *, as_json: AsJson = False) -> None:
    """Say why a user was, will be or was not reminded of a session."""

    async def told(parts: Parts) -> StoryOut:
        story = await parts.gateway.why(session, user)
        return StoryOut.of(story, parts.workflow_url(story.workflow_id, story.run_id))

    show(ask(told), printing.story, as_json=as_json)
