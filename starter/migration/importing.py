"""What a cron-era platform has recorded, taken over: its rules, and its log of reminders sent.

The tables are called as ours (`reminder_configurations`, `session_reminder_emails`) and lie in a
schema of the platform's. They are only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import mapping, unconfirmed
from reminders.db.engine import Database
from reminders.db.rules import ONE_AT_A_TIME, SAME_LEAD
from reminders.db.sql import counting_session, counts_for, typed
from reminders.domain.errors import ConfigurationError, InvalidInputError, SameLeadError
from reminders.domain.keys import reminder_id, session_reminder_workflow_id
from reminders.domain.model import ReminderRule

LOG, RULES = "session_reminder_emails", "reminder_configurations"
_NEEDED = {
    LOG: ("session_id", "user_id", "reminder_type", "sent_at"),
    RULES: ("reminder_type", "minutes_before", "is_enabled", "email_subject_template"),
}
_TYPES = {
    "session_id": "uuid",
    "user_id": "uuid",
    "sent_at": "timestamp with time zone",
}
"""Of columns of the log that are compared with ours."""
_NOT_SENT = ("pending", "failed")
"""Statuses of a log's row whose e-mail did not go out, whatever its other columns say."""
_KEPT = ("delivered", "bounced", "complained")
"""Statuses that mean the same here; every other one of a row with `sent_at` is `sent`."""

_COLUMNS = text("""
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname = :schema AND c.relname IN ('session_reminder_emails', 'reminder_configurations')
""")

_TARGETS = typed(f"""
SELECT l.position, s.start_time,
       (SELECT c.minutes_before FROM reminder_configurations c
         WHERE c.reminder_type = l.reminder_type AND {counts_for("c", "l.session_id")})
       AS minutes_before,
       coalesce((SELECT max(r.generation) FROM session_reminder_emails r
                  WHERE r.session_id = l.session_id AND r.user_id = l.user_id
                    AND r.reminder_type = l.reminder_type AND r.created_at <= l.sent_at), 1)
       AS generation
  FROM unnest(:sessions, :users, :types, :sent) WITH ORDINALITY
       AS l (session_id, user_id, reminder_type, sent_at, position)
  JOIN {counting_session("l.session_id")} s ON true
 WHERE EXISTS (SELECT FROM users u WHERE u.id = l.user_id)
""")  # noqa: S608 - composed of constants

# What waits here was sent there, and is not sent again. What has ended here stays as it is, but
# for the two reasons that say no more than "not by us".
_TAKE_OVER = typed("""
INSERT INTO session_reminder_emails AS r
       (id, session_id, user_id, reminder_type, generation, due_at, starts_at, sent_at,
        email_status, resend_email_id, workflow_id)
SELECT * FROM unnest(:ids, :sessions, :users, :types, :generations, :due, :starts, :sent,
                     :statuses, :email_ids, :workflow_ids) AS l (id)
 ORDER BY l.id
    ON CONFLICT (session_id, user_id, reminder_type, generation) DO UPDATE
   SET email_status = excluded.email_status, status_reason = NULL, sent_at = excluded.sent_at,
       resend_email_id = excluded.resend_email_id, updated_at = now()
 WHERE r.email_status = 'scheduled'
    OR r.email_status = 'skipped' AND r.status_reason = 'past_due'
    OR r.email_status = 'skipped' AND r.status_reason = 'shadowed' AND :ends_shadow
RETURNING r.xmax::text = '0' AS is_new, r.session_id, r.user_id
""")

