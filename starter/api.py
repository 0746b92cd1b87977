"""The HTTP API, version 1. Handlers fetch or delegate; what they raise, `problems` answers."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from starter.answers import (
    CancelReceiptOut,
    ChangedSession,
    EnrollmentOut,
    ReminderOut,
    ReminderPageOut,
    SessionWithCounts,
    StoryOut,
    UserOut,
)
from starter.assembly import Parts
from starter.auth import GuardedRoute, bearer
from starter.bodies import EnrollmentBody, ReminderFilters, SessionBody, UserBody

CREATED = 201

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


@router.put(
    "/sessions/{session_id}",
    tags=["sessions"],
    summary="Create or change a session",
    responses={**_created(ChangedSession, "It is new"), **_BODY},
)
async def put_session(
    session_id: UUID, body: SessionBody, parts: Answering, response: Response
) -> ChangedSession:
    """Store a session, whole. Safe to repeat.

    If its start or status changes, every enrollment is planned anew: the old times can no longer
    fire, and a cancelled session reminds nobody, late starters included. `changes` has the counts.
    """
    change, receipt = await parts.gateway.put_session(body.to_session(session_id))
    if change.created:
        response.status_code = CREATED
    return ChangedSession.of(change, receipt)


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
