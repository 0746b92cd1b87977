"""Reminders that are asked for: one, once more or now, or all that failed and can still be of use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from reminders.errors import InvalidInputError
from reminders.model import Reminder
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.view import render
from starter.deeds import By

router = pages()

PATIENCE = timedelta(seconds=4)
"""How long one part of a redrive takes; then the page says how far it is, and asks for the next."""
PAGE = 100
"""Enrollments that are worked on before time is looked at."""
_MOST = 10**9
"""No count of a form is larger."""


@router.post("/reminders/{reminder_id}/resend")
async def resend(reminder_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send a reminder once more, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    resent = await parts.resending.resend(reminder_id, reason=reason, actor=visitor.actor)
    return _to(resent.reminder)


@router.post("/reminders/{reminder_id}/send-now")
async def send_now(reminder_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send a reminder that waits now, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    asked = await parts.resending.send_now(reminder_id, reason=reason, actor=visitor.actor)
    return _to(asked.reminder)


@router.get("/redrive")
async def redrive_page(request: Request, parts: Answering, session: UUID | None = None) -> Response:
    """What a redrive would do, before it is done."""
    found = await parts.resending.redrive(
        reason="", actor="", session_id=session, dry_run=True, patience=PATIENCE / 2
    )
    return render(
        request,
        "redrive.html",
        resent=found.resent,
        left_alone=found.left_alone,
        is_complete=found.next_cursor is None,
        session_id=session,
    )


@router.post("/redrive")
async def redrive(request: Request, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Send once more what failed, one e-mail a person; thousands in parts, each with its entry."""
    reason, session_id, cursor = form.reason(), _session(form), form.text("cursor") or None
    resent, left = _count(form, "resent"), _count(form, "left")
    done = await parts.deeds.redrive(
        By(visitor.actor, reason),
        session_id=session_id,
        cursor=cursor,
        limit=PAGE,
        patience=PATIENCE,
    )
    part = done.receipt
    if cursor is None and part.next_cursor is None:
        return redirect(f"/audit/{done.event_id}")
    going: dict[str, Any] = {
        "session": session_id or "",
        "reason": reason,
        "cursor": part.next_cursor,
        "resent": resent + part.resent,
        "left": left + part.found - part.resent,
    }
    return render(request, "redrive_going.html", going=going, session_id=session_id, **going)


def _count(form: Form, name: str) -> int:
    """What the parts before have counted; it is only shown."""
    text = form.text(name) or "0"
    if not text.isascii() or not text.isdecimal() or int(text) > _MOST:
        raise InvalidInputError("is no count", field=name)
    return int(text)


def _to(reminder: Reminder) -> Response:
    """To where it is explained, and followed while it goes out."""
    return redirect(f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}")


def _session(form: Form) -> UUID | None:
    text = form.text("session")
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id of a session", field="session") from error
