"""Reminders by their status; one sent now, or once more; those that failed, and sending them after all."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.db.reports import EXAMPLES, SHOWN
from reminders.domain.errors import ReminderNotFoundError
from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, page_router, redirect
from starter.api.routing import Answering

router = page_router()

"""How far back failures are of interest here; `why` answers for ever."""

REMEDIES = {
    StatusReason.INVALID_ADDRESS: "Have the platform correct the address, then send again.",
    StatusReason.RENDER_ERROR: "Correct the subject of the rule, or the session; the error"
    " names the part. Then send again.",
    StatusReason.REJECTED: "Read the provider's words below; correct what they name, then send"
    " again.",
    StatusReason.QUOTA: "Raise the quota at the provider, or wait until it is renewed.",
    StatusReason.MISCONFIGURED: "Check RESEND_API_KEY and EMAIL_FROM against the provider's"
    " dashboard, then resume delivery. If the error is not in Resend's words: see what is between"
    " worker and provider.",
    StatusReason.EXPIRED: "The log of the workers says what was away. These sessions have begun.",
    StatusReason.OUTCOME_UNKNOWN: "It may have arrived: ask the provider by the reminder's id, or"
    " the attendee, before sending again.",
}
"""What to do about a cause."""

NOT_REDRIVEN = {StatusReason.OUTCOME_UNKNOWN}
"""What goes out again one by one only, after somebody has looked."""

PAGE = 200
"""Enrollments of one click: seconds of work."""


@router.get("/reminders")
async def reminders(
    request: Request,
    parts: Answering,
    status: ReminderStatus = ReminderStatus.SCHEDULED,
    after: str = "",
) -> Response:
    """Reminders in one status: of those that wait the next first, of others the last."""
    page = await parts.queries.list(
        email_status=status, newest=not status.is_pending, cursor=after or None
    )
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


@router.get("/failed")
async def failed(
    request: Request,
    parts: Answering,
    reason: StatusReason | None = None,
    session: UUID | None = None,
) -> Response:
    """Causes, and the reminders of the one that was chosen."""
    now = parts.clock.now()
    since = now - SHOWN
    ledger = parts.overview
    causes = await ledger.causes(now, since=since, session_id=session)
    chosen = causes[0].reason if reason is None and causes else reason
    examples = await ledger.of_cause(chosen, now, since=since, session_id=session)
    return render(
        request,
        "failed.html",
        causes=causes,
        chosen=chosen,
        examples=examples,
        most=EXAMPLES,
        days=SHOWN.days,
        remedies=REMEDIES,
        is_redrivable=any(c.redrivable for c in causes if c.reason not in NOT_REDRIVEN),
        session_id=session,
        names=await parts.browser.names([session, *(f.reminder.session_id for f in examples)]),
    )


@router.get("/redrive")
async def redrive_page(request: Request, parts: Answering, session: UUID | None = None) -> Response:
    """What a redrive would do, before it is done."""
    found = await parts.resending.redrive(By(""), session_id=session, dry_run=True, limit=PAGE)
    return render(request, "redrive.html", found=found, session_id=session, reason=None)


@router.post("/redrive")
async def redrive(request: Request, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Send again what failed, one e-mail to each person: a page of enrollments at a time."""
    reason, session_id = form.reason(), form.uuid("session")
    done = await parts.resending.redrive(
        By(operator.actor, reason),
        session_id=session_id,
        cursor=form.raw("cursor") or None,
        limit=PAGE,
    )
    if done.next_cursor is None:
        return redirect(f"/audit/{done.event_id}")
    return render(request, "redrive.html", found=done, session_id=session_id, reason=reason)


def _to_enrollment(reminder: Reminder) -> Response:
    """To where it is explained, and followed while it goes out."""
    return redirect(f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}")
