"""Which reminders are meant, and why they are to go out once more."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from reminders.domain.model import ReminderStatus, StatusReason
from starter.api.bodies.base import In
from starter.api.fields import (
    MaybeReason,
    Reason,
)


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