_OUR_RULES = text(
    "SELECT * FROM reminder_configurations"
    " WHERE session_id IS NULL AND minutes_before > 0 ORDER BY sort_order"
)
_UPDATE_RULE = text("""
UPDATE reminder_configurations
   SET minutes_before = :minutes_before, is_enabled = :is_enabled,
       email_subject_template = :email_subject_template, display_name = :display_name,
       sort_order = :sort_order, updated_at = now()
 WHERE reminder_type = :reminder_type AND session_id IS NULL
""")
_ADD_RULE = text("""
INSERT INTO reminder_configurations (reminder_type, minutes_before, is_enabled,
       email_subject_template, display_name, sort_order)
VALUES (:reminder_type, :minutes_before, :is_enabled, :email_subject_template, :display_name,
        :sort_order)
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleChange:
    """What taking the old rules over does to one of ours, and how it is then."""

    reminder_type: str
    change: str
    """`added`, `changed` or `switched off`."""
    fields: tuple[str, ...]
    """The names of what differs; all of them when it is new."""
    minutes_before: int
    is_enabled: bool
    email_subject_template: str
    display_name: str
    sort_order: int

    @classmethod
    def between(cls, before: ReminderRule | None, after: ReminderRule) -> Self:
        """The change that makes one of ours (absent if there is none) like one of theirs."""
        names = ("lead", "is_enabled", "subject_template", "display_name", "sort_order")
        differing = tuple(n for n in names if getattr(before, n, None) != getattr(after, n))
        change = "changed" if before else "added"
        if before and differing == ("is_enabled",) and not after.is_enabled:
            change = "switched off"
        return cls(
            reminder_type=after.reminder_type,
            change=change,
            fields=differing,
            minutes_before=after.lead // timedelta(minutes=1),
            is_enabled=after.is_enabled,
            email_subject_template=after.subject_template,
            display_name=after.display_name,
            sort_order=after.sort_order,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CronEntry:
    """A row of the old log."""

    session_id: UUID
    user_id: UUID
    reminder_type: str
    sent_at: datetime | None
    status: str
    resend_email_id: str | None

    @property
    def is_sent(self) -> bool:
        """Whether its e-mail went out."""
        return self.sent_at is not None and self.status not in _NOT_SENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What became of some rows of the old log; counts."""

    read: int = 0
    added: int = 0
    """Now in our ledger as sent."""
    corrected: int = 0
    """Waited here, or was taken as missed, and is now recorded as sent."""
    known: int = 0
    """Our ledger says how they ended, or is sending them right now; left as they are."""
    not_sent: int = 0
    """Pending or failed there: planned anew here, if their instant lies ahead."""
    without_session: int = 0
    """Their session or person no longer exists."""


@dataclass(frozen=True, slots=True)
class CronTables:
    """The platform's tables of before, and what we take over from them."""

    database: Database
    """Migrated."""
    schema: str
    """Where the platform's tables are."""

    async def check(self) -> None:
        """See that the tables are there, and not our own.

        Raises:
            ConfigurationError: If not; names what is missing.
        """
        async with self.database.autocommit() as connection:
            await _columns_of(connection, self.schema)

    async def has_status(self) -> bool:
        """Whether the log says of each row how its e-mail ended.

        Raises:
            ConfigurationError: See `check`.
        """
        async with self.database.autocommit() as connection:
            return "email_status" in (await _columns_of(connection, self.schema))[LOG]

    async def rule_changes(self) -> tuple[RuleChange, ...]:
        """What taking the rules over would change; one that the platform lacks is switched off.

        Raises:
            InvalidInputError: If two of them are due at the same instant, or have one name.
        """
        async with self.database.autocommit() as connection:
            return await self._rule_changes(connection)

    async def types_in_log(self, names: Collection[str]) -> list[str]:
        """Which of these types the log has rows of."""
        found = await self.database.tuples(
            text(
                "SELECT n FROM unnest(CAST(:names AS text[])) AS n WHERE EXISTS"  # noqa: S608 - checked
                f' (SELECT FROM "{self.schema}".{LOG} WHERE reminder_type = n)'
            ),
            {"names": list(names)},
        )
        return [name for (name,) in found]

    async def take_over_rules(self) -> None:
        """Make our rules the platform's; safe to repeat.

        Raises:
            SameLeadError: If one would be due at the same instant as one of a session's own.
        """
        names = ("reminder_type", "minutes_before", "is_enabled", "email_subject_template")
        async with self.database.transaction() as connection:
            await connection.execute(ONE_AT_A_TIME)
            changes = await self._rule_changes(connection)
            for change in changes:
                statement = _ADD_RULE if change.change == "added" else _UPDATE_RULE
                columns = (*names, "display_name", "sort_order")
                await connection.execute(statement, {n: getattr(change, n) for n in columns})
            for change in changes:
                asked = {"reminder_type": change.reminder_type}
                if (other := await connection.scalar(SAME_LEAD, asked)) is not None:
                    raise SameLeadError(other)

    async def _rule_changes(self, connection: AsyncConnection) -> tuple[RuleChange, ...]:
        there = (await _columns_of(connection, self.schema)).get(RULES)
        if there is None:
            return ()
        found = await connection.execute(_OUR_RULES)
        ours = {row["reminder_type"]: mapping.rule(row) for row in found.mappings()}
        display_name = "btrim(display_name)" if "display_name" in there else "NULL"
        sort_order = "sort_order" if "sort_order" in there else "NULL::int"
        found = await connection.execute(
            text(f"""
SELECT reminder_type, coalesce(minutes_before, 0) AS minutes_before,
       coalesce(is_enabled, false) AS is_enabled, email_subject_template,
       coalesce(nullif({display_name}, ''), reminder_type) AS display_name,
       coalesce({sort_order}, 0) AS sort_order
  FROM "{self.schema}".{RULES} ORDER BY minutes_before DESC
""")  # noqa: S608 - the schema is checked, the columns are from a closed list
        )
        rows = found.all()
        for name, count in Counter(row.reminder_type for row in rows).items():
            if count > 1:
                msg = f"the old table has the rule {name!r} more than once; let a view show the one"
                raise InvalidInputError(msg, field="reminder_type")
        theirs = {
            row.reminder_type: ReminderRule(
                reminder_type=row.reminder_type,
                lead=timedelta(minutes=row.minutes_before),
                is_enabled=row.is_enabled,
                subject_template=row.email_subject_template,
                display_name=row.display_name,
                sort_order=row.sort_order,
            )
            for row in rows
        }
        _one_at_a_time(theirs.values())
        off = {
            name: replace(rule, is_enabled=False)
            for name, rule in ours.items()
            if name not in theirs and rule.is_enabled
        }
        return tuple(
            RuleChange.between(ours.get(name), rule)
            for name, rule in {**theirs, **off}.items()
            if ours.get(name) != rule
        )

    async def entries(
        self, *, after: CronEntry | None = None, limit: int = 1000, session_id: UUID | None = None
    ) -> Sequence[CronEntry]:
        """A page of the log, by ascending session, user and type.

        Of several rows of one reminder, such as one for each attempt, one that was sent counts.

        Args:
            after: Continue behind this one.
            limit: At most this many.
            session_id: Only this session's.
        """
        async with self.database.autocommit() as connection:
            there = await _columns_of(connection, self.schema)
            status = _or_null("email_status", there)
            found = await connection.execute(
                typed(f"""
SELECT DISTINCT ON (session_id, user_id, reminder_type)
       session_id, user_id, reminder_type, sent_at,
       {status} AS status,
       {_or_null("resend_email_id", there)} AS resend_email_id
  FROM "{self.schema}".{LOG}
 WHERE (:session_id IS NULL OR session_id = :session_id)
   AND session_id IS NOT NULL AND user_id IS NOT NULL AND reminder_type IS NOT NULL
   AND (:after_type IS NULL
        OR (session_id, user_id, reminder_type) > (:after_session, :after_user, :after_type))
 ORDER BY session_id, user_id, reminder_type,
          sent_at IS NULL OR coalesce(lower({status}), '') IN {_NOT_SENT}, sent_at LIMIT :limit
"""),  # noqa: S608 - the schema is checked, the columns are from a closed list
                {
                    "session_id": session_id,
                    "after_session": after.session_id if after else None,
                    "after_user": after.user_id if after else None,
                    "after_type": after.reminder_type if after else None,
                    "limit": limit,
                },
            )
            return [
                CronEntry(**{**row, "status": (row["status"] or "sent").lower()})
                for row in found.mappings()
            ]

    async def take_over(
        self, entries: Sequence[CronEntry], *, ends_shadow: bool = False, dry_run: bool = False
    ) -> Imported:
        """Record as sent what the platform has sent; safe to repeat, all or nothing.

        Args:
            entries: Of the log.
            ends_shadow: Whether a reminder that was only recorded here counts as the one sent
                there: when its session is cut over, and no sooner, so that both can be compared.
            dry_run: Only count.
        """
        sent = [entry for entry in entries if entry.is_sent]
        async with self.database.transaction() as connection:
            rows = await self._rows(connection, sent)
            added = corrected = 0
            if rows:
                columns = {name: [row[name] for row in rows] for name in rows[0]}
                done = await connection.execute(_TAKE_OVER, {**columns, "ends_shadow": ends_shadow})
                waited = [(row.session_id, row.user_id) for row in done if not row.is_new]
                corrected, added = len(waited), done.rowcount - len(waited)
                await unconfirmed.add_all(connection, waited)
            if dry_run:
                await connection.rollback()
        return Imported(
            read=len(entries),
            added=added,
            corrected=corrected,
            known=len(rows) - added - corrected,
            not_sent=len(entries) - len(sent),
            without_session=len(sent) - len(rows),
        )

    async def _rows(
        self, connection: AsyncConnection, sent: Sequence[CronEntry]
    ) -> list[dict[str, Any]]:
        """The ledger's rows for what was sent, as columns of `_TAKE_OVER`."""
        targets = await connection.execute(
            _TARGETS,
            {
                "sessions": [e.session_id for e in sent],
                "users": [e.user_id for e in sent],
                "types": [e.reminder_type for e in sent],
                "sent": [e.sent_at for e in sent],
            },
        )
        rows = []
        for position, start, minutes_before, generation in targets:
            entry = sent[position - 1]
            key = entry.session_id, entry.user_id
            lead = None if minutes_before is None else timedelta(minutes=minutes_before)
            rows.append(
                {
                    "ids": reminder_id(*key, entry.reminder_type, generation),
                    "sessions": entry.session_id,
                    "users": entry.user_id,
                    "types": entry.reminder_type,
                    "generations": generation,
                    # Of a rule that no longer exists, nobody knows any more when it was due.
                    "due": entry.sent_at if lead is None else start - lead,
                    "starts": start,
                    "sent": entry.sent_at,
                    "statuses": entry.status if entry.status in _KEPT else "sent",
                    "email_ids": entry.resend_email_id,
                    "workflow_ids": session_reminder_workflow_id(*key),
                }
            )
        return rows


def _one_at_a_time(rules: Iterable[ReminderRule]) -> None:
    """Refuse two rules by which people would get two e-mails at once.

    Raises:
        InvalidInputError: Names both.
    """
    due: dict[timedelta, str] = {}
    for rule in rules:
        if rule.is_enabled and (other := due.setdefault(rule.lead, rule.reminder_type)) != (
            rule.reminder_type
        ):
            raise InvalidInputError(
                f"the rules {other!r} and {rule.reminder_type!r} are due at the same instant, and"
                " people would get two e-mails at once; switch one off in the old table",
                field="minutes_before",
            )


def _or_null(column: str, there: Mapping[str, set[str]]) -> str:
    return f"{column}::text" if column in there[LOG] else "NULL::text"


async def _columns_of(connection: AsyncConnection, schema: str) -> Mapping[str, set[str]]:
    """The columns of the platform's tables; its rules may be missing, its log may not.

    Raises:
        ConfigurationError: If the log is missing or our own, or a column is missing or of another type.
    """
    there: dict[str, set[str]] = {}
    wrong = []
    for relation, column, kind in await connection.execute(_COLUMNS, {"schema": schema}):
        there.setdefault(relation, set()).add(column)
        if relation == LOG and kind != (needed := _TYPES.get(column, kind)):
            wrong.append(f"{schema}.{relation}.{column} is {kind}, and not {needed}")
    if LOG not in there:
        msg = f"there is no {schema}.{LOG}; say with --schema where the old tables are"
        raise ConfigurationError(msg)
    if "generation" in there[LOG]:
        msg = f"{schema}.{LOG} is our own ledger; say with --schema where the old one is"
        raise ConfigurationError(msg)
    wrong += [
        f"{schema}.{relation} has no column {column}"
        for relation, columns in there.items()
        for column in _NEEDED[relation]
        if column not in columns
    ]
    if wrong:
        msg = f"{'; '.join(wrong)}; show the table through a view with these names and types"
        raise ConfigurationError(msg)
    return there
