"""Enrollments: made, explained, ended."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Query, Response

from reminders.domain.model import EnrollmentStatus
from starter.api.answering import (
    BODY,
    CREATED,
    INVALID,
    NO_ENROLLMENT,
    Answering,
    created,
    v1_router,
)
from starter.api.answers.enrollments import EnrollmentOut, StoryOut
from starter.api.answers.receipts import CancelReceiptOut
from starter.api.bodies.base import ReasonQuery
from starter.api.bodies.enrollments import EnrollmentBody
from starter.services.deeds import By

router = v1_router("enrollments")

ACTOR = "api"


@router.post(
    "/enrollments",
    summary="Enroll a user in a session",
    responses={
        **created(EnrollmentOut, "Reminders were planned"),
        404: {"description": "There is no such session, or no such user"},
        **BODY,
    },
)
async def enroll(body: EnrollmentBody, parts: Answering, response: Response) -> EnrollmentOut:
    """Plan the reminders and start the workflow that sleeps until each is due. Safe to repeat.

    A repeated call finds the same run (200). A finished one is not sent again; after an
    unenrollment, what still lies ahead is planned anew (201). No worker needs to be up.

    With `"status": "pending"` every reminder is recorded as `skipped: unconfirmed`, and nothing is
    sent. The same call with `"confirmed"` plans what still lies ahead by then.
    """
    enrolled = await parts.gateway.enroll(
        body.session_id,
        body.user_id,
        body.enrollment_id,
        status=EnrollmentStatus(body.status),
        actor=ACTOR,
        reason=body.reason,
    )
    if enrolled.created:
        response.status_code = CREATED
        response.headers["Location"] = f"/v1/enrollments/{body.session_id}/{body.user_id}"
    return EnrollmentOut.of(enrolled)


@router.get(
    "/enrollments/{session_id}/{user_id}",
    summary="Why a user was, will be or was not reminded",
    responses={**NO_ENROLLMENT, **INVALID},
)
async def why(session_id: UUID, user_id: UUID, parts: Answering) -> StoryOut:
    """Every reminder with its instant, the decision and its reason, attempts and provider's id.

    Answers from the ledger while Temporal is away; `workflow.status` is null then.
    """
    story = await parts.gateway.why(session_id, user_id)
    return StoryOut.of(story, parts.workflow_url(story.workflow_id, story.run_id))


@router.delete(
    "/enrollments/{session_id}/{user_id}",
    summary="Unenroll a user: cancel the pending reminders",
    responses={**NO_ENROLLMENT, **INVALID},
)
async def unenroll(
    session_id: UUID, user_id: UUID, why: Annotated[ReasonQuery, Query()], parts: Answering
) -> CancelReceiptOut:
    """Call off what still waits and cancel the workflow. Safe to repeat; audited."""
    done = await parts.deeds.unenroll(session_id, user_id, By(ACTOR, why.reason))
    return CancelReceiptOut.of(done.receipt)
