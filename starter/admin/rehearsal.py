"""A rehearsal: which e-mails an enrollment would get from now on."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request, Response

from reminders.domain.errors import InvalidInputError
from starter.admin.form import Form
from starter.admin.guard import Answering, Sent, pages
from starter.admin.view import render
from starter.api.mails import RehearsalOut
from starter.services.rehearsal import rehearsed

router = pages()


@router.get("/rehearsal")
async def rehearsal_page(request: Request, session: UUID | None = None) -> Response:
    """What to rehearse."""
    return render(request, "rehearsal.html", session=session or "", user="", played=None)


@router.post("/rehearsal")
async def rehearse(request: Request, parts: Answering, form: Sent) -> Response:
    """Show every e-mail with its instant and its subject. Nothing is sent."""
    session, user = _uuid(form, "session"), _uuid(form, "user")
    if session is None:
        raise InvalidInputError("must be filled in", field="session")
    played = RehearsalOut.of(*await rehearsed(parts, session, user_id=user))
    return render(request, "rehearsal.html", session=session, user=user or "", played=played)


def _uuid(form: Form, name: str) -> UUID | None:
    text = form.text(name)
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is no id", field=name) from error
