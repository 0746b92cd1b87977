"""People: searched for, and everything that one is enrolled in; and the field that finds everything.

It takes ids of whatever kind, people and sessions.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.db.lookups import FOUND_AT_ONCE, Period
from reminders.domain.errors import SessionNotFoundError, UserNotFoundError
from reminders.domain.keys import enrollment_of
from reminders.domain.model import OptOut
from starter.admin.cookies import LONGEST_SEARCH
from starter.admin.rendering import render
from starter.admin.routing import Searched, Sent, SignedIn, page_router, redirect, to_results
from starter.api.people import in_order
from starter.api.routing import Answering
from starter.assembly import Parts

router = page_router()

_ENTRIES = 20
"""Of the audit log that are shown; its own page has all."""


@router.get("/people")
async def people(request: Request, parts: Answering, searched: Searched) -> Response:
    """Who is meant: the page of the only one, or a list; or where to search for somebody."""
    if not searched:
        return render(request, "people.html", search="", people=None)
    found = await parts.browser.people(searched, limit=FOUND_AT_ONCE + 1)
    if len(found) == 1:
        return redirect(f"/people/{found[0].user_id}")
    return render(request, "people.html", search=searched, people=found)


@router.post("/people")
async def search(request: Request, operator: SignedIn, form: Sent) -> Response:
    """Search for people."""
    return to_results(request, operator, "/people", form.required("q", longest=LONGEST_SEARCH))


@router.get("/people/{user_id}")
async def person(request: Request, user_id: UUID, parts: Answering) -> Response:
    """What one person is or was enrolled in, what they stopped, and what was done about them."""
    attendee = await parts.catalogue.user(user_id)
    choices = await parts.preferences.of(user_id)
    entries = await parts.audit.entries(user_id=user_id, limit=_ENTRIES)
    about = {stop.session_id for stop in choices.opt_outs} | {e.session_id for e in entries}
    return render(
        request,
        "person.html",
        attendee=attendee,
        default_locale=parts.settings.email_locale,
        enrollments=await parts.browser.enrollments(user_id),
        opt_outs=in_order(choices.opt_outs),
        withheld=choices.withheld,
        entries=entries,
        names=await parts.browser.names(about, [user_id]),
    )


@router.post("/people/{user_id}/resume")
async def resume(user_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Take back one of a person's stops, for all sessions and types or for those that it names."""
    stop = OptOut(form.uuid("session"), form.text("reminder_type") or None)
    await parts.preferences.remove(user_id, stop, by=By(operator.actor, form.reason()))
    return redirect(f"/people/{user_id}")


@router.post("/people/{user_id}/unblock")
async def unblock(user_id: UUID, parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Remind a person again although their address bounced or complained."""
    await parts.preferences.unblock(user_id, by=By(operator.actor, form.reason()))
    return redirect(f"/people/{user_id}")


_SESSIONS = 10
"""Of either period that are shown; the page of sessions has all."""


@router.post("/search")
async def search_all(
    request: Request, parts: Answering, operator: SignedIn, form: Sent
) -> Response:
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
