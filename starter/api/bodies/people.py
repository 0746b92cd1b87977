"""People: who they are, what they want, and their erasure."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from reminders.db.preferences import MOST_OPT_OUTS
from reminders.domain.model import Attendee, OptOut
from starter.api.bodies.base import In, ReasonBody, ReasonQuery
from starter.api.fields import (
    BlankIsAbsent,
    EmailAddress,
    Line,
    LocaleName,
    ZoneName,
)


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


class OptOutBody(In):
    """What not to be reminded of; without both fields, of anything."""

    session_id: UUID | None = None
    """Absent means every session."""
    reminder_type: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, examples=["24h"]
    )
    """Absent means every type."""


class PreferencesBody(ReasonBody):
    """A person's preferences, whole: what is left out is wanted again."""

    opt_outs: list[OptOutBody] = Field(max_length=MOST_OPT_OUTS)

    def to_opt_outs(self) -> frozenset[OptOut]:
        """In the domain's words."""
        return frozenset(OptOut(o.session_id, o.reminder_type) for o in self.opt_outs)


class ErasureOptions(ReasonQuery):
    """How to erase."""

    dry_run: bool = False
    """Only count."""
