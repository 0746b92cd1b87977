"""Who is to be enrolled, as a file says it: CSV or JSON lines, with the fields of the HTTP API."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from reminders.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from starter.api.enrollments import EnrolleeBody

MOST = 200_000
"""Entries of one file, all of which are looked at before anybody is enrolled."""
_SHOWN = 10
"""Lines that are wrong, at the most, of which the error tells."""
_OPTION = "--from"


def read(name: str) -> Sequence[tuple[int, EnrolleeBody]]:
    """The entries of a file, with the number of the line that each ends on.

    Args:
        name: Of the file; `-` is standard input.

    Raises:
        InvalidInputError: If it cannot be read, or a line is wrong: names lines and fields, and no
            value.
    """
    from pydantic import ValidationError

    from starter.api.enrollments import EnrolleeBody

    found: list[tuple[int, EnrolleeBody]] = []
    wrong: list[str] = []
    try:
        source = nullcontext(sys.stdin) if name == "-" else _opened(name)
        with source as file:
            for line, entry in _entries(file):
                try:
                    found.append((line, EnrolleeBody.model_validate(entry)))
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join(str(part) for part in first["loc"]) or "the line"
                    wrong.append(f"line {line}: {where}: {first['msg']}")
                if len(found) > MOST:
                    raise InvalidInputError(
                        f"{name} has more than {MOST} entries; split it", field=_OPTION
                    )
                if len(wrong) == _SHOWN:
                    break
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInputError(f"{name} cannot be read: {reason}", field=_OPTION) from None
    if wrong:
        raise InvalidInputError(f"{name}: {'; '.join(wrong)}", field=_OPTION)
    if not found:
        raise InvalidInputError(f"{name} has no entries", field=_OPTION)
    return found


def _opened(name: str) -> IO[str]:
    return Path(name).open(encoding="utf-8-sig", newline="")


def _entries(file: IO[str]) -> Iterator[tuple[int, Any]]:
    """Each entry as it stands there; of CSV, empty cells are absent."""
    numbered = _Lines(file)
    first = next(numbered, "")
    if first.lstrip().startswith(("{", "[")):
        yield from _json(numbered, first)
        return
    columns = next(csv.reader([first]), [])
    rows = csv.DictReader(numbered, [column.strip() for column in columns], strict=True)
    for row in rows:
        # What stands beyond the last column has no name: it is refused by the one it gets here.
        cells = {name or "beyond the columns": str(cell or "") for name, cell in row.items()}
        yield numbered.number, {name: cell.strip() for name, cell in cells.items() if cell.strip()}


def _json(numbered: _Lines, first: str) -> Iterator[tuple[int, Any]]:
    from pydantic_core import from_json

    line = first
    while line:
        if line.strip():
            try:
                entry = from_json(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                raise InvalidInputError(
                    f"line {numbered.number} is no JSON object; write one object a line",
                    field=_OPTION,
                )
            yield numbered.number, entry
        line = next(numbered, "")


class _Lines:
    """A file's lines, and how many were read."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        return line
