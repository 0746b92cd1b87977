"""JSON and its values as they come in and go out, over HTTP and out of the commands with `--json`.

What comes in is strict, trimmed, and turned into the domain's words. Unknown fields are refused, so
that a misspelt one is not silently without effect. What goes out is ids, instants and reasons;
never an e-mail address.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Generic, Self, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError

from reminders.db.audit import LONGEST_REASON
from reminders.domain.delivery_errors import InvalidAddressError
from reminders.mail.addressing import deliverable_address
from reminders.mail.locales import is_locale_name

_T = TypeVar("_T")

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?P<offset>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
"""RFC 3339 §5.6, and the same without the offset, for a better answer."""
_LOST_PLUS = re.compile(r" (?=\d\d:\d\d$)", re.ASCII)
"""What arrives of a `+` in a query that nobody escaped."""
_EXAMPLE = "write RFC 3339 with an offset, for example 2026-12-01T15:00:00+01:00"
_YEARS = range(2000, 2100)
"""Instants beyond are typing errors, and farther than a timer reaches."""
_NO_ZONES = frozenset({"Factory", "localtime"})
"""Files among the zones that name none."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Controls other than tab and line breaks; PostgreSQL stores no NUL, nobody wants the others."""
_LINE_BREAKING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _wrong(message: str) -> PydanticCustomError:
    """An error with this very message; braces in it would be placeholders."""
    return PydanticCustomError("invalid", "{message}", {"message": message})


def _instant(value: object) -> datetime:
    found = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise _wrong(f"is not an instant; {_EXAMPLE}")
    if not found["offset"]:
        raise _wrong(f"has no UTC offset; {_EXAMPLE}")
    try:
        instant = datetime.fromisoformat(found[0].upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _wrong(f"is not an instant of the calendar; {_EXAMPLE}") from None
    if instant.year not in _YEARS:
        raise _wrong(f"must lie in the years {_YEARS.start} to {_YEARS.stop - 1}")
    return instant


@cache
def zones() -> frozenset[str]:
    """IANA zones that there are."""
    return frozenset(available_timezones()) - _NO_ZONES


def _zone(name: str) -> str:
    if name not in zones():
        raise _wrong("is not an IANA time zone; write for example Europe/Madrid")
    return name


def _locale(name: str) -> str:
    if not is_locale_name(name):
        raise _wrong("is not a locale; write for example de-AT, or de_AT.UTF-8")
    return name


def _email(address: str) -> str:
    try:
        deliverable_address(address)
    except InvalidAddressError:
        raise _wrong(
            "is not an e-mail address; write it bare, for example name@example.com"
        ) from None
    return address


def _web_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise _wrong("is not an http or https address; write for example https://meet.example/42")
    return url


def _one_line(text: str) -> str:
    if _LINE_BREAKING.search(text):
        raise _wrong("must be one line without control characters")
    return text


def _readable(text: str) -> str:
    if _CONTROL.search(text):
        raise _wrong("has control characters")
    return text


def _blank_is_absent(value: object) -> object:
    """Forms send empty fields; they mean that there is nothing."""
    return None if isinstance(value, str) and not value.strip() else value


Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "examples": ["2026-12-01T15:00:00+01:00"],
            "description": "RFC 3339 with an offset.",
        },
        mode="validation",
    ),
]
QueryInstant = Annotated[
    Instant, BeforeValidator(lambda v: _LOST_PLUS.sub("+", v) if isinstance(v, str) else v)
]
"""In a query, where its `+` may have become a space."""
"""In UTC once it is read."""
ZoneName = Annotated[
    str, StringConstraints(max_length=64), AfterValidator(_zone), Field(examples=["Europe/Madrid"])
]
EmailAddress = Annotated[
    str,
    StringConstraints(max_length=320),
    AfterValidator(_email),
    Field(json_schema_extra={"format": "email"}),
]
WebUrl = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_web_url),
    Field(json_schema_extra={"format": "uri"}),
]
LocaleName = Annotated[
    str, StringConstraints(max_length=35), AfterValidator(_locale), Field(examples=["de-AT"])
]
Title = Annotated[str, StringConstraints(min_length=1, max_length=300), AfterValidator(_one_line)]
Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_one_line)]
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_REASON), AfterValidator(_one_line)
]
"""In the caller's words, for the audit log; ids, please, and no names or addresses."""
MaybeReason = Annotated[
    Annotated[str, StringConstraints(max_length=LONGEST_REASON), AfterValidator(_one_line)] | None,
    BeforeValidator(_blank_is_absent),
]
"""The same where it may be left out."""
Notes = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_readable)]
BlankIsAbsent = BeforeValidator(_blank_is_absent)
"""For optional text: an empty field is an absent one."""

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
    """Why something is done, for the audit log; in the query of what has no body."""

    reason: MaybeReason = Field(default=None, examples=["moved in the platform, ticket 4711"])
    """In your words; ids, please, and no names or addresses."""


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
