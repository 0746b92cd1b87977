"""Sessions: stored, changed, cancelled."""

from __future__ import annotations

from uuid import UUID

from fastapi import Response

from starter.api.answering import (
    ACCEPTED,
    BODY,
    CREATED,
    INVALID,
    NO_SESSION,
    PLATFORM_OWNED,
    Answering,
    created,
    under_way,
    v1_router,
)
from starter.api.answers.receipts import CancelReceiptOut
from starter.api.answers.sessions import ChangedSession, ChangesOut, SessionWithCounts, UnderWayOut
from starter.api.bodies.base import ReasonBody
from starter.api.bodies.sessions import CancelBody, SessionBody
from starter.services.deeds import By

router = v1_router("sessions")

ACTOR = "api"


def _by(body: ReasonBody | CancelBody | None) -> By:
    return By(ACTOR, body.reason if body else None)


@router.put(
    "/sessions/{session_id}",
    summary="Create or change a session",
    responses={
        **created(ChangedSession, "It is new"),
        **under_way(ChangedSession),
        **PLATFORM_OWNED,
        **BODY,
    },
)
async def put_session(
    session_id: UUID, body: SessionBody, parts: Answering, response: Response
) -> ChangedSession:
    """Store a session, whole. Safe to repeat.

    If its start or status changes, every enrollment is planned anew: the old times can no longer
    fire, and a cancelled session reminds nobody, late starters included. `changes` has the counts;
    when that takes longer than a few seconds, `under_way` has the workflow that is at it (202).

    The same call repeated tells nobody, and its counts are zero, unless the first failed half-way:
    then it completes it. Without `status` the session keeps the one that it has.
    """
    change, receipt = await parts.gateway.put_session(
        body.to_session(session_id), keep_status=body.status is None, actor=ACTOR
    )
    if change.created:
        response.status_code = CREATED
    elif not receipt.is_done:
        response.status_code = ACCEPTED
    return ChangedSession.of(change, receipt)


@router.post(
    "/sessions/{session_id}/changed",
    summary="A session, or a rule, changed: read it again",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def session_changed(
    session_id: UUID, parts: Answering, response: Response, body: ReasonBody | None = None
) -> ChangesOut | UnderWayOut:
    """Plan every enrollment anew and tell its workflow. Safe to repeat."""
    receipt = (await parts.deeds.replan_session(session_id, _by(body))).receipt
    if receipt.is_done:
        return ChangesOut.of(receipt)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.post(
    "/sessions/{session_id}/cancel",
    summary="Cancel a session: all its pending reminders, for everybody",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def cancel_session(
    session_id: UUID, parts: Answering, response: Response, body: CancelBody | None = None
) -> CancelReceiptOut | UnderWayOut:
    """Cancel the session, so that nobody is reminded, late starters included. Safe to repeat.

    With `dry_run` it only counts what a cancel would meet.
    """
    if body is not None and body.dry_run:
        return CancelReceiptOut.of(await parts.gateway.expected(session_id))
    receipt = (await parts.deeds.cancel_session(session_id, _by(body))).receipt
    if receipt.is_done:
        return CancelReceiptOut.of(receipt.reminders)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.post(
    "/sessions/{session_id}/restore",
    summary="Hold a cancelled session after all",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def restore_session(
    session_id: UUID, parts: Answering, response: Response, body: ReasonBody | None = None
) -> ChangesOut | UnderWayOut:
    """Take a cancel back: what still lies ahead is planned anew for everybody. Safe to repeat.

    A session that an existing platform has cancelled in its own table stays so.
    """
    receipt = (await parts.deeds.restore_session(session_id, _by(body))).receipt
    if receipt.is_done:
        return ChangesOut.of(receipt)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.get(
    "/sessions/{session_id}",
    summary="A session, with its reminders counted by status",
    responses={**NO_SESSION, **INVALID},
)
async def get_session(session_id: UUID, parts: Answering) -> SessionWithCounts:
    """The session as it is stored, and how many of its reminders are in each status."""
    session = await parts.catalogue.session(session_id)
    return SessionWithCounts.of(session, await parts.catalogue.counts(session_id))
