"""Enrollments: the plan of a new one, and the story of any."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field

from reminders.domain.model import (
    EnrollmentStatus,
    ReminderStatus,
    SessionStatus,
)
from starter.api.answers.base import Out
from starter.api.answers.reminders import PlannedReminderOut, ReminderOut
from starter.services.receipts import Enrolled, Story


class EnrollmentOut(Out):
    """An enrollment whose reminders are planned and whose workflow runs."""

    workflow_id: str = Field(
        examples=[
            "session-reminder:6f9619ff-8b86-4011-b42d-00c04fc964ff:0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"
        ]
    )
    run_id: str
    scheduled_reminders: int
    """Reminders that still wait for their due instant."""
    reminders: list[PlannedReminderOut]

    @classmethod
    def of(cls, enrolled: Enrolled) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            workflow_id=enrolled.workflow_id,
            run_id=enrolled.run_id,
            scheduled_reminders=sum(
                r.status is ReminderStatus.SCHEDULED for r in enrolled.reminders
            ),
            reminders=[
                PlannedReminderOut(
                    id=r.id,
                    reminder_type=r.reminder_type,
                    due_at=r.due_at,
                    email_status=r.status,
                    status_reason=r.reason,
                )
                for r in enrolled.reminders
            ],
        )


class WorkflowOut(Out):
    """An enrollment's workflow."""

    id: str
    run_id: str | None
    status: str | None = Field(examples=["running"])
    """As Temporal has it; absent when Temporal has forgotten it or is away."""
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

    @classmethod
    def of(cls, story: Story, workflow_url: str | None) -> Self:
        """The gateway's answer as JSON."""
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
            reminders=[ReminderOut.of(r) for r in story.reminders],
        )
