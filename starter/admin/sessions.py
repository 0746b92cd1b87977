"""Sessions: listed, and one by itself: its counts, its roster, cancel, restore and re-plan."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders import cursors
from reminders.db.audit import By
from reminders.db.lookups import PAGE, Period
from reminders.domain.model import ReminderStatus
from starter.admin.cookies import LONGEST_SEARCH
from starter.admin.rendering import render
from starter.admin.routing import Searched, Sent, SignedIn, page_router, redirect, to_results
from starter.api.routing import Answering

router = page_router()


@router.get("/sessions")
async def sessions(
    request: Request,
    parts: Answering,
    searched: Searched,
    *,
    period: Period = Period.UPCOMING,
    search: str = "",
    after: str = "",
) -> Response:
    """Upcoming or past sessions, with their reminders counted."""
    found = await parts.browser.sessions(
        parts.clock.now(), period=period, search=searched, cursor=after, limit=PAGE + 1
    )
    page, more = cursors.page(found, PAGE, lambda one: (one.starts_at, one.id))
    return render(
        request,
        "sessions.html",
        sessions=page,
        search=searched,
        search_id=search,
        period=period.value,
        more=more,
    )


@router.post("/sessions")
async def search_sessions(request: Request, operator: SignedIn, form: Sent) -> Response:
    """Search for sessions."""
    period = Period.PAST if form.raw("period") == Period.PAST else Period.UPCOMING
    text = form.text("q", longest=LONGEST_SEARCH)
    return to_results(request, operator, f"/sessions?period={period}", text)


@router.get("/sessions/{session_id}")
async def session(
    request: Request,
    session_id: UUID,
    parts: Answering,
    searched: Searched,
    *,
    status: ReminderStatus | None = None,
    after: UUID | None = None,
) -> Response:
    """The session, its reminders by type and status, and its roster page by page, or searched."""
    browser = parts.browser
    found = await browser.session(session_id)
    people = await browser.roster(
        session_id, status=status, search=searched, after=after, limit=PAGE + 1
    )
    return render(
        request,
        "session.html",
        session=found,
        by_type=await browser.by_type(session_id),
        enrolled=await browser.enrolled(session_id),
        roster=people[:PAGE],
        status=status,
        search=searched,
        more=people[PAGE - 1].attendee.user_id if len(people) > PAGE and not searched else None,
        is_cut=len(people) > PAGE and bool(searched),
        workflows_url=parts.workflows_url(f"SessionId='{session_id}'"),
    )


@router.post("/sessions/{session_id}/roster")
async def search_roster(
    request: Request, session_id: UUID, operator: SignedIn, form: Sent
) -> Response:
    """Search the roster."""
    text = form.text("q", longest=LONGEST_SEARCH)
    return to_results(request, operator, f"/sessions/{session_id}", text, anchor="#roster")


@router.get("/sessions/{session_id}/cancel")
async def cancel_page(request: Request, session_id: UUID, parts: Answering) -> Response:
    """What a cancel would do, before it is done."""
    found = await parts.browser.session(session_id)
    expected = (await parts.gateway.cancel_session(session_id, dry_run=True)).reminders
    return render(request, "session_cancel.html", session=found, expected=expected)


@router.post("/sessions/{session_id}/cancel")
async def cancel(session_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Cancel the session for everybody; the receipt follows the workflow that does it."""
    by = By(operator.actor, form.reason())
    done = await parts.gateway.cancel_session(session_id, by, tell_nobody=form.flag("tell_nobody"))
    return redirect(f"/audit/{done.event_id}")


@router.get("/sessions/{session_id}/restore")
async def restore_page(request: Request, session_id: UUID, parts: Answering) -> Response:
    """What a restore would do, before it is done."""
    found = await parts.browser.session(session_id)
    expected = await parts.gateway.restore_session(session_id, dry_run=True)
    return render(request, "session_restore.html", session=found, expected=expected)


@router.post("/sessions/{session_id}/restore")
async def restore(session_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Restore a cancelled session, and plan for everybody what still lies ahead."""
    by = By(operator.actor, form.reason())
    done = await parts.gateway.restore_session(session_id, by, tell_nobody=form.flag("tell_nobody"))
    return redirect(f"/audit/{done.event_id}")


@router.post("/sessions/{session_id}/replan")
async def replan(session_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Plan every enrollment anew, by the session and the rules as they are stored now."""
    by = By(operator.actor, form.reason())
    done = await parts.gateway.session_changed(session_id, by, tell_nobody=form.flag("tell_nobody"))
    return redirect(f"/audit/{done.event_id}")
