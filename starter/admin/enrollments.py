"""One enrollment: why each of its reminders was sent, will be, or was not; and ending it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.db.lookups import Names
from reminders.domain.errors import SendRefusedError, UserNotFoundError
from reminders.domain.model import Attendee, EnrollmentStatus, Reminder, SessionStatus, StatusReason
from reminders.domain.resending import Circumstances, at_once, once_more
from reminders.domain.revise import is_called_off, newest_of
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, page_router, redirect
from starter.api.routing import Answering
from starter.assembly import Parts
from starter.services import reasons
from starter.services.receipts import Story

router = page_router()

_WITHOUT_A_SEAT = {
    StatusReason.UNCONFIRMED,
    StatusReason.PAST_DUE,
    StatusReason.SESSION_STARTED,
    StatusReason.RULE_DISABLED,
}
"""Why reminders were skipped of somebody who was not confirmed."""

_Ask = Callable[[Reminder, Collection[Reminder], Circumstances], Reminder]


@router.get("/enrollments/{session_id}/{user_id}")
async def enrollment(
    request: Request, session_id: UUID, user_id: UUID, parts: Answering
) -> Response:
    """Every reminder of it, all generations; from the ledger, whatever Temporal still knows."""
    story = await parts.gateway.why(session_id, user_id)
    session = parts.browser.readable(story.session)
    attendee = await _attendee(parts, user_id)
    is_ours = parts.database.host_schema is None
    is_there = await parts.catalogue.enrollment_status(session_id, user_id) is not None
    events = await parts.provider_events.of([r.id for r in story.reminders])
    waiting, resendable = await _allowed(parts, story)
    return render(
        request,
        "enrollment.html",
        story=story,
        session=session,
        attendee=attendee,
        names=Names({session_id: session.title}, {user_id: attendee.full_name or attendee.email}),
        may_enroll=(is_ours or is_there) and _may_enroll(story, parts.clock.now()),
        # Elsewhere the platform says whether a seat is confirmed, and a confirmed one stays so.
        may_be_pending=is_ours and story.enrollment_status is EnrollmentStatus.CANCELLED,
        was_pending=_was_pending(story),
        events=events,
        nothing_planned=reasons.nothing_planned(story, now=parts.clock.now()),
        waiting=waiting,
        resendable=resendable,
        entries=await parts.audit.of_enrollment(session_id, user_id),
        workflow_url=parts.workflow_url(story.workflow_id, story.run_id),
        run_url=lambda reminder: parts.workflow_url(reminder.workflow_id, reminder.run_id),
    )


async def _attendee(parts: Parts, user_id: UUID) -> Attendee:
    """Whose it is; of somebody whom the platform has deleted there is the id."""
    try:
        return await parts.catalogue.user(user_id)
    except UserNotFoundError:
        return Attendee(user_id=user_id, email="")


async def _allowed(parts: Parts, story: Story) -> tuple[set[UUID], set[UUID]]:
    """Which reminders may be sent now, and which once more; decided anew when somebody asks."""
    if story.enrollment_status is not EnrollmentStatus.CONFIRMED:
        return set(), set()
    session = story.session
    rules = {r.reminder_type: r for r in await parts.rules.of_session(session.id)}
    try:
        choices = await parts.preferences.of(story.user_id)
    except UserNotFoundError:  # the platform does not show them: nothing can be sent
        return set(), set()

    def is_allowed(ask: _Ask, row: Reminder) -> bool:
        opted_out = any(o.covers(session.id, row.reminder_type) for o in choices.opt_outs)
        circumstances = Circumstances(
            session=session,
            enrollment=story.enrollment_status,
            rule=rules.get(row.reminder_type),
            stopped=StatusReason.OPTED_OUT if opted_out else next(iter(choices.withheld), None),
            now=parts.clock.now(),
        )
        try:
            return ask(row, story.reminders, circumstances) is not row
        except SendRefusedError:
            return False

    newest = newest_of(story.reminders).values()
    return (
        {row.id for row in newest if is_allowed(at_once, row)},
        {row.id for row in newest if is_allowed(once_more, row)},
    )


def _may_enroll(story: Story, now: datetime) -> bool:
    """Whether it was ended, and can be begun again."""
    is_ended = story.enrollment_status is EnrollmentStatus.CANCELLED
    is_ahead = story.session.status is SessionStatus.SCHEDULED and story.session.starts_at > now
    return is_ahead and (is_ended or is_called_off(newest_of(story.reminders).values()))


def _was_pending(story: Story) -> bool:
    """Whether their seat had not been confirmed when it was ended."""
    reasons = {r.reason for r in newest_of(story.reminders).values() if r.notice is None}
    return StatusReason.UNCONFIRMED in reasons and reasons <= _WITHOUT_A_SEAT


@router.post("/enrollments/{session_id}/{user_id}/enroll")
async def enroll(
    session_id: UUID, user_id: UUID, parts: Answering, operator: SignedIn, form: Sent
) -> Response:
    """Begin an enrollment again that was ended; what still lies ahead is planned anew."""
    by = By(operator.actor, form.reason())
    status = EnrollmentStatus.PENDING if form.flag("is_pending") else EnrollmentStatus.CONFIRMED
    await parts.gateway.enroll(session_id, user_id, status=status, by=by, by_hand=True)
    return redirect(f"/enrollments/{session_id}/{user_id}")


@router.get("/enrollments/{session_id}/{user_id}/cancel")
async def cancel_page(
    request: Request, session_id: UUID, user_id: UUID, parts: Answering
) -> Response:
    """What ending the enrollment would do, before it is done."""
    return render(
        request,
        "enrollment_cancel.html",
        session=await parts.browser.session(session_id),
        attendee=await _attendee(parts, user_id),
        expected=await parts.gateway.expected(session_id, user_id),
    )


@router.post("/enrollments/{session_id}/{user_id}/cancel")
async def cancel(
    session_id: UUID, user_id: UUID, parts: Answering, operator: SignedIn, form: Sent
) -> Response:
    """End the enrollment and cancel its workflow."""
    by = By(operator.actor, form.reason())
    done = await parts.gateway.unenroll(session_id, user_id, by)
    return redirect(f"/audit/{done.event_id}")
