"""Reminder rules: new ones, changed ones, and compared beforehand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from reminders.domain.rules import (
    LARGEST_ORDER,
    LONGEST_LEAD,
    LONGEST_NAME,
    RuleFields,
)
from reminders.mail.subject import LONGEST_TEMPLATE
from starter.api.bodies.base import In
from starter.api.fields import MaybeReason

MOST_MINUTES = LONGEST_LEAD // timedelta(minutes=1)

Minutes = Annotated[int, Field(strict=True, ge=1, le=MOST_MINUTES, examples=[1440])]
Flag = Annotated[bool, Field(strict=True)]
Subject = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_TEMPLATE),
    Field(examples=["Reminder: {session_title} starts tomorrow"]),
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME), Field(examples=["1 Day Before"])
]
Order = Annotated[int, Field(strict=True, ge=0, le=LARGEST_ORDER)]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=32), Field(examples=["24h"])]


class _Rule(In):
    minutes_before: Minutes | None = None
    """How long before the start it goes out."""
    is_enabled: Flag | None = None
    email_subject_template: Subject | None = None
    """Text with `{session_title}` and the other names that a subject may use."""
    display_name: Name | None = None
    sort_order: Order | None = None

    def fields(self) -> RuleFields:
        """In the domain's words."""
        minutes = self.minutes_before
        return RuleFields(
            lead=None if minutes is None else timedelta(minutes=minutes),
            is_enabled=self.is_enabled,
            subject_template=self.email_subject_template,
            display_name=self.display_name,
            sort_order=self.sort_order,
        )


class RulePatch(_Rule):
    """What is to change of a rule; what is left out stays."""

    reason: MaybeReason = None
    """Why, for the audit log."""


class RuleBody(RulePatch):
    """A new rule; it needs at least `minutes_before` and `email_subject_template`."""

    reminder_type: TypeName
    session_id: UUID | None = None
    """The only session it is for; absent means every session."""


class RuleDiffBody(_Rule):
    """A change as it would be: of the rule that there is, of a new one, or its deletion."""

    reminder_type: TypeName
    session_id: UUID | None = None
    """The only session it would be about; absent means every session."""
    delete: Flag = False
    """Whether the rule would be deleted."""
