"""The HTTP API, version 1. Handlers fetch or delegate; what they raise, `problems` answers."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from starter.answers import (
    CancelReceiptOut,
    ChangedSession,
    ChangesOut,
    EnrollmentOut,
    ReminderOut,
    ReminderPageOut,
    RunOut,
    RunPageOut,
    SessionWithCounts,
    StoryOut,
    SweepOut,
    UnderWayOut,
    UserOut,
)
from starter.assembly import Parts
from starter.auth import GuardedRoute, bearer
from starter.bodies import (
    CancelBody,
    EnrollmentBody,
    ReminderFilters,
    RunFilters,
    SessionBody,
    UserBody,
)

CREATED = 201
ACCEPTED = 202

Documented = dict[int | str, dict[str, Any]]
"""Descriptions of answers by status."""

_UNAUTHORIZED: Documented = {401: {"description": "No API key, or none that is known"}}
_UNAVAILABLE: Documented = {
    503: {"description": "PostgreSQL or Temporal is away; repeat the same call after `Retry-After`"}
}
_BODY: Documented = {
    413: {"description": "The body is larger than 64 KiB"},
    422: {"description": "Not acceptable; `errors` names the fields"},
}
_INVALID: Documented = {422: {"description": "Not acceptable; `errors` names the fields"}}
_NO_SESSION: Documented = {404: {"description": "There is no such session"}}
_NO_ENROLLMENT: Documented = {
    404: {"description": "No such session, or the user never was enrolled in it"}
}

router = APIRouter(
    prefix="/v1",
    route_class=GuardedRoute,
    dependencies=[Depends(bearer)],
    responses={**_UNAUTHORIZED, **_UNAVAILABLE},
)


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


Answering = Annotated[Parts, Depends(_parts)]


def _created(model: type[Any], what: str) -> Documented:
    """The documentation of a 201 beside the usual 200."""
    return {CREATED: {"model": model, "description": what}}


def _under_way(model: type[Any]) -> Documented:
    """The documentation of a 202 beside the usual 200."""
    return {ACCEPTED: {"model": model, "description": "It is stored; a workflow tells everybody"}}


@router.put(
    "/sessions/{session_id}",
    tags=["sessions"],
    summary="Create or change a session",
    responses={
        **_created(ChangedSession, "It is new"),
        **_under_way(ChangedSession),
        **_BODY,
    },
)
async def put_session(
    session_id: UUID, body: SessionBody, parts: Answering, response: Response
) -> ChangedSession:
    """Store a session, whole. Safe to repeat.

    If its start or status changes, every enrollment is planned anew: the old times can no longer
    fire, and a cancelled session reminds nobody, late starters included. `changes` has the counts;
    when that takes longer than a few seconds, `under_way` has the workflow that is at it (202).
    """
    change, receipt = await parts.gateway.put_session(body.to_session(session_id))
    if change.created:
        response.status_code = CREATED
    elif not receipt.is_done:
        response.status_code = ACCEPTED
    return ChangedSession.of(change, receipt)


@router.post(
    "/sessions/{session_id}/changed",
    tags=["sessions"],
    summary="A session, or a rule, changed: read it again",
    responses={**_under_way(UnderWayOut), **_NO_SESSION, **_INVALID},
)
async def session_changed(
    session_id: UUID, parts: Answering, response: Response
) -> ChangesOut | UnderWayOut:
    """Plan every enrollment anew and tell its workflow. Safe to repeat."""
    receipt = await parts.gateway.session_changed(session_id)
    if receipt.is_done:
        return ChangesOut.of(receipt)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.post(
    "/sessions/{session_id}/cancel",
    tags=["sessions"],
    summary="Cancel a session: all its pending reminders, for everybody",
    responses={**_under_way(UnderWayOut), **_NO_SESSION, **_BODY},
)
async def cancel_session(
    session_id: UUID, parts: Answering, response: Response, body: CancelBody | None = None
) -> CancelReceiptOut | UnderWayOut:
    """Cancel the session, so that nobody is reminded, late starters included. Safe to repeat.

    With `dry_run` it only counts what a cancel would meet.
    """
    dry_run = body is not None and body.dry_run
    receipt = await parts.gateway.cancel_session(session_id, dry_run=dry_run)
    if receipt.is_done:
        return CancelReceiptOut.of(receipt.reminders)
    response.status_code = ACCEPTED
    return UnderWayOut.of(receipt)


@router.get(
    "/sessions/{session_id}",
    tags=["sessions"],
    summary="A session, with its reminders counted by status",
    responses={**_NO_SESSION, **_INVALID},
)
async def get_session(session_id: UUID, parts: Answering) -> SessionWithCounts:
    """The session as it is stored, and how many of its reminders are in each status."""
    session = await parts.catalogue.session(session_id)
    return SessionWithCounts.of(session, await parts.catalogue.counts(session_id))


@router.put(
    "/users/{user_id}",
    tags=["users"],
    summary="Create or change a user",
    responses={**_created(UserOut, "They are new"), **_BODY},
)
async def put_user(user_id: UUID, body: UserBody, parts: Answering, response: Response) -> UserOut:
    """Store a person, whole. Safe to repeat; reminders go to the address of the moment."""
    if await parts.catalogue.put_user(body.to_attendee(user_id)):
        response.status_code = CREATED
    return UserOut(id=user_id)


@router.post(
    "/enrollments",
    tags=["enrollments"],
    summary="Enroll a user in a session",
    responses={
        **_created(EnrollmentOut, "Reminders were planned"),
        404: {"description": "There is no such session, or no such user"},
        **_BODY,
    },
)
async def enroll(body: EnrollmentBody, parts: Answering, response: Response) -> EnrollmentOut:
    """Plan the reminders and start the workflow that sleeps until each is due. Safe to repeat.

    A repeated call finds the same run (200). A finished one is not sent again; after an
    unenrollment, what still lies ahead is planned anew (201). No worker needs to be up.
    """
    enrolled = await parts.gateway.enroll(body.session_id, body.user_id, body.enrollment_id)
    if enrolled.created:
        response.status_code = CREATED
        response.headers["Location"] = f"/v1/enrollments/{body.session_id}/{body.user_id}"
    return EnrollmentOut.of(enrolled)


@router.get(
    "/enrollments/{session_id}/{user_id}",
    tags=["enrollments"],
    summary="Why a user was, will be or was not reminded",
    responses={**_NO_ENROLLMENT, **_INVALID},
)
async def why(session_id: UUID, user_id: UUID, parts: Answering) -> StoryOut:
    """Every reminder with its instant, the decision and its reason, attempts and provider's id.

    Answers from the ledger while Temporal is away; `workflow.status` is null then.
    """
    story = await parts.gateway.why(session_id, user_id)
    return StoryOut.of(story, parts.workflow_url(story.workflow_id, story.run_id))


@router.delete(
    "/enrollments/{session_id}/{user_id}",
    tags=["enrollments"],
    summary="Unenroll a user: cancel the pending reminders",
    responses={**_NO_ENROLLMENT, **_INVALID},
)
async def unenroll(session_id: UUID, user_id: UUID, parts: Answering) -> CancelReceiptOut:
    """Call off what still waits and cancel the workflow. Safe to repeat."""
    return CancelReceiptOut.of(await parts.gateway.unenroll(session_id, user_id))


@router.get(
    "/reminders",
    tags=["reminders"],
    summary="The ledger, a page at a time",
    responses={**_INVALID},
)
async def list_reminders(
    filters: Annotated[ReminderFilters, Query()], parts: Answering
) -> ReminderPageOut:
    """Reminders by ascending due instant; pass `next_cursor` as `cursor` for the next page."""
    page = await parts.queries.list(
        session_id=filters.session_id,
        user_id=filters.user_id,
        status=filters.email_status,
        cursor=filters.cursor,
        limit=filters.limit,
    )
    return ReminderPageOut(
        items=[ReminderOut.of(r) for r in page.reminders], next_cursor=page.next_cursor
    )


@router.post(
    "/sweeps",
    tags=["sweeps"],
    status_code=ACCEPTED,
    summary="Look now for what nobody told us",
    responses={200: {"model": SweepOut, "description": "One was running already"}},
)
async def sweep(parts: Answering, response: Response) -> SweepOut:
    """Start a sweep, or find the one that runs. It reconciles and sends nothing.

    Works while the Schedule is paused; `GET /v1/runs` tells what it found.
    """
    started = await parts.sweeps.start()
    if not started.started:
        response.status_code = 200
    return SweepOut.of(started)


@router.get("/runs", tags=["sweeps"], summary="Past and present runs", responses={**_INVALID})
async def runs(filters: Annotated[RunFilters, Query()], parts: Answering) -> RunPageOut:
    """Sweeps and session changes, the newest first, as long as Temporal keeps them."""
    page = await parts.sweeps.runs(limit=filters.limit, cursor=filters.cursor)
    return RunPageOut(
        items=[
            RunOut.of(run, parts.workflow_url(run.workflow_id, run.run_id)) for run in page.runs
        ],
        next_cursor=page.next_cursor,
    )
