"""The ledger itself, page by page."""

from __future__ import annotations

from fastapi import Request, Response

from reminders.domain.errors import InvalidInputError
from reminders.domain.model import ReminderStatus
from starter.admin.guard import Answering, pages
from starter.admin.view import render

router = pages()


@router.get("/reminders")
async def reminders(
    request: Request, parts: Answering, status: str = "scheduled", after: str = ""
) -> Response:
    """Reminders in one status, by their due instant."""
    try:
        chosen = ReminderStatus(status)
    except ValueError as error:
        raise InvalidInputError("is not a status of a reminder", field="status") from error
    page = await parts.queries.list(status=chosen, cursor=after or None)
    return render(request, "reminders.html", page=page, chosen=chosen)
