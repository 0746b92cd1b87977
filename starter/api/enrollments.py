"""Enrollments: made, explained, ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Query, Response
from pydantic import BeforeValidator, Field

from reminders.db.audit import By
from reminders.domain.model import EnrollmentStatus, ReminderStatus, SessionStatus
from starter.api.models import Mirror, Out, ReasonBody, ReasonQuery
from starter.api.reminders import PlannedReminderOut, ReminderOut
from starter.api.routing import (
    BODY,
    CREATED,
    INVALID,
    NO_ENROLLMENT,
    Answering,
    Caller,
    by,
    created,
    v1_router,
)
from starter.api.sessions import CancelReceiptOut
from starter.services import reasons
from starter.services.receipts import Story

router = v1_router("enrollments")


class EnrollmentBody(ReasonBody):
    """Who takes part in what."""

    session_id: UUID = Field(examples=["6f9619ff-8b86-4011-b42d-00c04fc964ff"])
    user_id: UUID = Field(examples=["0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"])
    enrollment_id: UUID | None = None
    """The platform's own id of the enrollment, if it has one."""
    status: Literal["confirmed", "pending"] = "confirmed"
    """`pending` while the platform awaits a confirmation: nothing is sent until the same call says
    `confirmed`. A confirmed enrollment stays confirmed."""


def _waiting(reminders: Iterable[Any]) -> int:
    return sum(reminder.status is ReminderStatus.SCHEDULED for reminder in reminders)


class EnrollmentOut(Mirror):
    """An enrollment whose reminders are planned and whose workflow runs."""

    workflow_id: str = Field(
        examples=[
            "session-reminder:6f9619ff-8b86-4011-b42d-00c04fc964ff:0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"
        ]
    )
    run_id: str
    scheduled_reminders: Annotated[int, BeforeValidator(_waiting)] = Field(
        validation_alias="reminders"
    )
    """Reminders that still wait for their due instant."""
    reminders: list[PlannedReminderOut]


class WorkflowOut(Out):
    """An enrollment's workflow."""

    id: str
    run_id: str | None
    status: str | None = Field(examples=["running"])
    """As Temporal has it; null when it has forgotten it, `unknown` while it does not answer."""
    url: str | None
    """In the Temporal UI; absent unless `TEMPORAL_UI_URL` is set."""


class StoryOut(Out):
    """The *why*: what was, will be or was not sent to a person about a session."""

    session_id: UUID
    user_id: UUID
    enrollment_status: EnrollmentStatus
    session_status: SessionStatus
    start_time: datetime
    workflow: WorkflowOut
    reminders: list[ReminderOut]
    nothing_planned: str | None = Field(examples=[None])
    """Why there are no reminders, for people; null when there are some."""

    @classmethod
    def of(cls, story: Story, workflow_url: str | None, *, now: datetime) -> Self:
        """The story, with a link to where its workflow is shown."""
        return cls(
            session_id=story.session.id,
            user_id=story.user_id,
            enrollment_status=story.enrollment_status,
            session_status=story.session.status,
            start_time=story.session.starts_at,
            workflow=WorkflowOut(
                id=story.workflow_id,
                run_id=story.run_id,
                status=story.workflow_status,
                url=workflow_url,
            ),
            reminders=story.reminders,
            nothing_planned=reasons.nothing_planned(story, now=now),
        )


@router.post(
    "/enrollments",
    summary="Enroll a user in a session",
    responses={
        **created(EnrollmentOut, "Reminders were planned"),
        404: {"description": "There is no such session, or no such user"},
        **BODY,
    },
)
async def enroll(
    body: EnrollmentBody, parts: Answering, caller: Caller, response: Response
) -> EnrollmentOut:
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
        by=By(caller, body.reason),
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

    Answers from the ledger while Temporal is away; `workflow.status` is `unknown` then.
    """
    story = await parts.gateway.why(session_id, user_id)
    return StoryOut.of(
        story, parts.workflow_url(story.workflow_id, story.run_id), now=parts.clock.now()
    )


@router.delete(
    "/enrollments/{session_id}/{user_id}",
    summary="Unenroll a user: cancel the pending reminders",
    responses={**NO_ENROLLMENT, **INVALID},
)
async def unenroll(
    session_id: UUID,
    user_id: UUID,
    why: Annotated[ReasonQuery, Query()],
    parts: Answering,
    caller: Caller,
) -> CancelReceiptOut:
    """Call off what still waits and cancel the workflow. Safe to repeat; audited."""
    return CancelReceiptOut.of(await parts.gateway.unenroll(session_id, user_id, by(caller, why)))
