"""An existing platform's tables, as we read them: three views of ours, made from what is there.

`sessions`, `users` and `enrollments` in the schema `HOST_SCHEMA` are the platform's own tables, or
views with these names that somebody wrote over tables with others. Over each of them `db upgrade`
lays a view of ours, which has all our columns, whatever the platform lacks, and the tombstones of
`reminders.db.platform`. So every statement of this package reads the same names in both modes.

Nothing here writes to a relation of the platform or takes a lock on one that would hold it up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import OUR_SCHEMA, Database
from reminders.db.reading import Unreadable, failing
from reminders.db.tables import END_OF_TIME, FIRST_INSTANT
from reminders.domain.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of ours, and what it is when the platform has none or NULL."""

    name: str
    type: str = "text"
    """As PostgreSQL calls it: `uuid`, `timestamp with time zone`, or `text` for whatever can be
    read as text (an enum, `citext`, `varchar`)."""
    is_required: bool = False
    default: str = "NULL"
    """SQL."""
    expression: str = "{value}"
    """SQL around the value, and perhaps around `{stamp}`: when the row was last written."""


_UUID, _INSTANT = "uuid", "timestamp with time zone"
_STAMPS = (_Column("created_at", _INSTANT), _Column("updated_at", _INSTANT))

# What is neither of the words that we know reminds nobody; `oddities` says so.
_SESSION_STATUS = """
    CASE WHEN {value} = 'scheduled' AND NOT EXISTS (
              SELECT FROM reminder_tombstones t WHERE t.session_id = h.id AND t.user_id IS NULL)
         THEN 'scheduled' ELSE 'cancelled' END"""
_ENROLLMENT_STATUS = """
    CASE WHEN {value} NOT IN ('confirmed', 'pending') OR EXISTS (
              SELECT FROM reminder_tombstones t
               WHERE t.session_id = h.session_id AND t.user_id = h.user_id
                 -- Who has come back since is enrolled, as far as the platform says when.
                 AND NOT coalesce({stamp} > t.created_at, false))
         THEN 'cancelled' ELSE {value} END"""

_RELATIONS: Mapping[str, tuple[_Column, ...]] = {
    "sessions": (
        _Column("id", _UUID, is_required=True),
        _Column("title", is_required=True, default="''"),
        _Column("start_time", _INSTANT, is_required=True),
        _Column("end_time", _INSTANT),
        _Column("time_zone", default="'UTC'"),
        _Column("speaker_name"),
        _Column("location"),
        _Column("join_url"),
        _Column("preparation_notes"),
        _Column("status", default="'scheduled'", expression=_SESSION_STATUS),
        *_STAMPS,
    ),
    "users": (
        _Column("id", _UUID, is_required=True),
        # Without an address the reminder ends as `skipped: no_address`, and `oddities` says so.
        _Column("email", is_required=True, default="''"),
        _Column("full_name"),
        _Column("time_zone"),
        _Column("locale"),
        *_STAMPS,
    ),
    "enrollments": (
        _Column("id", _UUID),
        _Column("session_id", _UUID, is_required=True),
        _Column("user_id", _UUID, is_required=True),
        _Column("status", default="'confirmed'", expression=_ENROLLMENT_STATUS),
        *_STAMPS,
        _Column("join_url"),  # last: a view that exists takes new columns only there
    ),
}
_NOT_ERASED = {
    "users": " AND NOT EXISTS (SELECT FROM erased_users g WHERE g.user_id = h.id)",
    "enrollments": " AND NOT EXISTS (SELECT FROM erased_users g WHERE g.user_id = h.user_id)",
}
"""Whom we have erased is not there any more, although the platform may still have them."""
_CASTS = {
    _UUID: "{name}::uuid AS {name}",
    _INSTANT: "{name} AT TIME ZONE 'UTC' AS {name}",
}
"""By what a column should be."""
_INTEGERS = ("smallint", "integer", "bigint", "numeric")

_COLUMNS = text("""
SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type,
       has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
       AS is_readable
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname = :host_schema AND c.relname = ANY(:relations)
   AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
""")

Columns = Mapping[str, Mapping[str, str]]
"""Relation to column to type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What an existing platform's relations look like to us."""

    columns: Columns
    problems: tuple[str, ...]
    """What keeps us from reading them, each with its remedy."""


async def examine(database: Database) -> Examined:
    """Look at the platform's relations: which columns they have, and whether we can read them."""
    async with database.transaction() as connection:
        examined = await _examine(connection, database.host_schema or "")
    return replace(examined, problems=tuple(map(str, await unreadable(database))))


async def unreadable(database: Database) -> tuple[Unreadable, ...]:
    """What of the platform's cannot be read; what concerns every row comes first.

    What the catalogue says of a view is not all: whatever it computes may fail when it is read. So
    every column of some rows is.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away.
    """
    host_schema = database.host_schema or ""
    async with database.transaction() as connection:
        examined = await _examine(connection, host_schema)
    found = [
        Unreadable(what=what, remedy=remedy)
        for what, _, remedy in (problem.partition("; ") for problem in examined.problems)
    ]
    if not found:
        for relation, ours in _RELATIONS.items():
            columns = {c.name: c.type for c in ours if c.name in examined.columns[relation]}
            found += await failing(database, f'"{host_schema}"."{relation}"', columns)
    return tuple(sorted(found, key=lambda one: not one.is_about_all))


