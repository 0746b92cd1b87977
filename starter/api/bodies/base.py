"""What all JSON that comes in has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from starter.api.fields import (
    MaybeReason,
)


class In(BaseModel):
    """JSON, or a query, that comes in."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )


class ReasonBody(In):
    """Why something is done, for the audit log."""

    reason: MaybeReason = Field(default=None, examples=["moved in the platform, ticket 4711"])
    """In your words; ids, please, and no names or addresses."""


class ReasonQuery(ReasonBody):
    """The same where there is no body."""
