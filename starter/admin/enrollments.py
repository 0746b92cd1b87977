"""One enrollment: why each of its reminders was sent, will be, or was not; and ending it."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import AuditLog
from reminders.db.provider import ProviderHistory
from reminders.domain.model import ReminderStatus, SessionStatus
from reminders.domain.plan import newest_of
from starter.admin.rendering import render
from starter.admin.routing import Answering, Sent, SignedIn, page_router, redirect
from starter.services.deeds import By
from starter.services.receipts import Story

router = page_router()


@router.get("/enrollments/{session_id}/{user_id}")
async def enrollment(
    request: Request, session_id: UUID, user_id: UUID, parts: Answering
) -> Response:
    """Every reminder of it, all generations; from the ledger, whatever Temporal still knows."""
    story = await parts.gateway.why(session_id, user_id)
    attendee = await parts.catalogue.user(user_id)
    events = await ProviderHistory(parts.database).of([r.id for r in story.reminders])
    return render(
        request,
        "enrollment.html",
        story=story,
        session=story.session,
        attendee=attendee,
        events=events,
        resendable=_resendable(story),
        waiting=_waiting(story),
        entries=await AuditLog(parts.database).of_enrollment(session_id, user_id),
        workflow_url=parts.workflow_url(story.workflow_id, story.run_id),
        run_url=lambda reminder: parts.workflow_url(reminder.workflow_id, reminder.run_id),
    )


def _resendable(story: Story) -> set[UUID]:
    """What may be sent once more: the newest generations that have ended, while it is of use."""
    newest = newest_of(story.reminders).values()
    if story.session.status is SessionStatus.CANCELLED:
        return set()
    return {r.id for r in newest if not r.status.is_pending}


def _waiting(story: Story) -> set[UUID]:
    """What may be sent before its instant: what waits, unless the session is cancelled."""
    if story.session.status is SessionStatus.CANCELLED:
        return set()
    return {r.id for r in story.reminders if r.status is ReminderStatus.SCHEDULED}


@router.get("/enrollments/{session_id}/{user_id}/cancel")
async def cancel_page(
    request: Request, session_id: UUID, user_id: UUID, parts: Answering
) -> Response:
    """What ending the enrollment would do, before it is done."""
    return render(
        request,
        "enrollment_cancel.html",
        session=await parts.catalogue.session(session_id),
        attendee=await parts.catalogue.user(user_id),
        expected=await parts.gateway.expected(session_id, user_id),
    )


@router.post("/enrollments/{session_id}/{user_id}/cancel")
async def cancel(
    session_id: UUID, user_id: UUID, parts: Answering, operator: SignedIn, form: Sent
) -> Response:
    """End the enrollment and cancel its workflow."""
    by = By(operator.actor, form.reason())
    done = await parts.deeds.unenroll(session_id, user_id, by)
    return redirect(f"/audit/{done.event_id}")
