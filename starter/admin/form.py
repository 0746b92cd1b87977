"""What a form says, read once and with bounds; every field is plain text until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from reminders.db.audit import LONGEST_REASON
from reminders.domain.errors import InvalidInputError
from starter.api.reading import refuse_unstorable

_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
LONGEST_FIELD = 1000
"""Code points of a field, unless it says otherwise."""


class Form:
    """Fields by name; of one that comes twice, the last counts."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        """Take the fields as they were sent."""
        self._fields = fields

    def raw(self, name: str) -> str:
        """A field as it was sent; empty if it was not."""
        return self._fields.get(name, "")

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
