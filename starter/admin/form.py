"""What a form says, read once and with bounds; every field is plain text until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import Request

from reminders.db.audit import LONGEST_REASON
from reminders.domain.errors import InvalidInputError
from starter.api.reading import refuse_unstorable

_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
LONGEST_FIELD = 1000
"""Code points of a field, unless it says otherwise."""
_LONGEST_NUMBER = 9


@dataclass(frozen=True, slots=True)
class Form:
    """Fields by name, as they were sent; of one that comes twice, the last counts."""

    fields: Mapping[str, str]

    def raw(self, name: str) -> str:
        """A field as it was sent; empty if it was not."""
        return self.fields.get(name, "")

    def text(self, name: str, *, longest: int = LONGEST_FIELD) -> str:
        """A field without blanks around it; empty if it was not sent.

        Raises:
            InvalidInputError: If it is too long, or has characters that cannot be stored.
        """
        return clean(self.raw(name), name, longest=longest)

    def required(self, name: str, *, longest: int = LONGEST_FIELD) -> str:
        """A field that must say something.

        Raises:
            InvalidInputError: If it does not, or as `text`.
        """
        value = self.text(name, longest=longest)
        if not value:
            raise InvalidInputError("must be filled in", field=name)
        return value

    def reason(self) -> str:
        """Why somebody does what they do, for the audit log.

        Raises:
            InvalidInputError: If they do not say, or at too great length.
        """
        return self.required("reason", longest=LONGEST_REASON)

    def flag(self, name: str) -> bool:
        """Whether a box is ticked."""
        return bool(self.raw(name))

    def number(self, name: str) -> int:
        """A whole number from 0 on; 0 if it was not sent.

        Raises:
            InvalidInputError: If it is none.
        """
        text = self.text(name) or "0"
        if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
            raise InvalidInputError("must be a whole number, and no less than 0", field=name)
        return int(text)

    def uuid(self, name: str) -> UUID | None:
        """An id; `None` if it was not sent.

        Raises:
            InvalidInputError: If it is none.
        """
        return parse_uuid(self.text(name), name)


def clean(value: str, name: str, *, longest: int = LONGEST_FIELD) -> str:
    """A text that can be stored and searched for, without blanks around it.

    Raises:
        InvalidInputError: If it cannot, or is too long.
    """
    value = value.strip()
    if len(value) > longest:
        raise InvalidInputError(f"at most {longest} characters", field=name)
    refuse_unstorable(value, name)
    return value


def parse_uuid(text: str, name: str) -> UUID | None:
    """An id, or `None` for an empty text.

    Raises:
        InvalidInputError: If it is something else.
    """
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise InvalidInputError("is not an id (a UUID)", field=name) from error


async def read(request: Request) -> Form:
    """The form that a request carries; empty if it carries something else.

    Raises:
        InvalidInputError: If it has too many fields, or text that cannot be stored.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        return Form({})
    body = (await request.body()).decode("ascii", errors="replace")
    try:
        fields = parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise InvalidInputError(f"at most {_MOST_FIELDS} fields", field="form") from error
    for name, value in fields:
        refuse_unstorable(value, name)
    return Form(dict(fields))
