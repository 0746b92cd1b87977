"""Probes for load balancers and orchestrators; open to everybody, and silent about details."""

from __future__ import annotations

from typing import Literal

from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from reminders.observability.scrape import Scrape
from starter.api import reading
from starter.api.errors import RETRY_AFTER, problem
from starter.api.models import Mirror, Out
from starter.health.diagnosis import Level

router = reading.router(tags=["probes"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class CheckOut(Out):
    """One thing that was looked at."""

    name: str
    ok: bool
    """Whether reminders go out as far as this is concerned; true for a warning, too."""
    level: Level
    detail: str
    remedy: str | None


class Readiness(Mirror):
    """Whether reminders will go out."""

    ready: bool
    cause: str | None
    """The one thing to put right first."""
    checks: list[CheckOut]


@router.get("/healthz", summary="Whether this process answers")
async def healthz() -> Alive:
    """Asks nothing else: a process is not to be restarted because PostgreSQL is away."""
    return Alive()


@router.get("/metrics", summary="Counts for Prometheus", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Numbers and closed vocabularies only; what is read for them is read every 10 s at the most."""
    scrape: Scrape = request.app.state.scrape
    return await scrape.response()


@router.get(
    "/readyz",
    summary="Whether reminders will go out",
    response_model=Readiness,
    responses={503: {"description": "They will not; `cause` says why, `checks` what to do"}},
)
async def readyz(request: Request) -> Response | Readiness:
    """Database, schema, Temporal, search attributes, a worker that polls, nothing overdue."""
    readiness = Readiness.of(await request.app.state.parts.examiner.examine())
    if readiness.ready:
        return readiness
    return problem(
        request,
        503,
        slug="not-ready",
        title="Reminders will not go out",
        detail=readiness.cause or "",
        headers={"Retry-After": str(RETRY_AFTER)},
        **readiness.model_dump(mode="json"),
    )
