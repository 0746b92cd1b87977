"""Which text may come in: what PostgreSQL can store and JSON can say, and nothing else.

PostgreSQL stores no NUL, and a lone surrogate, half of a character, is no text at all: both would
fail where they are stored, long after somebody could have said which field has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException

from reminders.domain.errors import InvalidInputError

DEEPEST = 20
"""Levels of arrays and objects within each other; ours have three."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_BODY = "body"


def refuse_unstorable(text: str, field: str) -> None:
    """Let text pass that can be stored.

    Args:
        text: As it came in.
        field: Where it stands, in the caller's words.

    Raises:
        InvalidInputError: If it has NUL or half a character.
    """
    if _UNSTORABLE.search(text):
        raise InvalidInputError("has a character that cannot be stored", field=field)


def read_json(body: bytes) -> Any:  # noqa: ANN401 - whatever JSON may say
    """What a body of JSON says, each name of an object once.

    Raises:
        HTTPException: If it is no text.
        InvalidInputError: If it is no JSON (RFC 8259), nests too deeply, says a name twice, or has
            text that cannot be stored; names the field.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise HTTPException(400, detail="The body is not UTF-8.") from None
    try:
        content = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        message = f"is not JSON from character {error.pos} on"
        raise InvalidInputError(message, field=_BODY) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # more digits than Python reads
        raise InvalidInputError("has a number that is too long", field=_BODY) from None
    _look_through(content)
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that comes twice may mean either, so it means neither."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise InvalidInputError("is given more than once", field=twice)
    return found


def _no_number(text: str) -> float:
    """Refuse what Python takes for a number and JSON does not."""
    raise InvalidInputError(f"has {text}, which is no number in JSON", field=_BODY)


def _look_through(content: Any) -> None:  # noqa: ANN401 - whatever JSON may say
    """Look at every text in a document, without recursion."""
    left: list[tuple[Any, tuple[str, ...]]] = [(content, ())]
    while left:
        value, where = left.pop()
        if isinstance(value, str):
            refuse_unstorable(value, ".".join(where) or _BODY)
            continue
        if isinstance(value, dict):
            for name in value:
                refuse_unstorable(name, ".".join(where) or _BODY)
            inner: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list):
            inner = enumerate(value)
        else:
            continue
        if len(where) == DEEPEST:
            raise _too_deep()
        left += [(part, (*where, str(name))) for name, part in inner]


def _too_deep() -> InvalidInputError:
    return InvalidInputError(f"nests deeper than {DEEPEST} levels", field=_BODY)
