"""How things stand, and what needs somebody: the first page, and the runs of background work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import Request, Response

from reminders.db import arrivals
from reminders.db.arrivals import DeliveryTimes
from reminders.db.audit import LONGEST_REASON, Action, By
from reminders.db.provider import QuotaReading
from reminders.db.reports import Backlog, Day, DueHour
from reminders.domain.errors import DatabaseUnavailableError
from reminders.domain.model import ReminderStatus
from reminders.domain.ports import Hold
from starter.admin.rendering import render
from starter.admin.routing import Sent, SignedIn, page_router, redirect
from starter.api.routing import Answering
from starter.assembly import Parts
from starter.health.diagnosis import Diagnosis, Level
from starter.services.reasons import OVERDUE, some
from starter.services.sweeps import RunKind, RunState

router = page_router()

QUOTA_IS_LOW = 0.8
"""From which used part of a quota on somebody should know."""
_SOLVED_ON = {
    "overdue": ("/reminders?status=scheduled", "See them"),
    "delivery": ("#delivery", "Resume"),
    "schedule": ("/runs", "Sweep now"),
    "arrival": ("/reminders?status=sent", "See them"),
}
"""Pages that help with a check that is red; the others are solved on the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What the ledger says."""

    backlog: Backlog
    today: Day
    hours: Sequence[DueHour]
    quotas: Sequence[QuotaReading]
    hold: Hold | None
    """Why nothing is posted at present."""
    times: DeliveryTimes | None
    """How long accepted e-mails took to arrive; absent if none did."""

    @property
    def highest(self) -> int:
        """What the upper edge of the chart stands for: 1, 2, 5, 10, 20, 50, ..."""
        most = max(hour.reminders for hour in self.hours)
        edges: Iterator[int] = (digit * 10**n for n in range(19) for digit in (1, 2, 5))
        return next(edge for edge in edges if edge >= most)


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that needs somebody, and where it is solved."""

    text: str
    link: str | None = None
    """Path below `/admin`."""
    link_text: str = ""
    remedy: str | None = None
    is_urgent: bool = True


@router.get("")
async def overview(request: Request, parts: Answering) -> Response:
    """Counters, the next hours, the parts of the system; what is away is said, not hidden."""
    diagnosis, figures = await asyncio.gather(parts.examiner.examine(), _figures(parts))
    return render(
        request,
        "overview.html",
        diagnosis=diagnosis,
        alerts=list(_alerts(parts.clock.now(), diagnosis, figures)),
        figures=figures,
    )


@router.post("/delivery/resume")
async def resume(parts: Answering, operator: SignedIn, form: Sent) -> Response:
    """End the hold that keeps all workers from sending."""
    await parts.provider.resume(By(operator.actor, form.reason()))
    return redirect("")


async def _figures(parts: Parts) -> Figures | None:
    """What the ledger says; `None` while it cannot be asked."""
    now = parts.clock.now()
    ledger = parts.overview
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        backlog, today, hours, quotas, hold, times = await asyncio.gather(
            ledger.backlog(now, tolerated=OVERDUE),
            ledger.day(midnight, tolerated=OVERDUE),
            ledger.due_by_hour(now),
            parts.provider.quotas(),
            parts.provider.hold(),
            arrivals.times(parts.database, now),
        )
    except DatabaseUnavailableError:
        return None
    return Figures(backlog=backlog, today=today, hours=hours, quotas=quotas, hold=hold, times=times)


def _alerts(now: datetime, diagnosis: Diagnosis, figures: Figures | None) -> Iterator[Alert]:
    """What needs somebody now, the most urgent first."""
    said = set()
    for check in diagnosis.checks:
        # A part that is away is found by every check that asks it, and said once.
        if check.level is not Level.OK and check.detail not in said:
            said.add(check.detail)
            text = check.detail[:1].upper() + check.detail[1:]
            link, link_text = _SOLVED_ON.get(check.name, (None, ""))
            yield Alert(text, link, link_text, check.remedy, is_urgent=not check.ok)
    if figures is None:
        return
    if failed := figures.backlog.redrivable:
        text = f"{some(failed, 'failed reminder')} can still be sent: the session has not begun"
        yield Alert(text, "/failed", "See why")
    for quota in figures.quotas:
        if (
            quota.limit
            and quota.used_by_now >= QUOTA_IS_LOW * quota.limit
            and quota.resets_at > now
        ):
            yield Alert(
                f"{quota.used_by_now} of {quota.limit} e-mails of the {quota.name} quota are used",
                remedy=f"it is renewed at {quota.resets_at:%Y-%m-%d %H:%M} UTC",
                is_urgent=figures.hold is not None,
            )
    if late := figures.today.late:
        text = f"{some(late, 'reminder')} of today went out late"
        yield Alert(text, None, "", is_urgent=False)
    for status, what in (
        (ReminderStatus.BOUNCED, "bounced"),
        (ReminderStatus.COMPLAINED, "drew a complaint"),
    ):
        if refused := figures.today.sent.get(status, 0):
            text = f"{some(refused, 'e-mail')} {what} today"
            yield Alert(text, f"/reminders?status={status}", "See them", is_urgent=False)


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
