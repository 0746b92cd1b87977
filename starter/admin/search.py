"""One field for everything: ids of whatever kind, people and sessions."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.lookups import FOUND_AT_ONCE, Period
from reminders.domain.errors import SessionNotFoundError, UserNotFoundError
from reminders.domain.keys import enrollment_of
from starter.admin.cookies import LONGEST_SEARCH
from starter.admin.rendering import render
from starter.admin.routing import Searched, Sent, SignedIn, page_router, redirect, to_results
from starter.api.routing import Answering
from starter.assembly import Parts

router = page_router()

_SESSIONS = 10
"""Of either period that are shown; the page of sessions has all."""


@router.post("/search")
async def search(request: Request, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Go to what an id names: a session, a user, a reminder, a workflow, or an e-mail at the provider.

    Other words are searched for among people and the titles of sessions.
    """
    wanted = form.text("q", longest=LONGEST_SEARCH)
    workflow = enrollment_of(wanted)
    if workflow:
        return redirect(f"/enrollments/{workflow[0]}/{workflow[1]}")
    path = await _named(parts, wanted) if wanted else "/sessions"
    return redirect(path) if path else to_results(request, operator, "/search", wanted)


@router.get("/search")
async def results(request: Request, parts: Answering, searched: Searched) -> Response:
    """Who and what is found by a part of a name, an address or a title."""
    if not searched:
        return redirect("/sessions")
    browser, now = parts.browser, parts.clock.now()
    people = await browser.people(searched, limit=FOUND_AT_ONCE + 1)
    upcoming, past = [
        await browser.sessions(now, period=period, search=searched, limit=_SESSIONS + 1)
        for period in (Period.UPCOMING, Period.PAST)
    ]
    found = [f"/people/{person.user_id}" for person in people]
    found += [f"/sessions/{session.id}" for session in (*upcoming, *past)]
    if len(found) == 1:
        return redirect(found[0])
    return render(
        request,
        "search.html",
        search=searched,
        people=people,
        upcoming=upcoming,
        past=past,
        most=_SESSIONS,
    )


async def _named(parts: Parts, wanted: str) -> str | None:
    """The page of what has this id; `None` if nothing has."""
    browser = parts.browser
    sent = await browser.by_provider_id(wanted)
    if sent is not None:
        return f"/enrollments/{sent.session_id}/{sent.user_id}#{sent.id}"
    try:
        named = UUID(wanted)
    except ValueError:
        return None
    reminder = await browser.reminder(named)
    if reminder is not None:
        return f"/enrollments/{reminder.session_id}/{reminder.user_id}#{reminder.id}"
    try:
        return f"/people/{(await parts.catalogue.user(named)).user_id}"
    except UserNotFoundError:
        pass
    try:
        return f"/sessions/{(await parts.catalogue.session(named)).id}"
    except SessionNotFoundError:
        return None
