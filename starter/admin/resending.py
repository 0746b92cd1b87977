"""Reminders once more: one that is asked for, or all that failed and can still be of use."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import Action, AuditLog, Event
from reminders.db.browsing import Browser
from reminders.errors import InvalidInputError, ReminderNotFoundError
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.view import render
from starter.assembly import Parts

router = pages()

PATIENCE = timedelta(seconds=20)
"""How long one redrive goes on; what is left by then takes another click."""


@router.post("/reminders/{reminder_id}/resend")
async def resend(reminder_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send a reminder once more, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    found = await Browser(parts.database).reminder(reminder_id)
    if found is None:
        raise ReminderNotFoundError
    resent = await parts.resending.resend(reminder_id, reason=reason, actor=visitor.actor)
    return redirect(f"/enrollments/{found.session_id}/{found.user_id}#{resent.reminder.id}")


@router.get("/redrive")
async def redrive_page(request: Request, parts: Answering, session: UUID | None = None) -> Response:
    """What a redrive would do, before it is done."""
    resent, left_alone, is_complete = await _redrive(
        parts, reason="", actor="", session_id=session, dry_run=True
    )
    return render(
        request,
        "redrive.html",
        resent=resent,
        left_alone=left_alone,
        is_complete=is_complete,
        session_id=session,
    )


@router.post("/redrive")
async def redrive(parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send once more what failed; one e-mail a person."""
    reason, session_id = form.reason(), _session(form)
    resent, left_alone, is_complete = await _redrive(
        parts, reason=reason, actor=visitor.actor, session_id=session_id, dry_run=False
    )
    entry = await AuditLog(parts.database).record(
        Event(
            action=Action.FAILED_REDRIVEN,
            actor=visitor.actor,
            reason=reason,
            session_id=session_id,
            details={"resent": resent, **left_alone, "is_complete": is_complete},
        )
    )
    return redirect(f"/audit/{entry}")


async def _redrive(
    parts: Parts, *, reason: str, actor: str, session_id: UUID | None, dry_run: bool
) -> tuple[int, Counter[str], bool]:
    """Page after page for a while: how many, how many not and why, and whether that was all."""
    until = parts.clock.now() + (PATIENCE if not dry_run else PATIENCE / 10)
    resent, left_alone, cursor = 0, Counter[str](), None
    while True:
        page = await parts.resending.redrive(
            reason=reason, actor=actor, session_id=session_id, dry_run=dry_run, cursor=cursor
        )
        resent += page.resent
        left_alone.update(page.left_alone)
        cursor = page.next_cursor
        if cursor is None or parts.clock.now() >= until:
            return resent, left_alone, cursor is None


def _session(form: Form) -> UUID | None:
    text = form.text("session")
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id of a session", field="session") from error
