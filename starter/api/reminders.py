"""The ledger: listed, and reminders sent once more or now."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response
from pydantic import Field

from reminders.clock import SystemClock
from reminders.db.audit import By
from reminders.domain.model import ReminderStatus, StatusReason
from starter.api.models import Cursor, In, MaybeReason, Mirror, PageOut, QueryInstant, Reason
from starter.api.routing import (
    BODY,
    CONFLICT,
    CREATED,
    INVALID,
    NO_SESSION,
    Answering,
    Caller,
    created,
    v1_router,
)
from starter.services import reasons

router = v1_router("reminders")


class ReminderFilters(In):
    """Which reminders to list."""

    session_id: UUID | None = None
    user_id: UUID | None = None
    email_status: ReminderStatus | None = None
    status_reason: StatusReason | None = None
    since: QueryInstant | None = None
    """Due then or later."""
    until: QueryInstant | None = None
    """Due before then."""
    newest: bool = False
    """By descending due instant; a cursor belongs to one order."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=50, ge=1, le=200)


class ResendBody(In):
    """Why a reminder is to go out once more, or now."""

    reason: Reason = Field(examples=["landed in the spam folder, ticket 4711"])


class RedriveBody(In):
    """Which failed reminders are to go out once more, and why."""

    session_id: UUID | None = None
    """Only of this session."""
    reason: MaybeReason = Field(default=None, examples=["sender put right, incident 42"])
    """Required unless `dry_run`."""
    dry_run: bool = False
    """Only count."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=200, ge=1, le=1000)
    """Enrollments at the most."""


class PlannedReminderOut(Mirror):
    """One reminder of a plan."""

    id: UUID
    reminder_type: str = Field(examples=["24h"])
    due_at: datetime
    email_status: ReminderStatus = Field(validation_alias="status", examples=["scheduled"])
    status_reason: StatusReason | None = Field(validation_alias="reason", examples=[None])


def decided(found: dict[str, Any]) -> str:
    """What was decided about a reminder and why, from the fields that are known of it."""
    return reasons.decision(
        found["email_status"],
        found["status_reason"],
        due_at=found["due_at"],
        now=SystemClock().now(),
    )


class ReminderOut(PlannedReminderOut):
    """One row of the ledger: one e-mail that is to be sent, was sent, or was not, and why."""

    session_id: UUID
    user_id: UUID
    generation: int
    """From 1; a legitimate second sending is a new generation."""
    decision: str = Field(
        default_factory=decided,
        examples=["waits for its due instant"],
    )
    """What was decided and why, for people."""
    attempts: int
    """Requests to the provider that carried it."""
    sent_at: datetime | None
    """When the provider accepted it."""
    resend_email_id: str | None
    last_error: str | None
    workflow_id: str | None
    run_id: str | None
    updated_at: datetime | None


class ReminderPageOut(PageOut[ReminderOut]):
    """Some reminders, by ascending due instant, and where the next ones begin."""


class RedriveOut(Mirror):
    """What a redrive did, in reminders."""

    dry_run: bool
    found: int
    """Failed reminders of sessions that take place and have not begun."""
    resent: int
    """Planned once more, as a new generation; with `dry_run`, what would be."""
    left_alone: dict[str, int] = Field(examples=[{"outcome_unknown": 1, "superseded": 12}])
    """Those that are not, by reason."""
    next_cursor: str | None
    """Null on the last page."""


@router.get(
    "/reminders",
    summary="The ledger, a page at a time",
    responses={**INVALID},
)
async def list_reminders(
    filters: Annotated[ReminderFilters, Query()], parts: Answering
) -> ReminderPageOut:
    """Reminders by ascending due instant; pass `next_cursor` as `cursor` for the next page."""
    page = await parts.queries.list(**filters.model_dump())
    return ReminderPageOut(items=page.reminders, next_cursor=page.next_cursor)


@router.post(
    "/reminders/redrive",
    summary="Send once more what failed and can still be of use",
    responses={**NO_SESSION, **BODY},
)
async def redrive(body: RedriveBody, parts: Answering, caller: Caller) -> RedriveOut:
    """Plan the failed reminders of sessions that have not begun once more, a page at a time.

    One e-mail a person: of several failed reminders the latest, and none if a later one went out.
    What may have been accepted after all (`outcome_unknown`) is left alone. With `dry_run` it only
    counts.
    """
    if body.session_id is not None:
        await parts.catalogue.session(body.session_id)
    receipt = await parts.resending.redrive(
        By(caller, body.reason),
        session_id=body.session_id,
        dry_run=body.dry_run,
        cursor=body.cursor,
        limit=body.limit,
    )
    return RedriveOut.of(receipt)


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
    reminder_id: UUID, body: ResendBody, parts: Answering, caller: Caller, response: Response
) -> ReminderOut:
    """Plan the next generation of a reminder that has ended. Safe to repeat.

    It is due at its instant, or now if that has passed, and its workflow sends it. Asked twice for
    the same one, the second answer is the generation that the first has made (200).
    """
    resent = await parts.resending.resend(reminder_id, By(caller, body.reason))
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
async def send_now(
    reminder_id: UUID, body: ResendBody, parts: Answering, caller: Caller
) -> ReminderOut:
    """Have a reminder that waits for its instant be due now. Safe to repeat: it goes out once.

    Its workflow sends it within moments, as it sends any other; the answer is the reminder as it
    waits. One that has ended is refused (409): have it sent once more instead.
    """
    asked = await parts.resending.send_now(reminder_id, By(caller, body.reason))
    return ReminderOut.of(asked.reminder)
