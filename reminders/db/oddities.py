"""What is odd in the rows of an existing platform's relations: counted by kind, with an example.

Only what reminders depend on: sessions that lie ahead, and who is enrolled in them. Whoever is odd
is served as far as it can be decided, and nobody else notices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text

from reminders.db.engine import Database
from reminders.db.existing_platform import Columns, is_instant
from reminders.db.mapping import Record
from reminders.db.sql import looked_up

_MOST_WORDS = 200
"""Different words of one column that are looked at, the most frequent first."""
_LONGEST_WORD = 40
"""Characters; a platform's column may hold anything."""

# Found once, and looked up: what a view computes, PostgreSQL would rather read whole for each.
_AWAITED = f"""
WITH ahead AS MATERIALIZED (SELECT DISTINCT id FROM sessions WHERE start_time > now()),
enrolled AS MATERIALIZED (
    SELECT DISTINCT e.user_id
      FROM ahead a CROSS JOIN {looked_up("enrollments", "session_id = a.id")} e
     WHERE e.status <> 'cancelled')
"""
_PEOPLE = f"enrolled p CROSS JOIN {looked_up('{host}', 'id = p.user_id')} h"
_ENROLLMENTS = f"ahead a CROSS JOIN {looked_up('{host}', 'session_id = a.id')} h"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A way to be odd."""

    relation: str
    name: str
    sql: str
    """Rows of `word` and `example` over `{host}`, the relation as `h`."""
    words: str
    """What is the matter."""
    remedy: str
    column: str | None = None
    """Which the platform must have for it."""
    is_known: str | None = None
    """Which predicate says that a word is not odd."""

    def statement(self, host: str) -> str:
        """SQL that counts it, by word."""
        return (
            f"{_AWAITED} SELECT '{self.relation}' AS relation, '{self.name}' AS kind, word, count(*),"
            f" min(example) AS example FROM ({self.sql.format(host=host)}) odd"
            f" GROUP BY word ORDER BY count(*) DESC LIMIT {_MOST_WORDS}"
        )


_SAME = "NULL::text AS word"
_KINDS = (
    _Kind(
        "sessions",
        "undated",
        f"SELECT {_SAME}, h.id::text AS example FROM {{host}} h"
        f" WHERE h.start_time IS NOT NULL AND NOT ({is_instant('h.start_time')})",
        "start when no calendar says and remind nobody",
        "give them a date, or none",
    ),
    _Kind(
        "sessions",
        "duplicate",
        f"SELECT {_SAME}, h.id::text AS example FROM {{host}} h WHERE h.start_time > now()"
        " GROUP BY h.id HAVING count(*) > 1",
        "are there more than once, and one row of each counts",
        "let your view show one row for each id",
    ),
    _Kind(
        "sessions",
        "status",
        "SELECT h.status::text AS word, h.id::text AS example FROM {host} h"
        " WHERE h.start_time > now() AND h.status::text NOT IN ('scheduled', 'cancelled')",
        "have the status {word!r} and remind nobody",
        "map it in your view; known are scheduled, cancelled",
        column="status",
    ),
    _Kind(
        "sessions",
        "time_zone",
        "SELECT h.time_zone::text AS word, h.id::text AS example FROM {host} h"
        " WHERE h.start_time > now() AND h.time_zone::text <> ''",
        "have the time zone {word!r}, which nobody knows: their times are told in UTC",
        "map it in your view to a name of IANA's, such as Europe/Madrid",
        column="time_zone",
        is_known="zone",
    ),
    _Kind(
        "users",
        "address",
        f"SELECT {_SAME}, h.id::text AS example FROM {_PEOPLE} GROUP BY h.id"
        " HAVING NOT bool_or(coalesce(h.email::text, '') LIKE '%_@_%')",
        "are enrolled and have no usable address: they get no e-mail",
        "complete them, which counts at once, or leave them out of your view",
    ),
    _Kind(
        "users",
        "duplicate",
        f"SELECT {_SAME}, h.id::text AS example FROM {_PEOPLE} GROUP BY h.id HAVING count(*) > 1",
        "are there more than once, and one row of each counts",
        "let your view show one row for each id",
    ),
    _Kind(
        "users",
        "time_zone",
        f"SELECT h.time_zone::text AS word, h.id::text AS example FROM {_PEOPLE}"
        " WHERE h.time_zone::text <> ''",
        "have the time zone {word!r}, which nobody knows: they are told the session's",
        "map it in your view to a name of IANA's, such as Europe/Madrid",
        column="time_zone",
        is_known="zone",
    ),
    _Kind(
        "users",
        "locale",
        f"SELECT h.locale::text AS word, h.id::text AS example FROM {_PEOPLE}"
        " WHERE h.locale::text <> ''",
        "have the locale {word!r}, which names no language: they are written to in EMAIL_LOCALE",
        "map it in your view to a name as de-AT",
        column="locale",
        is_known="locale",
    ),
    _Kind(
        "enrollments",
        "duplicate",
        f"SELECT {_SAME}, h.session_id || ' ' || h.user_id AS example FROM {_ENROLLMENTS}"
        " GROUP BY h.session_id, h.user_id HAVING count(*) > 1",
        "are there more than once, and one row of each counts",
        "let your view show one row for each session_id and user_id",
    ),
    _Kind(
        "enrollments",
        "status",
        f"SELECT h.status::text AS word, h.session_id || ' ' || h.user_id AS example"
        f" FROM {_ENROLLMENTS}"
        " WHERE h.status::text NOT IN ('confirmed', 'pending', 'cancelled')",
        "have the status {word!r} and remind nobody",
        "map it in your view; known are confirmed, pending, cancelled",
        column="status",
    ),
    _Kind(
        "enrollments",
        "nobody",
        f"SELECT {_SAME}, h.session_id || ' ' || h.user_id AS example FROM {_ENROLLMENTS}"
        f" LEFT JOIN {looked_up('users', 'id = h.user_id')} u ON true"
        " WHERE h.user_id IS NOT NULL AND u.id IS NULL"
        " AND NOT EXISTS (SELECT FROM erased_users g WHERE g.user_id = h.user_id)",
        "are of people whom your view of users does not show, and remind nobody",
        "let it show them",
    ),
)
KINDS = tuple((kind.relation, kind.name) for kind in _KINDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Oddity:
    """Rows that are odd in the same way."""

    relation: str
    kind: str
    count: int
    example: str
    """An id, or those of session and user."""
    what: str
    remedy: str

    def __str__(self) -> str:
        """In a line."""
        return f"{self.what}; {self.remedy}"


async def oddities(
    database: Database,
    columns: Columns,
    *,
    is_zone: Callable[[str], bool],
    is_locale: Callable[[str], bool],
) -> tuple[Oddity, ...]:
    """What is odd in an existing platform's rows.

    Args:
        database: With a `host_schema`, and our views over its relations.
        columns: That the platform has.
        is_zone: Whether a name is a time zone's.
        is_locale: Whether a name is a locale's.

    Raises:
        DatabaseUnavailableError: If PostgreSQL is away, or takes too long.
    """
    known = {"zone": is_zone, "locale": is_locale}
    found = []
    for kind in _KINDS:
        if kind.column is not None and kind.column not in columns[kind.relation]:
            continue
        host = f'"{database.host_schema}"."{kind.relation}"'
        rows = await database.rows(text(kind.statement(host)))
        odd = [r for r in rows if kind.is_known is None or not known[kind.is_known](r["word"])]
        found += [_oddity(database, kind, row) for row in odd]
    return tuple(found)


def _oddity(database: Database, kind: _Kind, row: Record) -> Oddity:
    count, word, example = int(row["count"]), row["word"], str(row["example"])
    words = kind.words.format(word=None if word is None else str(word)[:_LONGEST_WORD])
    rows = "1 row" if count == 1 else f"{count} rows"
    return Oddity(
        relation=kind.relation,
        kind=kind.name,
        count=count,
        example=example,
        what=f"{rows} of {database.host_schema}.{kind.relation} {words}, such as {example}",
        remedy=kind.remedy,
    )
