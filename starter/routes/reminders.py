"""The ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from starter.answers import ReminderOut, ReminderPageOut
from starter.bodies import ReminderFilters
from starter.routes.answering import INVALID, Answering, v1_router

router = v1_router("reminders")


@router.get(
    "/reminders",
    summary="The ledger, a page at a time",
    responses={**INVALID},
)
async def list_reminders(
    filters: Annotated[ReminderFilters, Query()], parts: Answering
) -> ReminderPageOut:
    """Reminders by ascending due instant; pass `next_cursor` as `cursor` for the next page."""
    page = await parts.queries.list(
        session_id=filters.session_id,
        user_id=filters.user_id,
        status=filters.email_status,
        cursor=filters.cursor,
        limit=filters.limit,
    )
    return ReminderPageOut(
        items=[ReminderOut.of(r) for r in page.reminders], next_cursor=page.next_cursor
    )
