"""How far a session's change is: of a cancel by the ledger, of any other by what its run has told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from reminders.db.browsing import Browser
from reminders.model import EnrollmentStatus, ReminderStatus, SessionStatus
from starter.assembly import Parts
from starter.receipts import CancelReceipt, ChangeReceipt
from starter.sweeps import Run

LOOK_EVERY = timedelta(seconds=0.5)
"""How often somebody at a terminal is told."""
STILL = timedelta(minutes=2)
"""Whoever has seen nothing move for so long is not kept waiting: there may be no worker."""


@dataclass(frozen=True, slots=True)
class Standing:
    """So many of so many."""

    done: int
    total: int
    of: str
    """What is counted, as people say it."""


async def standing(parts: Parts, session_id: UUID, run: Run) -> Standing | None:
    """How far the change of a session is; `None` if nothing can be said yet.

    The ledger says at any moment how many reminders a cancel has still to call off. What a re-plan
    has done only its workflow knows, whose activity tells it with its heartbeat, now and then.

    Raises:
        SessionNotFoundError: If there is no such session.
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    session = await parts.catalogue.session(session_id)
    if session.status is SessionStatus.CANCELLED:
        tally = await parts.queries.tally(session_id)
        done = tally.get(ReminderStatus.CANCELLED, 0)
        total = done + tally.get(ReminderStatus.SCHEDULED, 0)
        return Standing(done, total, "reminders called off")
    if run.so_far is None:
        return None
    enrolled = await Browser(parts.database).enrolled(session_id)
    total = sum(n for status, n in enrolled.items() if status is not EnrollmentStatus.CANCELLED)
    return Standing(int(run.so_far.get("enrollments", 0)), total, "enrollments planned anew")


async def followed(
    parts: Parts,
    session_id: UUID,
    change: ChangeReceipt,
    tell: Callable[[Standing], None],
) -> ChangeReceipt:
    """Wait for the end of a change that is under way; whoever stops waiting stops nothing.

    Nobody waits for more than two minutes without anything done.

    Args:
        parts: To ask with.
        session_id: Whose change.
        change: Its receipt until now.
        tell: Called now and then with how far it is.

    Returns:
        The counts; the receipt as it was if the workflow ended without any, or is at it still.
    """
    if change.is_done or change.workflow_id is None:
        return change
    before, moved_at = None, parts.clock.now()
    while (run := await parts.sweeps.run(change.workflow_id, change.run_id)) is not None:
        if run.status != "running":
            break
        now = await standing(parts, session_id, run)
        if now != before:
            before, moved_at = now, parts.clock.now()
        elif parts.clock.now() - moved_at > STILL:
            return change
        if now is not None:
            tell(now)
        await asyncio.sleep(LOOK_EVERY.total_seconds())
    if run is None or run.result is None:
        return change
    return ChangeReceipt(
        workflow_id=change.workflow_id,
        run_id=change.run_id,
        enrollments=run.result["enrollments"],
        replanned=run.result["replanned"],
        unconfirmed=run.result["unconfirmed"],
        reminders=CancelReceipt(
            cancelled=run.result["cancelled"],
            already_sent=run.result["already_sent"],
            in_flight=run.result["in_flight"],
        ),
    )
