"""How the tables stood at any instant: triggers of the test write down every change."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from reminders.db.engine import Database

Row = Mapping[str, Any]

_RELATIONS = (
    "sessions",
    "enrollments",
    "reminder_configurations",
    "reminder_preferences",
    "session_reminder_emails",
    "quiet_sessions",
)
# At the end of each transaction, so that the instant is that of its commit, or nearly.
_INSTALL = (
    """CREATE SCHEMA witness""",
    """CREATE TABLE witness.seen (
        n bigserial PRIMARY KEY, at timestamptz NOT NULL, relation text NOT NULL,
        deleted boolean NOT NULL, fields jsonb NOT NULL)""",
    """CREATE FUNCTION witness.see() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO witness.seen (at, relation, deleted, fields)
        VALUES (clock_timestamp(), TG_TABLE_NAME, TG_OP = 'DELETE',
                CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END);
        RETURN NULL;
    END $$""",
    *(
        f"CREATE CONSTRAINT TRIGGER witnessed AFTER INSERT OR UPDATE OR DELETE ON {relation}"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION witness.see()"
        for relation in _RELATIONS
    ),
    # What was there before.
    """INSERT INTO witness.seen (at, relation, deleted, fields)
    SELECT '2000-01-01', 'reminder_configurations', false, to_jsonb(c)
      FROM reminder_configurations c""",
)


async def install(database: Database) -> None:
    """Write down every change from now on."""
    async with database.transaction() as connection:
        for statement in _INSTALL:
            await connection.execute(text(statement))


@dataclass(frozen=True, slots=True)
class Change:
    """A row as it was from then on; `None` if it was deleted."""

    at: datetime
    relation: str
    row: Row | None
    key: str


class Witness:
    """All changes that were written down."""

    def __init__(self, changes: Sequence[Change]) -> None:
        """Order them by row, and rows by whom they belong to."""
        self._by_key: dict[tuple[str, str], list[Change]] = defaultdict(list)
        self._keys: dict[tuple[str, str], set[str]] = defaultdict(set)
        for change in changes:
            self._by_key[change.relation, change.key].append(change)
            self._keys[change.relation, change.key.partition(" ")[0]].add(change.key)
        self._instants = sorted(
            {change.at for change in changes if change.relation != "session_reminder_emails"}
        )

    @classmethod
    async def of(cls, database: Database) -> Witness:
        """Read them."""
        query = text("SELECT at, relation, deleted, fields FROM witness.seen ORDER BY at, n")
        async with database.autocommit() as connection:
            found = await connection.execute(query)
            return cls(
                [Change(r.at, r.relation, None if r.deleted else r.fields, _key(r)) for r in found]
            )

    def changes(self, relation: str, key: str) -> Sequence[Change]:
        """Of one row, in their order."""
        return self._by_key.get((relation, key), ())

    def at(self, relation: str, key: str, instant: datetime) -> Row | None:
        """A row as it was at an instant."""
        changes = self.changes(relation, key)
        place = bisect_right(changes, instant, key=lambda change: change.at)
        return changes[place - 1].row if place else None

    def rows(self, relation: str, instant: datetime, *, of: UUID | None) -> Iterator[Row]:
        """Rows as they were at an instant, of one session or person, or of none."""
        for key in self._keys.get((relation, str(of)), ()):
            row = self.at(relation, key, instant)
            if row is not None:
                yield row

    def instants(self, since: datetime, until: datetime) -> list[datetime]:
        """The beginning of a span of time, and every change within it."""
        first, last = bisect_right(self._instants, since), bisect_right(self._instants, until)
        return [since, *self._instants[first:last]]

    def story(self, session_id: UUID, user_id: UUID) -> Iterator[tuple[datetime, str]]:
        """What happened to an enrollment, for people."""
        begins = {
            "sessions": (str(session_id),),
            "enrollments": (f"{session_id} {user_id}",),
            "reminder_configurations": (f"{session_id} ", "None "),
            "reminder_preferences": (f"{user_id} ",),
            "session_reminder_emails": (f"{session_id} {user_id} ",),
            "quiet_sessions": (str(session_id),),
        }
        for (relation, key), changes in self._by_key.items():
            if key.startswith(begins[relation]):
                for change in changes:
                    yield change.at, f"   {relation}: {_shown(change.row)}"


def leads(rules: Iterable[Row], session_id: UUID) -> dict[str, timedelta]:
    """How long before the start each reminder of a session goes out, by the rules that are on."""
    effective: dict[str, Row] = {}
    for rule in rules:
        kind, of = rule["reminder_type"], rule["session_id"]
        if of == str(session_id) or (of is None and kind not in effective):
            effective[kind] = rule
    return {
        kind: timedelta(minutes=rule["minutes_before"])
        for kind, rule in effective.items()
        if rule["is_enabled"]
    }


def stops(choices: Iterable[Row], session_id: UUID, reminder_type: str) -> bool:
    """Whether a person's choices stop a reminder."""
    return any(
        choice["session_id"] in (None, str(session_id))
        and choice["reminder_type"] in (None, reminder_type)
        for choice in choices
    )


_KEYS = {
    "sessions": ("id",),
    "enrollments": ("session_id", "user_id"),
    "reminder_configurations": ("session_id", "reminder_type"),
    "reminder_preferences": ("user_id", "id"),
    "session_reminder_emails": ("session_id", "user_id", "id"),
    "quiet_sessions": ("session_id",),
}
_TOLD = (
    "title",
    "start_time",
    "status",
    "reminder_type",
    "minutes_before",
    "is_enabled",
    "generation",
    "due_at",
    "starts_at",
    "email_status",
    "status_reason",
    "requested_at",
)


def _key(seen: Any) -> str:
    return " ".join(str(seen.fields[name]) for name in _KEYS[seen.relation])


def _shown(row: Row | None) -> str:
    if row is None:
        return "deleted"
    return ", ".join(f"{k}={row[k]}" for k in _TOLD if row.get(k) is not None)
