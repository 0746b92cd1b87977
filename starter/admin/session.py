"""One session: its counts, who is enrolled, cancel, restore and re-plan."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.db.lookups import PAGE
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import ReminderStatus
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.view import render
from starter.assembly import Parts

router = pages()


@router.get("/sessions/{session_id}")
async def session(
    request: Request,
    session_id: UUID,
    parts: Answering,
    status: str = "",
    after: UUID | None = None,
) -> Response:
    """The session, its reminders by type and status, and its roster page by page."""
    return await _page(request, parts, session_id, status=_status(status), after=after)


@router.post("/sessions/{session_id}/roster")
async def search_roster(
    request: Request, session_id: UUID, parts: Answering, form: Sent
) -> Response:
    """The same with a part of the roster; posted, because addresses do not belong into logs."""
    search = form.text("q", longest=200)
    return await _page(request, parts, session_id, search=search)


@router.get("/sessions/{session_id}/cancel")
async def cancel_page(request: Request, session_id: UUID, parts: Answering) -> Response:
    """What a cancel would do, before it is done."""
    found = await parts.catalogue.session(session_id)
    expected = (await parts.gateway.cancel_session(session_id, dry_run=True)).reminders
    return render(request, "session_cancel.html", session=found, expected=expected)


@router.post("/sessions/{session_id}/cancel")
async def cancel(session_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Cancel the session for everybody; the receipt follows the workflow that is at it."""
    reason = form.reason()
    done = await parts.gateway.cancel_session(session_id, By(visitor.actor, reason))
    return redirect(f"/audit/{done.event_id}")


@router.post("/sessions/{session_id}/restore")
async def restore(session_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Hold a cancelled session after all, and plan for everybody what still lies ahead."""
    reason = form.reason()
    done = await parts.gateway.restore_session(session_id, By(visitor.actor, reason))
    return redirect(f"/audit/{done.event_id}")


@router.post("/sessions/{session_id}/replan")
async def replan(session_id: UUID, parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """Plan every enrollment anew, by the session and the rules as they are stored now."""
    reason = form.reason()
    done = await parts.gateway.session_changed(session_id, By(visitor.actor, reason))
    return redirect(f"/audit/{done.event_id}")


async def _page(
    request: Request,
    parts: Parts,
    session_id: UUID,
    *,
    status: ReminderStatus | None = None,
    search: str = "",
    after: UUID | None = None,
) -> Response:
    browser = parts.browser
    found = await parts.catalogue.session(session_id)
    people = await browser.roster(
        session_id, status=status, search=search, after=after, limit=PAGE + 1
    )
    return render(
        request,
        "session.html",
        session=found,
        by_type=await browser.by_type(session_id),
        enrolled=await browser.enrolled(session_id),
        roster=people[:PAGE],
        status=status,
        search=search,
        more=people[PAGE - 1].attendee.user_id if len(people) > PAGE and not search else None,
        is_cut=len(people) > PAGE and bool(search),
        workflows_url=parts.workflows_url(f"SessionId='{session_id}'"),
    )


def _status(name: str) -> ReminderStatus | None:
    try:
        return ReminderStatus(name) if name else None
    except ValueError as error:
        raise InvalidInputError("is not a status of a reminder", field="status") from error
