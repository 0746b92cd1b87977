"""The audit log; and the receipt of each entry, which follows the work until it is done."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response

from reminders.db.audit import Action, Event
from reminders.domain.errors import NotFoundError, TemporalUnavailableError
from starter.admin.form import clean
from starter.admin.rendering import render
from starter.admin.routing import page_router
from starter.api.routing import Answering
from starter.assembly import Parts
from starter.services.sweeps import Run

router = page_router()

_PAGE = 50
_ORDER = ("enrollments", "replanned", "resent", "cancelled", "already_sent", "in_flight")
"""How counts are read: what was gone through, what was done, what was not."""


@router.get("/audit")
async def audit(
    request: Request,
    parts: Answering,
    *,
    session: UUID | None = None,
    user: UUID | None = None,
    action: Literal[""] | Action = "",
    actor: str = "",
    before: int | None = None,
) -> Response:
    """All entries, or those about a session or a person, of one kind, of somebody; the newest first."""
    actor = clean(actor, "actor")
    found = await parts.audit.entries(
        session_id=session,
        user_id=user,
        action=action or None,
        actor=actor or None,
        before=before,
        limit=_PAGE + 1,
    )
    entries = found[:_PAGE]
    wanted = {"session": session, "user": user, "action": action, "actor": actor}
    return render(
        request,
        "audit.html",
        entries=entries,
        more=entries[-1].id if len(found) > _PAGE else None,
        chosen=urlencode({name: value for name, value in wanted.items() if value}),
        session_id=session,
        user_id=user,
        action=action,
        actor=actor,
        actions=list(Action),
        names=await parts.browser.names(
            [session, *(e.session_id for e in entries)], [user, *(e.user_id for e in entries)]
        ),
    )


@router.get("/audit/{event_id}")
async def receipt(request: Request, event_id: int, parts: Answering) -> Response:
    """One entry: what was done, by whom, why, and what came of it."""
    entry = await parts.audit.entry(event_id)
    if entry is None:
        msg = "There is no such entry."
        raise NotFoundError(msg)
    names = await parts.browser.names([entry.session_id], [entry.user_id])
    run = await _run(parts, entry)
    is_running = run is not None and run.status == "running"
    return render(
        request,
        "receipt.html",
        entry=entry,
        names=names,
        counts=_counts(entry, run),
        other={k: v for k, v in entry.details.items() if not _is_count(v)},
        run=run,
        is_running=is_running,
        enrolled=await parts.browser.taking_part(entry.session_id)
        if is_running and entry.session_id
        else None,
        run_url=parts.workflow_url(run.workflow_id, run.run_id) if run else None,
    )


async def _run(parts: Parts, entry: Event) -> Run | None:
    """The workflow that did it; `None` if there is none, or Temporal does not say any more."""
    workflow_id, run_id = entry.details.get("workflow_id"), entry.details.get("run_id")
    if not workflow_id:
        return None
    try:
        return await parts.sweeps.run(workflow_id, run_id)
    except TemporalUnavailableError:
        return None


def _counts(entry: Event, run: Run | None) -> dict[str, int]:
    """What was counted: by the workflow, so far or in all, and when it was written down."""
    ran = (run.result or run.so_far or {}) if run else {}
    counts = {name: n for name, n in {**entry.details, **ran}.items() if _is_count(n)}
    # The database gives them back by the length of their names.
    known = {name: counts[name] for name in _ORDER if name in counts}
    return known | counts


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
