"""Sessions: stored, changed, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import AliasPath, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from reminders.db.audit import By
from reminders.domain.model import Notice, ReminderStatus, Session, SessionStatus
from starter.api.models import (
    BlankIsAbsent,
    In,
    Instant,
    Line,
    MaybeReason,
    Mirror,
    Notes,
    Out,
    ReasonBody,
    Title,
    WebUrl,
    ZoneName,
)
from starter.api.routing import (
    ACCEPTED,
    BODY,
    CREATED,
    INVALID,
    NO_SESSION,
    PLATFORM_OWNED,
    Answering,
    Caller,
    by,
    created,
    under_way,
    v1_router,
)
from starter.services.receipts import ChangeReceipt

router = v1_router("sessions")

_TellNobody = Annotated[
    bool, Query(description="No notices of the change, also where their rule is on.")
]


class SessionBody(In):
    """A session, whole: what is left out is absent, but `status`, which stays as it is."""

    title: Title = Field(examples=["Cardiology update"])
    starts_at: Instant = Field(alias="start_time")
    ends_at: Annotated[Instant | None, BlankIsAbsent] = Field(default=None, alias="end_time")
    time_zone: ZoneName = "UTC"
    """Zone in which the session is announced."""
    speaker_name: Annotated[Line | None, BlankIsAbsent] = None
    location: Annotated[Line | None, BlankIsAbsent] = None
    join_url: Annotated[WebUrl | None, BlankIsAbsent] = None
    preparation_notes: Annotated[Notes | None, BlankIsAbsent] = None
    status: SessionStatus | None = None
    """Left out, a cancelled session stays so; a new one is `scheduled`."""

    @field_validator("ends_at")
    @classmethod
    def _after_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("starts_at")
        if end is not None and start is not None and end <= start:
            raise PydanticCustomError("order", "must be after start_time")
        return end

    def to_session(self, session_id: UUID) -> Session:
        """In the domain's words, which are those of the fields."""
        return Session(id=session_id, **self.model_dump(exclude_none=True))


class TellBody(ReasonBody):
    """Whether people are told."""

    tell_nobody: bool = False
    """No notices of it, also where their rule is on."""


class RestoreBody(TellBody):
    """How to restore."""

    dry_run: bool = False
    """Only count."""


class CancelBody(RestoreBody):
    """How to cancel."""

    reason: MaybeReason = Field(default=None, examples=["the speaker is ill"])
    """Why, for the audit log."""


class SessionOut(Out):
    """A session."""

    id: UUID
    title: str = Field(examples=["Cardiology update"])
    start_time: datetime = Field(validation_alias="starts_at")
    end_time: datetime | None = Field(validation_alias="ends_at")
    time_zone: str = Field(examples=["Europe/Madrid"])
    speaker_name: str | None
    location: str | None
    join_url: str | None
    preparation_notes: str | None
    status: SessionStatus


class SessionWithCounts(SessionOut):
    """A session, and how many of its reminders are in each status."""

    counts: dict[ReminderStatus, int]
    """Every status is named, also those without reminders."""
    would_be_told: dict[Notice, int]
    """How many people would get a notice, were it `cancelled` or `moved` now."""


class UnderWayOut(Mirror):
    """A workflow that is still working on it. The change is stored: nothing goes out that it forbids."""

    workflow_id: str
    """Its result has the counts, and so has `GET /v1/runs`."""
    run_id: str


class CancelReceiptOut(Mirror):
    """What calling off did: counts of reminders."""

    cancelled: int
    already_sent: int
    in_flight: int
    """Handed to the provider already; the delivery resolves them."""
    told: int
    """People who get a notice of it."""


class ChangesOut(Mirror):
    """What a session's change did."""

    enrollments: int
    """Enrollments that were planned anew."""
    replanned: int
    """Of these, those whose workflow has confirmed the new plan."""
    unconfirmed: int
    """Of these, those that no worker answered for; delivery follows the ledger all the same."""
    cancelled: int = Field(validation_alias=AliasPath("reminders", "cancelled"))
    """Reminders that this change called off."""
    already_sent: int = Field(validation_alias=AliasPath("reminders", "already_sent"))
    in_flight: int = Field(validation_alias=AliasPath("reminders", "in_flight"))
    told: int = Field(validation_alias=AliasPath("reminders", "told"))
    """People who get a notice of it."""


class ChangedSession(SessionOut):
    """A session as it was stored, and what the change did to its enrollments."""

    changes: ChangesOut | None
    """Null while `under_way`."""
    under_way: UnderWayOut | None
    """Null when it has reached everybody."""

    @classmethod
    def of(cls, session: Session, receipt: ChangeReceipt) -> Self:
        """The session with what is known of its change by now."""
        return cls(
            **vars(SessionOut.model_validate(session)),
            changes=ChangesOut.of(receipt) if receipt.is_done else None,
            under_way=None if receipt.is_done else UnderWayOut.of(receipt),
        )


