"""Whether a relation of the platform's can be read: not as the catalogue says, but by reading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from reminders.db import failures
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseRefusedError, DatabaseUnavailableError

_SOME_ROWS = 20
"""How many are read of each relation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """What of the platform's cannot be read."""

    what: str
    """A relation or a column, and why, by SQLSTATE."""
    remedy: str
    is_about_all: bool = True
    """Whether no row can be read; otherwise some can."""

    def __str__(self) -> str:
        """In a line."""
        return f"{self.what}; {self.remedy}"


async def failing(
    database: Database, relation: str, columns: Mapping[str, str]
) -> Sequence[Unreadable]:
    """Of some columns of a relation, those that cannot be read of some row.

    Args:
        database: Where it is.
        relation: SQL.
        columns: Names, and the types that they are read as.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    if not (error := await _failure(database, relation, columns)):
        return ()
    if len(columns) > 1:
        alone = [
            each
            for name, kind in columns.items()
            for each in await failing(database, relation, {name: kind})
        ]
        if alone:
            return alone
    name = relation.replace('"', "") + (f".{next(iter(columns))}" if len(columns) == 1 else "")
    why = failures.described(error) or type(error).__name__
    return [
        Unreadable(
            what=f"{name} cannot be read ({why})",
            remedy="mend the view, or what it calls; `reminders db check` reads it again",
            is_about_all=not failures.is_about_a_value(error),
        )
    ]


async def _failure(
    database: Database, relation: str, columns: Mapping[str, str]
) -> Exception | None:
    """Why these columns cannot be read of some rows, as text: what a `datetime` holds is not asked."""
    values = ", ".join(f'(h."{name}"::{kind})::text' for name, kind in columns.items())
    try:
        await database.rows(text(f"SELECT {values} FROM {relation} h LIMIT {_SOME_ROWS}"))  # noqa: S608 - names from a closed list
    except DatabaseUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is named
        return error.__cause__ if isinstance(error, DatabaseRefusedError) else error  # type: ignore[return-value]  # it has a cause
    return None
