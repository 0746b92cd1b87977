"""What operators run and see to: sweeps by hand, past runs, and whether e-mails go out."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field

from reminders.domain.model import StatusReason
from starter.api.models import In, Mirror, Out, PageOut, ReasonBody
from starter.api.routing import ACCEPTED, BODY, INVALID, Answering, Caller, by, v1_router
from starter.services.sweeps import Run, RunKind, RunState

router = v1_router("sweeps")
delivery = v1_router("delivery")


class RunFilters(In):
    """Which runs to list."""

    cursor: Annotated[str, Field(max_length=2000)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=20, ge=1, le=100)
    kind: RunKind | None = None
    """Only sweeps, or only changes of sessions."""
    state: RunState | None = None
    """Only those that stand so; `failed` is whatever ended otherwise than completed."""


class SweepOut(Mirror):
    """A sweep that runs now."""

    workflow_id: str
    run_id: str
    started: bool
    """False when one was running already: it is the one that is named."""


class RunOut(Out):
    """One run of a workflow that keeps house: a sweep, or a session's change."""

    workflow_id: str
    run_id: str
    workflow_type: str = Field(examples=["ReminderSweepWorkflow"])
    session_id: UUID | None
    """Whose change it is; null of a sweep."""
    status: str = Field(examples=["completed"])
    started_at: datetime
    closed_at: datetime | None
    result: dict[str, Any] | None = Field(
        examples=[
            {
                "processed": 1,
                "totalReminders": 3,
                "totalFailed": 0,
                "results": {"lost": {"found": 1, "repaired": 1, "reminders": 3}},
            }
        ]
    )
    """What a finished run counted: of a sweep `processed`, `totalReminders`, `totalFailed`, and
    `results` by kind. Null while it runs, and when it failed."""
    url: str | None
    """In the Temporal UI; null unless `TEMPORAL_UI_URL` is set."""

    @classmethod
    def of(cls, run: Run, url: str | None) -> Self:
        """The run; a sweep's totals have the names that its users know."""
        names = {"total_reminders": "totalReminders", "total_failed": "totalFailed"}
        result = None
        if run.result is not None:
            result = {names.get(name, name): value for name, value in run.result.items()}
        return cls(**{**asdict(run), "result": result}, session_id=run.session_id, url=url)


class RunPageOut(PageOut[RunOut]):
    """Some runs, the newest first, and where older ones begin."""


class QuotaOut(Out):
    """A quota of the provider, as it said last."""

    name: str
    """`daily` or `monthly`."""
    used: int
    limit: int | None
    """E-mails; null is unlimited."""
    resets_at: datetime
    checked_at: datetime
    sent_since: int
    """Reminders that the provider has accepted since then; they come on top of `used`."""


class DeliveryStateOut(Out):
    """Whether the provider takes e-mails at present."""

    held_because: StatusReason | None
    """`quota` or `misconfigured`: nothing is posted; null when all is well."""
    held_sender: str | None
    """Fingerprint of the key and sender that are refused, which each worker logs at its start: those
    that post with others go on. Null when all workers are held, or none."""
    held_until: datetime | None
    """When it is tried again by itself."""
    held_detail: str | None = Field(
        examples=["Resend answered 403 validation_error: The domain is not verified."]
    )
    """The provider's own words, without addresses and keys; null while nothing is held."""
    quotas: list[QuotaOut]
    """Empty while the provider has not said, as it does not to a key that may only send."""


class ResumedOut(Out):
    """Delivery goes on."""

    held_because: StatusReason | None
    """Why it was held; null if it was not."""


@router.post(
    "/sweeps",
    status_code=ACCEPTED,
    summary="Look now for changes that nobody reported",
    responses={200: {"model": SweepOut, "description": "One was running already"}, **BODY},
)
async def sweep(
    parts: Answering, caller: Caller, response: Response, body: ReasonBody | None = None
) -> SweepOut:
    """Start a sweep, or find the one that runs. It reconciles and sends nothing.

    Works while the Schedule is paused; `GET /v1/runs` shows what it found.
    """
    started = await parts.sweeps.start(by(caller, body))
    if not started.started:
        response.status_code = 200
    return SweepOut.of(started)


@router.get("/runs", summary="Past and present runs", responses={**INVALID})
async def runs(filters: Annotated[RunFilters, Query()], parts: Answering) -> RunPageOut:
    """Sweeps and session changes, the newest first, as long as Temporal keeps them."""
    page = await parts.sweeps.runs(
        kind=filters.kind, state=filters.state, limit=filters.limit, cursor=filters.cursor
    )
    return RunPageOut(
        items=[
            RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id)) for run in page.runs
        ],
        next_cursor=page.next_cursor,
    )


@delivery.get("/delivery", summary="Whether the provider takes e-mails, and its quotas")
async def delivery_state(parts: Answering) -> DeliveryStateOut:
    """The hold that keeps all workers from sending, if there is one, and what is left."""
    hold, quotas = await parts.provider.hold(), await parts.provider.quotas()
    return DeliveryStateOut(
        held_because=hold.reason if hold else None,
        held_sender=hold.sender if hold else None,
        held_until=hold.until if hold else None,
        held_detail=hold.detail if hold else None,
        quotas=quotas,
    )


@delivery.post(
    "/delivery/resume", summary="Send again: key, sender or quota is back in order", responses=BODY
)
async def resume(parts: Answering, caller: Caller, body: ReasonBody | None = None) -> ResumedOut:
    """End the hold, so that everything that is still useful goes out. Safe to repeat.

    What waits comes back within a minute, after a used up quota within five. Without this call
    the provider is tried again by itself, as often. If it still refuses, it is held again.
    """
    return ResumedOut(held_because=await parts.provider.resume(by(caller, body)))
