"""Which e-mail is meant."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from starter.api.bodies.base import In
from starter.api.fields import BlankIsAbsent, Instant, LocaleName, MaybeReason, ZoneName
from starter.services.mails import Wanted

_A_YEAR = 366 * 24 * 60
_MINUTE = timedelta(minutes=1)


class PreviewFilters(In):
    """Which e-mail is meant; of `at`, `minutes_before` and `minutes_late` one at the most."""

    session_id: UUID | None = None
    """Absent means a sample session."""
    user_id: UUID | None = None
    """Absent means a sample attendee."""
    reminder_type: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, examples=["30min"]
    )
    """Absent means the first rule that counts for the session."""
    at: Instant | None = None
    """When it is sent; without any of the three, the rule's own instant."""
    minutes_before: int | None = Field(default=None, ge=0, le=_A_YEAR)
    """So long before the session starts."""
    minutes_late: int | None = Field(default=None, ge=0, le=_A_YEAR)
    """So long after the rule's own instant."""
    locale: Annotated[LocaleName | None, BlankIsAbsent] = Field(default=None, examples=["de-AT"])
    """Of the sample attendee."""
    time_zone: Annotated[ZoneName | None, BlankIsAbsent] = None
    """Of the sample attendee; absent means the session's zone."""

    def wanted(self) -> Wanted:
        """In the words of `starter.services.mails`."""
        before, late = self.minutes_before, self.minutes_late
        return Wanted(
            session_id=self.session_id,
            user_id=self.user_id,
            reminder_type=self.reminder_type,
            at=self.at,
            before=None if before is None else before * _MINUTE,
            late=None if late is None else late * _MINUTE,
            locale=self.locale,
            time_zone=self.time_zone,
        )


class TestSendBody(PreviewFilters):
    """Which e-mail to send to the test recipient."""

    reason: MaybeReason = None
    """For the audit log."""
