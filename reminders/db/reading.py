"""Whether a platform's relations can be read: not as the catalogue says, but by reading them.

And what stands between us and their rows although all can be read: row-level security that hides
them, and look-ups that no index answers.
"""

from __future__ import annotations

import time
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


SLOW = 0.05
"""Seconds beyond a round trip: a session of 300 people asks some thousand times."""
_A_ROW = 0.00002
"""Seconds more for each row that is found: a session may have thousands of people."""

_KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "sessions": (("id",),),
    "users": (("id",),),
    "enrollments": (("session_id", "user_id"), ("session_id",), ("user_id",)),
}
"""What each relation is asked by."""

# A view reads with the rights of its owner, unless it is the invoker's: tables behind it, and who
# reads each of them.
_BEHIND = text("""
WITH RECURSIVE behind AS (
    SELECT c.oid, c.relname AS shown, c.relkind, c.relowner, c.reloptions, u.oid AS reader
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_roles u ON u.rolname = current_user
     WHERE n.nspname = :host_schema AND c.relname = ANY(:relations)
     UNION
    SELECT t.oid, b.shown, t.relkind, t.relowner, t.reloptions,
           CASE WHEN 'security_invoker=true' = ANY(b.reloptions)
                  OR 'security_invoker=on' = ANY(b.reloptions) THEN b.reader ELSE b.relowner END
      FROM behind b JOIN pg_rewrite w ON w.ev_class = b.oid
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> b.oid
      JOIN pg_class t ON t.oid = d.refobjid
     WHERE b.relkind = 'v')
SELECT DISTINCT b.shown, b.oid::regclass::text AS hidden, u.rolname AS reader,
       EXISTS (SELECT FROM pg_policy p
                WHERE p.polrelid = b.oid AND p.polcmd IN ('r', '*') AND p.polpermissive
                  AND (0 = ANY(p.polroles) OR EXISTS (
                       SELECT FROM unnest(p.polroles) AS r (oid)
                        WHERE pg_has_role(b.reader, r.oid, 'USAGE')))) AS shows_some
  FROM behind b JOIN pg_class c ON c.oid = b.oid JOIN pg_roles u ON u.oid = b.reader
 WHERE c.relrowsecurity AND NOT u.rolsuper AND NOT u.rolbypassrls
   AND (c.relforcerowsecurity OR c.relowner <> b.reader)
 ORDER BY 1, 2
""")


async def hidden(database: Database) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which row-level security hides all rows, and which may hide some: two lists of sentences."""
    asked = {"host_schema": database.host_schema, "relations": list(_KEYS)}
    all_of, some_of = [], []
    for row in await database.rows(_BEHIND, asked):
        shown, table, reader = row["shown"], row["hidden"], row["reader"]
        policy = f'CREATE POLICY reminders ON {table} FOR SELECT TO "{reader}" USING (true)'
        if row["shows_some"]:
            some_of.append(
                f"row-level security on {table} decides which rows of {database.host_schema}.{shown}"
                f' "{reader}" sees; see that its policies show every row that counts'
            )
        else:
            all_of.append(
                f"row-level security on {table} hides every row of {database.host_schema}.{shown}"
                f' from "{reader}"; run as its owner: {policy}'
            )
    return tuple(all_of), tuple(some_of)


async def slow_lookups(database: Database) -> tuple[str, ...]:
    """Which look-ups take long, in sentences; one of each kind is measured, with a row that is there."""
    usual = await _seconds(database, "SELECT 1", {})
    found = []
    for relation, keys in _KEYS.items():
        host = f'"{database.host_schema}"."{relation}"'
        for names in keys:
            listed = ", ".join(f'"{name}"' for name in names)
            row = await database.row(
                text(f"SELECT {listed} FROM {host} WHERE {names[0]} IS NOT NULL LIMIT 1")  # noqa: S608 - names from a closed list
            )
            if row is None:
                continue
            asked = " AND ".join(f'"{name}" = :{name}' for name in names)
            statement = f"SELECT count(*) FROM {host} WHERE {asked}"  # noqa: S608 - likewise
            rows = await database.scalar(text(statement), dict(row))  # into the server's cache
            took = await _seconds(database, statement, dict(row)) - usual
            if took > SLOW + rows * _A_ROW:
                found.append(
                    f"looking up {database.host_schema}.{relation} by {' and '.join(names)} takes"
                    f" {took * 1000:.0f} ms; make an index on what your view computes of it:"
                    f" CREATE INDEX ON its table ({', '.join(names)}), or what they are made of"
                    " (docs/existing-platform.md)"
                )
    return tuple(found)


async def _seconds(database: Database, statement: str, values: Mapping[str, object]) -> float:
    began = time.monotonic()
    await database.rows(text(statement), values)
    return time.monotonic() - began
