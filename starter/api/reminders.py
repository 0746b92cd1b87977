"""The ledger."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from starter.api.answering import (
    BODY,
    CONFLICT,
    CREATED,
    INVALID,
    NO_SESSION,
    Answering,
    created,
    v1_router,
)
from starter.api.answers.reminders import RedriveOut, ReminderOut, ReminderPageOut
from starter.api.bodies.reminders import RedriveBody, ReminderFilters, ResendBody
from starter.services.deeds import By

router = v1_router("reminders")

ACTOR = "api"


@router.get(
    "/reminders",
    summary="The ledger, a page at a time",
    responses={**INVALID},
)
async def list_reminders(
    filters: Annotated[ReminderFilters, Query()], parts: Answering
) -> ReminderPageOut:
    """Reminders by ascending due instant; pass `next_cursor` as `cursor` for the next page."""
    page = await parts.queries.list(
        session_id=filters.session_id,
        user_id=filters.user_id,
        status=filters.email_status,
        reason=filters.status_reason,
        cursor=filters.cursor,
        limit=filters.limit,
    )
    return ReminderPageOut(
        items=[ReminderOut.of(r) for r in page.reminders], next_cursor=page.next_cursor
    )


@router.post(
    "/reminders/redrive",
    summary="Send once more what failed and can still be of use",
    responses={**NO_SESSION, **BODY},
)
async def redrive(body: RedriveBody, parts: Answering) -> RedriveOut:
    """Plan the failed reminders of sessions that have not begun once more, a page at a time.

    One e-mail a person: of several failed reminders the latest, and none if a later one went out.
    What may have been accepted after all (`outcome_unknown`) is left alone. With `dry_run` it only
    counts.
    """
    if body.session_id is not None:
        await parts.catalogue.session(body.session_id)
    if body.dry_run:
        receipt = await parts.resending.redrive(
            reason="",
            actor=ACTOR,
            session_id=body.session_id,
            dry_run=True,
            cursor=body.cursor,
            limit=body.limit,
        )
    else:
        done = await parts.deeds.redrive(
            By(ACTOR, body.reason),
            session_id=body.session_id,
            cursor=body.cursor,
            limit=body.limit,
            patience=timedelta(),
        )
        receipt = done.receipt
    return RedriveOut.of(receipt, dry_run=body.dry_run)


@router.post(
    "/reminders/{reminder_id}/resend",
    summary="Send one reminder once more",
    responses={
        **created(ReminderOut, "It is planned, as a new generation"),
        404: {"description": "There is no such reminder"},
        **CONFLICT,
        **BODY,
    },
)
async def resend(
    reminder_id: UUID, body: ResendBody, parts: Answering, response: Response
) -> ReminderOut:
    """Plan the next generation of a reminder that has ended. Safe to repeat.

    It is due at its instant, or now if that has passed, and its workflow sends it. Asked twice for
    the same one, the second answer is the generation that the first has made (200).
    """
    resent = await parts.resending.resend(reminder_id, reason=body.reason, actor=ACTOR)
    if resent.is_new:
        response.status_code = CREATED
    return ReminderOut.of(resent.reminder)


@router.post(
    "/reminders/{reminder_id}/send-now",
    summary="Send a reminder that still waits now",
    responses={
        404: {"description": "There is no such reminder"},
        **CONFLICT,
        **BODY,
    },
)
async def send_now(reminder_id: UUID, body: ResendBody, parts: Answering) -> ReminderOut:
    """Have a reminder that waits for its instant be due now. Safe to repeat: it goes out once.

    Its workflow sends it within moments, as it sends any other; the answer is the reminder as it
    waits. One that has ended is refused (409): have it sent once more instead.
    """
    asked = await parts.resending.send_now(reminder_id, reason=body.reason, actor=ACTOR)
    return ReminderOut.of(asked.reminder)
