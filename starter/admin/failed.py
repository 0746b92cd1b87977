"""Reminders that should have been sent and were not: why, what to do, and which can still go out."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from fastapi import Request, Response

from reminders.db.reports import EXAMPLES
from reminders.domain.errors import InvalidInputError
from reminders.domain.model import StatusReason
from starter.admin.guard import Answering, pages
from starter.admin.view import render

router = pages()

SHOWN = timedelta(days=30)
"""How far back failures are of interest here; `why` answers for ever."""

REMEDIES = {
    StatusReason.INVALID_ADDRESS: "Have the platform correct the address, then send again.",
    StatusReason.RENDER_ERROR: "Mend the subject of the rule, or what the session says; the error"
    " names the part. Then send again.",
    StatusReason.REJECTED: "Read the provider's words below; correct what they name, then send"
    " again.",
    StatusReason.QUOTA: "Raise the quota at the provider, or wait until it is renewed.",
    StatusReason.MISCONFIGURED: "Check RESEND_API_KEY and EMAIL_FROM against the provider's"
    " dashboard, then resume delivery. If the error is not in Resend's words: see what is between"
    " worker and provider.",
    StatusReason.EXPIRED: "See in the log of the workers what was away. These sessions have begun.",
    StatusReason.OUTCOME_UNKNOWN: "It may have arrived: ask the provider by the reminder's id, or"
    " the attendee, before sending again.",
}
"""What to do about a cause."""

NOT_REDRIVEN = {StatusReason.OUTCOME_UNKNOWN}
"""What goes out again one by one only, after somebody has looked."""


@router.get("/failed")
async def failed(
    request: Request,
    parts: Answering,
    reason: str = "",
    session: UUID | None = None,
) -> Response:
    """Causes, and the reminders of the one that was chosen."""
    now = parts.clock.now()
    since = now - SHOWN
    ledger = parts.failed
    causes = await ledger.causes(now, since=since, session_id=session)
    chosen = _reason(reason)
    if chosen is None and causes:
        chosen = causes[0].reason
    examples = await ledger.of_cause(chosen, now, since=since, session_id=session)
    return render(
        request,
        "failed.html",
        causes=causes,
        chosen=chosen,
        examples=examples,
        most=EXAMPLES,
        days=SHOWN.days,
        remedies=REMEDIES,
        is_redrivable=any(c.redrivable for c in causes if c.reason not in NOT_REDRIVEN),
        session_id=session,
    )


def _reason(name: str) -> StatusReason | None:
    try:
        return StatusReason(name) if name else None
    except ValueError as error:
        raise InvalidInputError("is not a reason of a status", field="reason") from error
