"""What operators look for."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from reminders.db.lookups import PAGE, Period
from reminders.domain.model import ReminderStatus
from starter.api.bodies.base import In

LARGEST_PAGE = 200

Cursor = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class PageFilters(In):
    """Which page of a list."""

    cursor: Cursor | None = None
    """`next_cursor` of the page before."""
    limit: int = Field(default=PAGE, ge=1, le=LARGEST_PAGE)


class SessionFilters(PageFilters):
    """Which sessions to list."""

    query: Words = Field(default="", examples=["cardiology"])
    """Part of a title, or a whole id, which is found in either period."""
    period: Period = Period.UPCOMING


class RosterFilters(PageFilters):
    """Which of a session's people to list."""

    email_status: ReminderStatus | None = None
    """Only people with a reminder in this status."""


class EventFilters(PageFilters):
    """Which entries of the audit log to list."""

    session_id: UUID | None = None
    user_id: UUID | None = None


class FailureFilters(In):
    """Which failures to count."""

    session_id: UUID | None = None


class UserSearch(In):
    """Whom to look for; in the body, because addresses do not belong into logs."""

    query: Words = Field(min_length=1, examples=["ana@hospital.example"])
    """Part of a name or an address, or an id."""
