"""Sweeps by hand, and past runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from starter.api.answering import ACCEPTED, BODY, INVALID, Answering, v1_router
from starter.api.answers.runs import RunOut, RunPageOut, SweepOut
from starter.api.bodies.base import ReasonBody
from starter.api.bodies.runs import RunFilters
from starter.services.deeds import By

router = v1_router("sweeps")

ACTOR = "api"


@router.post(
    "/sweeps",
    status_code=ACCEPTED,
    summary="Look now for what nobody told us",
    responses={200: {"model": SweepOut, "description": "One was running already"}, **BODY},
)
async def sweep(parts: Answering, response: Response, body: ReasonBody | None = None) -> SweepOut:
    """Start a sweep, or find the one that runs. It reconciles and sends nothing.

    Works while the Schedule is paused; `GET /v1/runs` tells what it found.
    """
    started = (await parts.deeds.sweep(By(ACTOR, body.reason if body else None))).receipt
    if not started.started:
        response.status_code = 200
    return SweepOut.of(started)


@router.get("/runs", summary="Past and present runs", responses={**INVALID})
async def runs(filters: Annotated[RunFilters, Query()], parts: Answering) -> RunPageOut:
    """Sweeps and session changes, the newest first, as long as Temporal keeps them."""
    page = await parts.sweeps.runs(limit=filters.limit, cursor=filters.cursor)
    return RunPageOut(
        items=[
            RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id)) for run in page.runs
        ],
        next_cursor=page.next_cursor,
    )
