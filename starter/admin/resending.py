"""Reminders that are asked for: one, once more or now, or all that failed and can still be of use."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import Reminder
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.view import render

router = pages()

PAGE = 200
"""Enrollments of one click: seconds of work."""


@router.post("/reminders/{reminder_id}/resend")
async def resend(reminder_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send a reminder once more, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    resent = await parts.resending.resend(reminder_id, By(visitor.actor, reason))
    return _to(resent.reminder)


@router.post("/reminders/{reminder_id}/send-now")
async def send_now(reminder_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send a reminder that waits now, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    asked = await parts.resending.send_now(reminder_id, By(visitor.actor, reason))
    return _to(asked.reminder)


@router.get("/redrive")
async def redrive_page(request: Request, parts: Answering, session: UUID | None = None) -> Response:
    """What a redrive would do, before it is done."""
    found = await parts.resending.redrive(By(""), session_id=session, dry_run=True, limit=PAGE)
    return render(request, "redrive.html", found=found, session_id=session, reason=None)


@router.post("/redrive")
async def redrive(request: Request, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send once more what failed, one e-mail a person: a page of enrollments, and the next if asked."""
    reason, session_id = form.reason(), _session(form)
    done = await parts.resending.redrive(
        By(visitor.actor, reason),
        session_id=session_id,
        cursor=form.raw("cursor") or None,
        limit=PAGE,
    )
    if done.next_cursor is None:
        return redirect(f"/audit/{done.event_id}")
    return render(request, "redrive.html", found=done, session_id=session_id, reason=reason)


def _to(reminder: Reminder) -> Response:
    """To where it is explained, and followed while it goes out."""
    return redirect(f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}")


def _session(form: Form) -> UUID | None:
    text = form.text("session")
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id of a session", field="session") from error