async def prepare(connection: AsyncConnection, host_schema: str) -> Columns:
    """See that the platform's relations can be read, and that there is a schema for ours.

    Raises:
        ConfigurationError: If not; names every missing column and what to do.
    """
    examined = await _examine(connection, host_schema)
    if examined.problems:
        raise ConfigurationError("; ".join(examined.problems))
    role = await connection.scalar(text("SELECT current_user"))
    if await connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": OUR_SCHEMA}) is None:
        may = text("SELECT has_database_privilege(current_database(), 'CREATE')")
        if not await connection.scalar(may):
            msg = (
                f"the schema {OUR_SCHEMA} does not exist, and {role} may not create it; run as an"
                f' administrator: CREATE SCHEMA {OUR_SCHEMA} AUTHORIZATION "{role}"'
            )
            raise ConfigurationError(msg)
        await connection.execute(text(f"CREATE SCHEMA {OUR_SCHEMA}"))
    return examined.columns


async def make_views(connection: AsyncConnection, host_schema: str, columns: Columns) -> None:
    """Lay our views over the platform's relations; safe to repeat."""
    for relation, ours in _RELATIONS.items():
        selected = ",\n       ".join(_selected(column, columns[relation]) for column in ours)
        required = " AND ".join(_is_there(c) for c in ours if _is_key(c))
        required += _NOT_ERASED.get(relation, "")
        await connection.execute(
            text(
                f"CREATE OR REPLACE VIEW {relation} AS\n"
                f"SELECT {selected}\n"
                f'  FROM "{host_schema}"."{relation}" h\n'
                f" WHERE {required}"
            )
        )


def _is_key(column: _Column) -> bool:
    """Whether a row without it says nothing: a draft without a start, an invitation to nobody.

    A start that no calendar holds (`infinity`, the year 10000) is none.
    """
    return column.is_required and column.type != "text"


def _is_there(column: _Column) -> str:
    """SQL: whether a row says what it needs to say; an index of the platform's can answer it."""
    if column.type == _INSTANT:
        return is_instant(f'h."{column.name}"')
    return f'h."{column.name}" IS NOT NULL'


def is_instant(value: str) -> str:
    """SQL: whether a value is an instant that a `datetime` can hold."""
    return f"{value} >= '{FIRST_INSTANT}' AND {value} < '{END_OF_TIME}'"


def _selected(column: _Column, there: Mapping[str, str]) -> str:
    value = column.default
    if column.name in there:
        value = f'h."{column.name}"::{column.type}'
        if column.default != "NULL":
            value = f"coalesce({value}, {column.default})"
        if column.type == _INSTANT and not column.is_required:
            value = f"CASE WHEN {is_instant(value)} THEN {value} END"
    stamps = [f'h."{stamp.name}"' for stamp in _STAMPS if stamp.name in there]
    stamp = f"greatest({', '.join(stamps)})" if stamps else "NULL::timestamptz"
    expression = column.expression.format(value=value, stamp=stamp)
    return f"({expression})::{column.type} AS {column.name}"


async def _examine(connection: AsyncConnection, host_schema: str) -> Examined:
    found = await connection.execute(
        _COLUMNS, {"host_schema": host_schema, "relations": list(_RELATIONS)}
    )
    columns: dict[str, dict[str, str]] = {}
    unreadable: set[str] = set()
    for relation, name, kind, is_readable in found:
        columns.setdefault(relation, {})[name] = kind
        if name in {c.name for c in _RELATIONS[relation]} and not is_readable:
            unreadable.add(relation)
    role = await connection.scalar(text("SELECT current_user"))
    problems = [
        problem
        for relation, ours in _RELATIONS.items()
        for problem in _problems(
            f"{host_schema}.{relation}",
            ours,
            columns.get(relation),
            grantee=role if relation in unreadable else None,
        )
    ]
    return Examined(columns=columns, problems=tuple(problems))


def _cast(column: _Column, kind: str) -> str:
    """What to write in a view when a column has another type."""
    if column.type == _UUID and kind in _INTEGERS:
        thing = column.name.removesuffix("_id") if column.name != "id" else "..."
        return (
            f"make one of it in your view: reminders_host.uuid_of('{thing}', {column.name}) AS"
            f" {column.name}, as docs/existing-platform.md says of integer ids"
        )
    return f"write in your view, for example: {_CASTS[column.type].format(name=column.name)}"


def _problems(
    relation: str,
    ours: Iterable[_Column],
    there: Mapping[str, str] | None,
    *,
    grantee: str | None,
) -> Iterable[str]:
    """What keeps us from reading a relation."""
    if there is None:
        yield (
            f"there is no {relation}; create a view of that name over your own table"
            " (docs/existing-platform.md), or set HOST_SCHEMA to where it is"
        )
        return
    if grantee is not None:
        schema = relation.partition(".")[0]
        yield (
            f"{relation} cannot be read; run as its owner: GRANT USAGE ON SCHEMA {schema} TO"
            f' "{grantee}"; GRANT SELECT ON {relation} TO "{grantee}"'
        )
    for column in ours:
        kind = there.get(column.name)
        if kind is None:
            if column.is_required:
                yield (
                    f"{relation} has no column {column.name} ({column.type}); add it to your view,"
                    f" as: ... AS {column.name}"
                )
        elif column.type not in ("text", kind):
            yield f"{relation}.{column.name} is {kind}, needed is {column.type}; {_cast(column, kind)}"
