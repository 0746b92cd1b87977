"""People: searched for by name, address or id, and everything that one of them is enrolled in."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.db.lookups import FOUND_AT_ONCE
from reminders.domain.model import OptOut
from starter.admin.cookies import LONGEST_SEARCH
from starter.admin.rendering import render
from starter.admin.routing import Searched, Sent, SignedIn, page_router, redirect, to_results
from starter.api.people import in_order
from starter.api.routing import Answering

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
