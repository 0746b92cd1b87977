"""One field for everything: an id of whatever kind goes right to its page."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import UUID

from fastapi import Request, Response

from reminders.db.lookups import Browser
from reminders.domain.errors import SessionNotFoundError, UserNotFoundError
from starter.admin.people import search_people
from starter.admin.routing import Answering, Sent, page_router, redirect
from starter.assembly import Parts

router = page_router()

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WORKFLOW = re.compile(rf"session-reminder:({_UUID}):({_UUID})", re.IGNORECASE)


@router.post("/search")
async def search(request: Request, parts: Answering, form: Sent) -> Response:
    """Go to what an id names; other words are looked for among the titles of sessions.

    An address is looked for among people, and shows in no URL.

    The ids: of a session, a user, a reminder, a workflow, or of an e-mail at the provider.
    """
    wanted = form.text("q", longest=200)
    workflow = _WORKFLOW.fullmatch(wanted)
    if workflow:
        return redirect(f"/enrollments/{workflow[1]}/{workflow[2]}")
    if "@" in wanted:
        return await search_people(request, parts, wanted)
    path = await _named(parts, wanted) if wanted else None
    return redirect(path or f"/sessions?q={quote(wanted, safe='')}")


async def _named(parts: Parts, wanted: str) -> str | None:
    """The page of what has this id; `None` if nothing has."""
    browser = Browser(parts.database)
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
