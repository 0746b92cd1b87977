"""People: searched for by name, address or id, and everything that one of them is enrolled in."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.db.lookups import FOUND_AT_ONCE, Browser
from starter.admin.rendering import render
from starter.admin.routing import Answering, Sent, page_router, redirect
from starter.assembly import Parts

router = page_router()


@router.get("/people")
async def people(request: Request) -> Response:
    """Where to look for somebody."""
    return render(request, "people.html", search="", people=None, is_cut=False)


@router.post("/people")
async def search(request: Request, parts: Answering, form: Sent) -> Response:
    """Who is meant; posted, because addresses do not belong into logs."""
    return await search_people(request, parts, form.required("q", longest=200))


async def search_people(request: Request, parts: Parts, wanted: str) -> Response:
    """The page of the one who is meant, or a list of those who may be."""
    found = await Browser(parts.database).people(wanted, limit=FOUND_AT_ONCE + 1)
    if len(found) == 1:
        return redirect(f"/people/{found[0].user_id}")
    return render(
        request,
        "people.html",
        search=wanted,
        people=found[:FOUND_AT_ONCE],
        is_cut=len(found) > FOUND_AT_ONCE,
    )


@router.get("/people/{user_id}")
async def person(request: Request, user_id: UUID, parts: Answering) -> Response:
    """Everything that one person is or was enrolled in."""
    return render(
        request,
        "person.html",
        attendee=await parts.catalogue.user(user_id),
        enrollments=await Browser(parts.database).enrollments(user_id),
    )
