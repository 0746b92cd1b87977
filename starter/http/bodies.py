"""JSON as it comes in over HTTP: strict, trimmed, and turned into the domain's words.

Unknown fields are refused, so that a misspelt one is not silently without effect.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from reminders.db.choices import MOST_OPT_OUTS
from reminders.model import Attendee, OptOut, ReminderStatus, Session, SessionStatus, StatusReason
from starter.http.fields import (
    BlankIsAbsent,
    EmailAddress,
    Instant,
    Line,
    LocaleName,
    MaybeReason,
    Notes,
    Reason,
    Title,
    WebUrl,
    ZoneName,
)


class In(BaseModel):
    """JSON, or a query, that comes in."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )


class SessionBody(In):
    """A session, whole: what is left out is absent, and `status` is `scheduled` again."""

    title: Title = Field(examples=["Cardiology update"])
    start_time: Instant
    end_time: Annotated[Instant | None, BlankIsAbsent] = None
    time_zone: ZoneName = "UTC"
    """Zone in which the session is announced."""
    speaker_name: Annotated[Line | None, BlankIsAbsent] = None
    location: Annotated[Line | None, BlankIsAbsent] = None
    join_url: Annotated[WebUrl | None, BlankIsAbsent] = None
    preparation_notes: Annotated[Notes | None, BlankIsAbsent] = None
    status: SessionStatus = SessionStatus.SCHEDULED

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
            status=self.status,
        )


class CancelBody(In):
    """How to cancel."""

    dry_run: bool = False
    """Only count."""
    reason: MaybeReason = Field(default=None, examples=["the speaker is ill"])
    """Why, for the audit log."""


class ReasonBody(In):
    """Why something is done, for the audit log."""

    reason: MaybeReason = Field(default=None, examples=["moved in the platform, ticket 4711"])
    """In your words; ids, please, and no names or addresses."""


class ReasonQuery(ReasonBody):
    """The same where there is no body."""


class UserBody(In):
    """A person, whole: what is left out is absent."""

    email: EmailAddress = Field(examples=["ana@hospital.example"])
    full_name: Annotated[Line | None, BlankIsAbsent] = None
    time_zone: Annotated[ZoneName | None, BlankIsAbsent] = None
    """Absent means the session's zone."""
    locale: Annotated[LocaleName | None, BlankIsAbsent] = Field(default=None, examples=["es-ES"])
    """BCP 47 or POSIX name; absent means English."""

    def to_attendee(self, user_id: UUID) -> Attendee:
        """In the domain's words."""
        return Attendee(
            user_id=user_id,
            email=self.email,
            full_name=self.full_name,
            time_zone=self.time_zone,
            locale=self.locale,
        )


class EnrollmentBody(In):
    """Who takes part in what."""

    session_id: UUID = Field(examples=["6f9619ff-8b86-4011-b42d-00c04fc964ff"])
    user_id: UUID = Field(examples=["0b9e2f4c-7a39-4b73-8e0e-3a5a5f3f9f10"])
    enrollment_id: UUID | None = None
    """The platform's own id of the enrollment, if it has one."""
    status: Literal["confirmed", "pending"] = "confirmed"
    """`pending` while the platform awaits a confirmation: nothing is sent until the same call says
    `confirmed`. A confirmed enrollment stays confirmed."""


class OptOutBody(In):
    """What not to be reminded of; without both fields, of anything."""

    session_id: UUID | None = None
    """Absent means every session."""
    reminder_type: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, examples=["24h"]
    )
    """Absent means every type."""


class PreferencesBody(In):
    """A person's preferences, whole: what is left out is wanted again."""

    opt_outs: list[OptOutBody] = Field(max_length=MOST_OPT_OUTS)

    def to_opt_outs(self) -> frozenset[OptOut]:
        """In the domain's words."""
        return frozenset(OptOut(o.session_id, o.reminder_type) for o in self.opt_outs)


class ErasureOptions(In):
    """How to erase."""

    dry_run: bool = False
    """Only count."""


class ReminderFilters(In):
    """Which reminders to list."""

    session_id: UUID | None = None
    user_id: UUID | None = None
    email_status: ReminderStatus | None = None
    status_reason: StatusReason | None = None
    cursor: Annotated[str, Field(max_length=200)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=50, ge=1, le=200)


class ResendBody(In):
    """Why a reminder is to go out once more, or now."""

    reason: Reason = Field(examples=["landed in the spam folder, ticket 4711"])


class RedriveBody(In):
    """Which failed reminders are to go out once more, and why."""

    session_id: UUID | None = None
    """Only of this session."""
    reason: MaybeReason = Field(default=None, examples=["sender mended, incident 42"])
    """Required unless `dry_run`."""
    dry_run: bool = False
    """Only count."""
    cursor: Annotated[str, Field(max_length=200)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=200, ge=1, le=1000)
    """Enrollments at the most."""


class RunFilters(In):
    """Which runs to list."""

    cursor: Annotated[str, Field(max_length=2000)] | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=20, ge=1, le=100)
