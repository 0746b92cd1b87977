"""Reminders that are asked for: one, once more or now, or all that failed and can still be of use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import Request, Response

from reminders.errors import InvalidInputError
from reminders.model import Reminder
from starter.admin.door import Door
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.view import render
from starter.deeds import By, Done
from starter.resending import RedriveReceipt

router = pages()

PATIENCE = timedelta(seconds=4)
"""How long one part of a redrive takes; then the page says how far it is, and asks for the next."""
PAGE = 100
"""Enrollments that are worked on before time is looked at."""
_GOING = "going"
"""The field that carries what the parts before have done."""


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
        reason="",
        actor="",
        session_id=session,
        dry_run=True,
        limit=PAGE,
        patience=PATIENCE / 2,
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
    """Send once more what failed, one e-mail a person; thousands in parts, on record as one deed."""
    door: Door = request.app.state.admin_door
    if form.raw(_GOING):
        reason, session_id, before = _opened(door.unsealed(visitor, form.raw(_GOING)))
    else:
        reason, session_id, before = form.reason(), _session(form), None
    done = await parts.deeds.redrive_part(
        By(visitor.actor, reason),
        before=before,
        session_id=session_id,
        limit=PAGE,
        patience=PATIENCE,
    )
    if before is None and done.receipt.next_cursor is None:
        return redirect(f"/audit/{done.event_id}")
    going = door.sealed(visitor, _carried(reason, session_id, done))
    return render(request, "redrive_going.html", done=done, going=going)


def _carried(reason: str, session_id: UUID | None, done: Done[RedriveReceipt]) -> dict[str, Any]:
    """What the next part is to know, as JSON."""
    return {
        "reason": reason,
        "session": str(session_id) if session_id else None,
        "entry": done.event_id,
        "resent": done.receipt.resent,
        "left_alone": dict(done.receipt.left_alone),
        "cursor": done.receipt.next_cursor,
    }


def _opened(state: Mapping[str, Any]) -> tuple[str, UUID | None, Done[RedriveReceipt]]:
    """Why, of which session, and what the parts before have done."""
    receipt = RedriveReceipt(
        resent=state["resent"], left_alone=state["left_alone"], next_cursor=state["cursor"]
    )
    session_id = UUID(state["session"]) if state["session"] else None
    return state["reason"], session_id, Done(receipt, state["entry"])


def _to(reminder: Reminder) -> Response:
    """To where it is explained, and followed while it goes out."""
    return redirect(f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}")


def _session(form: Form) -> UUID | None:
    text = form.text("session")
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id of a session", field="session") from error
