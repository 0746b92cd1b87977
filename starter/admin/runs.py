"""Runs of background work: sweeps, changes of sessions and back-fills; and a sweep by hand."""

from __future__ import annotations

from typing import Literal

from fastapi import Request, Response

from reminders.db.audit import LONGEST_REASON, Action, By
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, page_router, redirect
from starter.api.routing import Answering
from starter.services.sweeps import RunKind, RunState

router = page_router()

_KINDS = {RunKind.SWEEP: "Sweep", RunKind.CHANGE: "Session changed"}


@router.get("/runs")
async def runs(
    request: Request,
    parts: Answering,
    kind: Literal[""] | RunKind = "",
    state: Literal[""] | RunState = "",
    after: str = "",
) -> Response:
    """Past and present runs, as long as Temporal keeps them."""
    page = await parts.sweeps.runs(
        kind=kind or None, state=state or None, limit=15, cursor=after or None
    )
    is_all = not (after or kind or state)
    backfills = await parts.audit.entries(action=Action.BACKFILLED, limit=5) if is_all else ()
    return render(
        request,
        "runs.html",
        runs=page.runs,
        more=page.next_cursor,
        is_first=not after,
        kind=kind,
        state=state,
        kinds=_KINDS,
        states=list(RunState),
        backfills=backfills,
        names=await parts.browser.names(
            {run.session_id for run in page.runs} | {entry.session_id for entry in backfills}
        ),
        run_url=lambda run: parts.workflow_url(run.workflow_id, run.run_id),
    )


@router.post("/sweeps")
async def sweep(parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """Look now for what nobody told us; it reconciles and sends nothing."""
    reason = form.text("reason", longest=LONGEST_REASON) or None
    done = await parts.sweeps.start(By(operator.actor, reason))
    return redirect(f"/audit/{done.event_id}")
