"""JSON as it comes in and goes out, over HTTP and out of the commands with `--json`.

What comes in is strict, trimmed, and turned into the domain's words. Unknown fields are refused, so
that a misspelt one is not silently without effect. What goes out is ids, instants and reasons;
never an e-mail address.
"""

from __future__ import annotations

from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from starter.api.fields import MaybeReason

_T = TypeVar("_T")

Cursor = Annotated[str, Field(max_length=200)]
TypeName = Annotated[str, Field(min_length=1, max_length=100)]
"""Of a reminder, such as `24h`."""


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


class Out(BaseModel):
    """JSON that goes out."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        from_attributes=True,
        validate_by_name=True,
        # What is worked out from the other fields is always there, too.
        json_schema_serialization_defaults_required=True,
    )


class Mirror(Out):
    """JSON of one thing, by the names of its attributes or by `validation_alias`."""

    @classmethod
    def of(cls, found: object) -> Self:
        """The thing as JSON, with all that is within it."""
        return cls.model_validate(found)


class PageOut(Out, Generic[_T]):
    """Some of a list, and where the rest begins."""

    # Read from the source once more for each kind of page, docstrings cost whoever starts 0.3 s.
    model_config = ConfigDict(use_attribute_docstrings=False)

    items: list[_T]
    next_cursor: str | None = Field(description="Null on the last page.")
