"""Runs of background work: sweeps, changes of sessions and back-fills; and a sweep by hand."""

from __future__ import annotations

from fastapi import Request, Response

from reminders.db.audit import LONGEST_REASON, Action, By
from starter.admin.rendering import render
from starter.admin.routing import Answering, Sent, SignedIn, page_router, redirect

router = page_router()


@router.get("/runs")
async def runs(request: Request, parts: Answering, after: str = "") -> Response:
    """Past and present runs, as long as Temporal keeps them."""
    page = await parts.sweeps.runs(limit=15, cursor=after or None)
    log = parts.audit
    return render(
        request,
        "runs.html",
        runs=page.runs,
        more=page.next_cursor,
        is_first=not after,
        backfills=() if after else await log.entries(action=Action.BACKFILLED, limit=5),
        run_url=lambda run: parts.workflow_url(run.workflow_id, run.run_id),
    )


@router.post("/sweeps")
async def sweep(parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Look now for what nobody told us; it reconciles and sends nothing."""
    reason = form.text("reason", longest=LONGEST_REASON) or None
    done = await parts.sweeps.start(By(operator.actor, reason))
    return redirect(f"/audit/{done.event_id}")
