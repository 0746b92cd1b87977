"""People: searched for by name, address or id, and everything that one of them is enrolled in."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.lookups import FOUND_AT_ONCE
from starter.admin.rendering import render
from starter.admin.routing import (
    Answering,
    Searched,
    Sent,
    SignedIn,
    page_router,
    redirect,
    to_results,
)
from starter.admin.searches import LONGEST

router = page_router()


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
    return to_results(request, operator, "/people", form.required("q", longest=LONGEST))


@router.get("/people/{user_id}")
async def person(request: Request, user_id: UUID, parts: Answering) -> Response:
    """Everything that one person is or was enrolled in."""
    return render(
        request,
        "person.html",
        attendee=await parts.catalogue.user(user_id),
        default_locale=parts.settings.email_locale,
        enrollments=await parts.browser.enrollments(user_id),
    )
