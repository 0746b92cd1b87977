"""The first page: how things stand, and what needs somebody."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import Request, Response

from reminders.db.audit import By
from reminders.domain.errors import DatabaseUnavailableError
from starter.admin.attention import concerns
from starter.admin.guard import Answering, Sent, SignedIn, pages, redirect
from starter.admin.plot import by_hour
from starter.admin.view import render
from starter.assembly import Parts
from starter.health.examiner import OVERDUE

router = pages()


@router.get("")
async def overview(request: Request, parts: Answering) -> Response:
    """Counters, the next hours, the parts of the system; what is away is said, not hidden."""
    diagnosis, figures = await asyncio.gather(parts.examiner.examine(), _figures(parts))
    return render(
        request,
        "overview.html",
        diagnosis=diagnosis,
        concerns=concerns(
            parts.clock.now(),
            diagnosis=diagnosis,
            backlog=figures["backlog"],
            today=figures["today"],
            quotas=figures["quotas"],
            hold=figures["hold"],
        ),
        **figures,
    )


@router.post("/delivery/resume")
async def resume(parts: Answering, visitor: SignedIn, form: Sent) -> Response:
    """End the hold that keeps all workers from sending."""
    await parts.provider.resume(By(visitor.actor, form.reason()))
    return redirect("")


async def _figures(parts: Parts) -> dict[str, Any]:
    """What the ledger says; nothing while it cannot be asked."""
    now = parts.clock.now()
    ledger = parts.overview
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        backlog, today, hours, quotas, hold = await asyncio.gather(
            ledger.backlog(now, tolerated=OVERDUE),
            ledger.day(midnight, tolerated=OVERDUE),
            ledger.due_by_hour(now),
            parts.provider.quotas(),
            parts.provider.hold(),
        )
    except DatabaseUnavailableError:
        return {"backlog": None, "today": None, "plot": None, "quotas": (), "hold": None}
    return {
        "backlog": backlog,
        "today": today,
        "plot": by_hour(hours),
        "quotas": quotas,
        "hold": hold,
    }