def _tells_nobody(body: TellBody | None) -> bool:
    return body is not None and body.tell_nobody


def _changes(receipt: ChangeReceipt, response: Response) -> ChangesOut | UnderWayOut:
    if receipt.is_done:
        return ChangesOut.of(receipt)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


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
    session_id: UUID,
    body: SessionBody,
    parts: Answering,
    caller: Caller,
    response: Response,
    *,
    tell_nobody: _TellNobody = False,
) -> ChangedSession:
    """Store a session, whole. Safe to repeat.

    If its start or status changes, every enrollment is planned anew: the old times can no longer
    fire, and a cancelled session reminds nobody, late starters included. `changes` has the counts;
    when that takes longer than a few seconds, `under_way` has the workflow that is working on it (202).

    The same call repeated concerns nobody, and its counts are zero, unless the first failed half-way:
    then it completes it. Without `status` the session keeps the one that it has.

    Everybody whose enrollment is confirmed is told by e-mail if it is moved, cancelled, or takes place
    after all, where the rules of these notices are on; `tell_nobody` has it told to nobody.
    """
    change, receipt = await parts.gateway.put_session(
        body.to_session(session_id),
        keep_status=body.status is None,
        by=By(caller),
        tell_nobody=tell_nobody,
    )
    if change.created:
        response.status_code = CREATED
    elif not receipt.is_done:
        response.status_code = ACCEPTED
    return ChangedSession.of(change.session, receipt)


@router.post(
    "/sessions/{session_id}/changed",
    summary="A session, or a rule, changed: read it again",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def session_changed(
    session_id: UUID,
    parts: Answering,
    caller: Caller,
    response: Response,
    body: TellBody | None = None,
) -> ChangesOut | UnderWayOut:
    """Plan every enrollment anew, and have its workflow follow. Safe to repeat.

    Everybody whose enrollment is confirmed is told if the session was moved, cancelled, or takes place
    after all, where the rules of these notices are on.
    """
    done = await parts.gateway.session_changed(
        session_id, by(caller, body), tell_nobody=_tells_nobody(body)
    )
    return _changes(done, response)


@router.post(
    "/sessions/{session_id}/cancel",
    summary="Cancel a session: all its pending reminders, for everybody",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def cancel_session(
    session_id: UUID,
    parts: Answering,
    caller: Caller,
    response: Response,
    body: CancelBody | None = None,
) -> CancelReceiptOut | UnderWayOut:
    """Cancel the session, so that nobody is reminded, late starters included. Safe to repeat.

    With `dry_run` it only counts what a cancel would meet.
    """
    if body is not None and body.dry_run:
        return CancelReceiptOut.of(await parts.gateway.expected(session_id))
    receipt = await parts.gateway.cancel_session(
        session_id, by(caller, body), tell_nobody=_tells_nobody(body)
    )
    if receipt.is_done:
        return CancelReceiptOut.of(receipt.reminders)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.post(
    "/sessions/{session_id}/restore",
    summary="Restore a cancelled session",
    responses={**under_way(UnderWayOut), **NO_SESSION, **BODY},
)
async def restore_session(
    session_id: UUID,
    parts: Answering,
    caller: Caller,
    response: Response,
    body: RestoreBody | None = None,
) -> ChangesOut | UnderWayOut:
    """Take a cancel back: what still lies ahead is planned anew for everybody. Safe to repeat.

    With `dry_run` it only counts: `replanned` has those for whom something would wait again, `told`
    those who would get a notice.

    A session that an existing platform has cancelled in its own table stays so.
    """
    done = await parts.gateway.restore_session(
        session_id,
        by(caller, body),
        dry_run=body is not None and body.dry_run,
        tell_nobody=_tells_nobody(body),
    )
    return _changes(done, response)


@router.get(
    "/sessions/{session_id}",
    summary="A session, with its reminders counted by status",
    responses={**NO_SESSION, **INVALID},
)
async def get_session(session_id: UUID, parts: Answering) -> SessionWithCounts:
    """The session as it is stored, its reminders by status, and who would be told of a change."""
    session = await parts.catalogue.session(session_id)
    counts = await parts.catalogue.counts(session_id)
    return SessionWithCounts(
        **vars(SessionOut.model_validate(session)),
        counts={status: counts.get(status, 0) for status in ReminderStatus},
        would_be_told=await parts.gateway.notices.expected(session_id),
    )
