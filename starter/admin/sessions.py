"""Sessions: looked for, listed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import Request, Response

from reminders.db.lookups import PAGE, Period
from reminders.domain.errors import InvalidInputError
from starter.admin.form import clean
from starter.admin.guard import Answering, pages
from starter.admin.view import render

router = pages()


@router.get("/sessions")
async def sessions(
    request: Request, parts: Answering, q: str = "", period: str = "upcoming", after: str = ""
) -> Response:
    """Upcoming or past sessions, with their reminders counted."""
    search = clean(q, "q", longest=200)
    chosen = Period.PAST if period == Period.PAST else Period.UPCOMING
    found = await parts.browser.sessions(
        parts.clock.now(),
        period=chosen,
        search=search,
        cursor=_cursor(after),
        limit=PAGE + 1,
    )
    page = found[:PAGE]
    more = f"{page[-1].starts_at.isoformat()}~{page[-1].id}" if len(found) > PAGE else None
    return render(
        request, "sessions.html", sessions=page, search=search, period=chosen.value, more=more
    )


def _cursor(text: str) -> tuple[datetime, UUID] | None:
    if not text:
        return None
    starts_at, _, session_id = text.partition("~")
    try:
        at = datetime.fromisoformat(starts_at)
        found = at, UUID(session_id)
    except ValueError as error:
        raise InvalidInputError(
            "is not one of ours; begin with the first page", field="after"
        ) from error
    if at.utcoffset() is None:
        raise InvalidInputError("has no UTC offset", field="after")
    return found
