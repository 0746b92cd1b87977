"""Sessions as they are stored and cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from reminders.domain.model import Session, SessionStatus
from starter.api.bodies.base import In
from starter.api.fields import (
    BlankIsAbsent,
    Instant,
    Line,
    MaybeReason,
    Notes,
    Title,
    WebUrl,
    ZoneName,
)


class SessionBody(In):
    """A session, whole: what is left out is absent, but `status`, which stays as it is."""

    title: Title = Field(examples=["Cardiology update"])
    start_time: Instant
    end_time: Annotated[Instant | None, BlankIsAbsent] = None
    time_zone: ZoneName = "UTC"
    """Zone in which the session is announced."""
    speaker_name: Annotated[Line | None, BlankIsAbsent] = None
    location: Annotated[Line | None, BlankIsAbsent] = None
    join_url: Annotated[WebUrl | None, BlankIsAbsent] = None
    preparation_notes: Annotated[Notes | None, BlankIsAbsent] = None
    status: SessionStatus | None = None
    """Left out, a cancelled session stays so; a new one is `scheduled`."""

    @field_validator("end_time")
    @classmethod
    def _after_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("start_time")
        if end is not None and start is not None and end <= start:
            raise PydanticCustomError("order", "must be after start_time")
        return end

    def to_session(self, session_id: UUID) -> Session:
        """In the domain's words."""
        return Session(
            id=session_id,
            title=self.title,
            starts_at=self.start_time,
            ends_at=self.end_time,
            time_zone=self.time_zone,
            speaker_name=self.speaker_name,
            location=self.location,
            join_url=self.join_url,
            preparation_notes=self.preparation_notes,
            status=self.status or SessionStatus.SCHEDULED,
        )


class CancelBody(In):
    """How to cancel."""

    dry_run: bool = False
    """Only count."""
    reason: MaybeReason = Field(default=None, examples=["the speaker is ill"])
    """Why, for the audit log."""
