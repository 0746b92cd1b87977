"""A rehearsal: which e-mails an enrollment would get from now on."""

from __future__ import annotations

from fastapi import Request, Response

from starter.admin.form import parse_uuid
from starter.admin.rendering import render
from starter.admin.routing import Answering, page_router
from starter.api.mails import RehearsalOut
from starter.services.rehearsal import rehearsed

router = page_router()


@router.get("/rehearsal")
async def rehearsal(
    request: Request, parts: Answering, session: str = "", user: str = ""
) -> Response:
    """Every e-mail with its instant and its subject, once a session is chosen. Nothing is sent."""
    session_id, user_id = parse_uuid(session, "session"), parse_uuid(user, "user")
    played = None
    if session_id is not None:
        played = RehearsalOut.of(*await rehearsed(parts, session_id, user_id=user_id))
    return render(
        request,
        "rehearsal.html",
        chosen={"session": session, "user": user},
        played=played,
        choices=await parts.browser.choices(parts.clock.now(), session_id),
    )
