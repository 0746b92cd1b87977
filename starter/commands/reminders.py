"""The ledger."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from reminders.model import Reminder, ReminderStatus
from starter import printing
from starter.answers import ReminderOut, ReminderPageOut
from starter.assembly import Parts
from starter.commands.options import AsJson, show
from starter.running import ask

app = typer.Typer()

_LARGEST_PAGE = 200


@app.command("list")
def list_(
    status: Annotated[ReminderStatus | None, typer.Option(help="Only these.")] = None,
    session: Annotated[UUID | None, typer.Option(help="Only this session's.")] = None,
    user: Annotated[UUID | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the list before ended.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List reminders by ascending due instant."""

    async def listed(parts: Parts) -> ReminderPageOut:
        found: list[Reminder] = []
        after = cursor
        while len(found) < limit:
            page = await parts.queries.list(
                session_id=session,
                user_id=user,
                status=status,
                cursor=after,
                limit=min(limit - len(found), _LARGEST_PAGE),
            )
            found += page.reminders
            after = page.next_cursor
            if after is None:
                break
        return ReminderPageOut(items=[ReminderOut.of(r) for r in found], next_cursor=after)

    show(ask(listed), printing.reminders, as_json=as_json)
