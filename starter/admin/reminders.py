"""Reminders by their status; one sent now, or once more."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.domain.errors import ReminderNotFoundError
from reminders.domain.model import Reminder, ReminderStatus
from starter.admin.rendering import render
from starter.admin.routing import Answering, Sent, SignedIn, page_router, redirect

router = page_router()


@router.get("/reminders")
async def reminders(
    request: Request,
    parts: Answering,
    status: ReminderStatus = ReminderStatus.SCHEDULED,
    after: str = "",
) -> Response:
    """Reminders in one status, by their due instant."""
    page = await parts.queries.list(status=status, cursor=after or None)
    names = await parts.browser.names(
        (r.session_id for r in page.reminders), (r.user_id for r in page.reminders)
    )
    return render(request, "reminders.html", page=page, chosen=status, names=names)


@router.get("/reminders/{reminder_id}")
async def reminder(reminder_id: UUID, parts: Answering) -> Response:
    """Where a reminder is explained: at its enrollment."""
    found = await parts.browser.reminder(reminder_id)
    if found is None:
        raise ReminderNotFoundError(reminder_id)
    return _to_enrollment(found)


@router.post("/reminders/{reminder_id}/resend")
async def resend(reminder_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Send a reminder once more, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    resent = await parts.resending.resend(reminder_id, By(operator.actor, reason))
    return _to_enrollment(resent.reminder)


@router.post("/reminders/{reminder_id}/send-now")
async def send_now(reminder_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Send a waiting reminder now, by its workflow; asked twice, it goes out once."""
    reason = form.reason()
    asked = await parts.resending.send_now(reminder_id, By(operator.actor, reason))
    return _to_enrollment(asked.reminder)


def _to_enrollment(reminder: Reminder) -> Response:
    """To where it is explained, and followed while it goes out."""
    return redirect(f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}")
