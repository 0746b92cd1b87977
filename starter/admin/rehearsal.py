"""A rehearsal: which e-mails an enrollment would get from now on."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.domain.errors import InvalidInputError
from starter.admin.rendering import render
from starter.admin.routing import Answering, Sent, page_router
from starter.api.mails import RehearsalOut
from starter.services.rehearsal import rehearsed

router = page_router()


@router.get("/rehearsal")
async def rehearsal_page(request: Request, session: UUID | None = None) -> Response:
    """What to rehearse."""
    return render(request, "rehearsal.html", session=session or "", user="", played=None)


@router.post("/rehearsal")
async def rehearse(request: Request, parts: Answering, form: Sent) -> Response:
    """Show every e-mail with its instant and its subject. Nothing is sent."""
    session, user = form.uuid("session"), form.uuid("user")
    if session is None:
        raise InvalidInputError("must be filled in", field="session")
    played = RehearsalOut.of(*await rehearsed(parts, session, user_id=user))
    return render(request, "rehearsal.html", session=session, user=user or "", played=played)
