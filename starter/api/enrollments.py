"""Enrollments: made, explained, ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BeforeValidator, Field

from reminders.db.audit import By
from reminders.domain.errors import ReminderError
from reminders.domain.model import Enrollee, EnrollmentStatus, ReminderStatus, SessionStatus
from starter.api.errors import TYPES, detail_of
from starter.api.models import BlankIsAbsent, In, Mirror, Out, ReasonBody, WebUrl
from starter.api.reminders import PlannedReminderOut, ReminderOut
from starter.api.routing import (
    BODY,
    CREATED,
    INVALID,
    NO_ENROLLMENT,
    NO_SESSION,
    Answering,
    Caller,
    by,
    created,
    v1_router,
)
from starter.api.sessions import CancelReceiptOut
from starter.services import reasons
from starter.services.receipts import Enrolled

router = v1_router("enrollments")


MANY_PATH = "/v1/sessions/[^/]+/enrollments"
"""A pattern."""
AT_MOST = 1_000
LARGEST_BODY = 4 * 1024 * 1024
"""Bytes; as many enrollments, with the longest of everything, fit."""


class EnrolleeBody(In):
    """Who takes part."""

    user_id: UUID = Field(examples=["0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"])
    enrollment_id: UUID | None = None
    """The platform's own id of the enrollment, if it has one."""
    status: Literal["confirmed", "pending"] = "confirmed"
    """`pending` while the platform awaits a confirmation: nothing is sent until the same call says
    `confirmed`. A confirmed enrollment stays confirmed."""
    join_url: Annotated[WebUrl | None, BlankIsAbsent] = Field(default=None, repr=False)
    """This person's own link, in place of the session's; nobody else is shown it. Left out, it stays
    as it is; null takes it back."""

    def enrollee(self) -> Enrollee:
        """In the words of the domain."""
        return Enrollee(
            user_id=self.user_id,
            enrollment_id=self.enrollment_id,
            status=EnrollmentStatus(self.status),
            join_url=(self.join_url or "") if "join_url" in self.model_fields_set else None,
        )


class EnrollmentBody(EnrolleeBody, ReasonBody):
    """Who takes part in what."""

    session_id: UUID = Field(examples=["6f9619ff-8b86-4011-b42d-00c04fc964ff"])


class EnrollmentsBody(ReasonBody):
    """Who takes part."""

    enrollments: list[EnrolleeBody] = Field(min_length=1, max_length=AT_MOST)
    """Who is in it twice is enrolled once, as by one call after the other: a confirmation stays."""


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
    enrollment_status: EnrollmentStatus
    session_status: SessionStatus
    """Nothing is sent unless the enrollment is `confirmed` and the session `scheduled`."""
    scheduled_reminders: Annotated[int, BeforeValidator(_waiting)] = Field(
        validation_alias="reminders"
    )
    """Reminders that still wait for their due instant."""
    reminders: list[PlannedReminderOut]


class RefusedOut(Out):
    """Why somebody could not be enrolled."""

    type: str = Field(examples=["urn:session-reminders:problem:user-not-found"])
    """As of a problem document."""
    detail: str


class OneOfManyOut(Out):
    """What became of one entry."""

    user_id: UUID
    outcome: Literal["enrolled", "unchanged", "refused"]
    """`unchanged`: everything was as it is already."""
    workflow_id: str | None = None
    run_id: str | None = None
    scheduled_reminders: int | None = None
    """Reminders that still wait for their due instant."""
    error: RefusedOut | None = None
    """Null unless it was refused."""

    @classmethod
    def of(cls, user_id: UUID, answer: Enrolled | ReminderError) -> Self:
        """The answer to one entry."""
        if isinstance(answer, ReminderError):
            why = RefusedOut(type=TYPES + answer.slug, detail=detail_of(answer))
            return cls(user_id=user_id, outcome="refused", error=why)
        return cls(
            user_id=user_id,
            outcome="enrolled" if answer.created else "unchanged",
            workflow_id=answer.workflow_id,
            run_id=answer.run_id,
            scheduled_reminders=_waiting(answer.reminders),
        )


class EnrollmentsOut(Out):
    """What became of each entry, in their order."""

    enrolled: int
    unchanged: int
    refused: int
    enrollments: list[OneOfManyOut]

    @classmethod
    def of(cls, people: Sequence[Enrollee], answers: Sequence[Enrolled | ReminderError]) -> Self:
        """The answers, counted."""
        each = [
            OneOfManyOut.of(person.user_id, answer)
            for person, answer in zip(people, answers, strict=True)
        ]
        counts = Counter(one.outcome for one in each)
        return cls(
            enrolled=counts["enrolled"],
            unchanged=counts["unchanged"],
            refused=counts["refused"],
            enrollments=each,
        )


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
    """Why there are no reminders, notices aside, for people; null when there are some."""


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
    body: EnrollmentBody, parts: Answering, caller: Caller, request: Request, response: Response
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
        join_url=body.enrollee().join_url,
        by=By(caller, body.reason),
    )
    if enrolled.created:
        response.status_code = CREATED
        prefix = request.scope.get("root_path", "")
        response.headers["Location"] = f"{prefix}/v1/enrollments/{body.session_id}/{body.user_id}"
    return EnrollmentOut.of(enrolled)


@router.post(
    "/sessions/{session_id}/enrollments",
    summary="Enroll many users in a session",
    responses={
        **NO_SESSION,
        **BODY,
        413: {"description": "The body is larger than 4 MiB"},
    },
)
async def enroll_many(
    session_id: UUID, body: EnrollmentsBody, parts: Answering, caller: Caller
) -> EnrollmentsOut:
    """As many single calls, in one: up to 1,000, with an answer for each. Safe to repeat.

    An entry that cannot be enrolled is `refused`, with the reason; the others are enrolled. After a
    503 some may be enrolled, and the same call repeated completes it. A malformed entry is a 422
    that names it, and nobody is enrolled.
    """
    people = [entry.enrollee() for entry in body.enrollments]
    answers = await parts.gateway.enroll_many(session_id, people, By(caller, body.reason))
    return EnrollmentsOut.of(people, answers)


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
    return StoryOut(
        session_id=session_id,
        user_id=user_id,
        enrollment_status=story.enrollment_status,
        session_status=story.session.status,
        start_time=story.session.starts_at,
        workflow=WorkflowOut(
            id=story.workflow_id,
            run_id=story.run_id,
            status=story.workflow_status,
            url=parts.workflow_url(story.workflow_id, story.run_id),
        ),
        reminders=story.reminders,
        nothing_planned=reasons.nothing_planned(story, now=parts.clock.now()),
    )


@router.delete(
    "/enrollments/{session_id}/{user_id}",
    summary="Unenroll a user: cancel the pending reminders",
    responses={**NO_ENROLLMENT, **INVALID},
)
async def unenroll(
    session_id: UUID,
    user_id: UUID,
    why: Annotated[ReasonBody, Query()],
    parts: Answering,
    caller: Caller,
) -> CancelReceiptOut:
    """Call off what still waits and cancel the workflow. Safe to repeat; audited."""
    return CancelReceiptOut.of(await parts.gateway.unenroll(session_id, user_id, by(caller, why)))
