"""The rules on PostgreSQL: which one counts for a session, and how they are changed.

A row of `reminder_configurations` without a session is for all of them; one with a session stands
there in place of the row of the same type. That is said once, in `sql.counts_for`, and asked by the
planner, the sweep, the delivery and the diff alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import audit, mapping
from reminders.db.engine import Database
from reminders.db.notices import hush_what_is_so
from reminders.db.sql import counts_for, typed
from reminders.db.tables import ReminderConfigurationRow, SessionRow
from reminders.domain.errors import (
    InvalidInputError,
    RuleExistsError,
    RuleNotFoundError,
    SameLeadError,
    SessionNotFoundError,
)
from reminders.domain.model import Notice, ReminderRule
from reminders.domain.rules import RuleChange, RuleFields, with_fields

MOST_LISTED = 500
"""Rules of single sessions that are listed at once."""


_EFFECTIVE = typed(f"""
SELECT c.* FROM reminder_configurations c WHERE {counts_for("c", ":session_id")}
 ORDER BY c.sort_order, c.minutes_before DESC, c.reminder_type
""")  # noqa: S608 - composed of constants

ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('reminder-rules', 0))")

# Two rules that are on, that count for one session that lies ahead, and that would both be due at
# one instant.
SAME_LEAD = typed(f"""
SELECT other.reminder_type
  FROM reminder_configurations mine JOIN reminder_configurations other
    ON other.minutes_before = mine.minutes_before AND mine.minutes_before > 0 AND other.reminder_type <> mine.reminder_type
  LEFT JOIN sessions s ON s.id = coalesce(mine.session_id, other.session_id)
 WHERE mine.reminder_type = :reminder_type AND mine.is_enabled AND other.is_enabled
   AND (mine.session_id IS NULL AND other.session_id IS NULL
        OR s.start_time > now()
       AND ({counts_for("mine", "other.session_id")} OR {counts_for("other", "mine.session_id")}))
 LIMIT 1
""")  # noqa: S608 - composed of constants


async def effective_rules(
    connection: AsyncConnection, session_id: UUID
) -> tuple[ReminderRule, ...]:
    """The rules that count for a session, those that are off included, in their order."""
    found = await connection.execute(_EFFECTIVE, {"session_id": session_id})
    return tuple(mapping.rule(row) for row in found.mappings())


@dataclass(frozen=True, slots=True)
class RuleStore:
    """Reads and changes rules; every change is one transaction, with its entry in the audit log.

    Workflows do not learn of it here: see `starter.services.rules`.
    """

    database: Database

    async def all(self) -> tuple[ReminderRule, ...]:
        """The rules for all sessions in their order, then those of single sessions.

        Of the latter up to `MOST_LISTED`, the newest first.
        """
        of_single_ones = (
            select(ReminderConfigurationRow.__table__)
            .where(ReminderConfigurationRow.session_id.is_not(None))
            .order_by(ReminderConfigurationRow.created_at.desc(), ReminderConfigurationRow.id)
            .limit(MOST_LISTED)
        )
        async with self.database.autocommit() as connection:
            found = await connection.execute(of_single_ones)
            single = tuple(mapping.rule(row) for row in found.mappings())
            return (*await _rules(connection), *single)

    async def of_session(self, session_id: UUID) -> tuple[ReminderRule, ...]:
        """The rules that count for a session; its own ones carry its id.

        Raises:
            SessionNotFoundError: If there is no such session.
        """
        async with self.database.autocommit() as connection:
            await _must_exist(connection, session_id)
            return await effective_rules(connection, session_id)

    async def proposed(
        self, reminder_type: str, session_id: UUID | None, fields: RuleFields | None
    ) -> RuleChange:
        """What a change would make of a rule: it is made, and taken back.

        Args:
            reminder_type: Of an existing rule, or of one that would be added.
            session_id: Of the only session it would be for; absent means all.
            fields: What would be changed; `None` means that the rule would be deleted.

        Raises:
            InvalidInputError: If a value is missing or not acceptable.
            RuleNotFoundError: If there is nothing to delete.
            SameLeadError: If another rule is due at the same instant.
            SessionNotFoundError: If there is no such session.
        """
        async with self.database.transaction() as connection:
            if fields is None:
                change = await _delete(connection, reminder_type, session_id)
            elif await _in_force(connection, reminder_type, session_id) is None:
                change = await _add(
                    connection, with_fields(None, reminder_type, session_id, fields)
                )
            else:
                change = await _change(connection, reminder_type, session_id, fields)
            await connection.rollback()
        return change

    async def add(self, rule: ReminderRule, *, by: audit.By) -> RuleChange:
        """Add a rule.

        Raises:
            RuleExistsError: If there is one of this type already, for the same sessions.
            SameLeadError: If another rule is due at the same instant.
            SessionNotFoundError: If there is no such session.
        """
        async with self.database.transaction() as connection:
            change = await _add(connection, rule)
            await _note(connection, audit.Action.RULE_ADDED, change, by)
        return change

    async def change(
        self,
        reminder_type: str,
        session_id: UUID | None,
        fields: RuleFields,
        *,
        by: audit.By,
    ) -> RuleChange:
        """Change a rule; for one session, from then on it has a rule of its own.

        Raises:
            InvalidInputError: If a value is not acceptable.
            RuleNotFoundError: If there is no rule of this type.
            SameLeadError: If another rule is due at the same instant.
            SessionNotFoundError: If there is no such session.
        """
        async with self.database.transaction() as connection:
            change = await _change(connection, reminder_type, session_id, fields)
            if not change.is_repeated:
                await _note(connection, audit.Action.RULE_CHANGED, change, by)
        return change

    async def delete(
        self,
        reminder_type: str,
        session_id: UUID | None,
        *,
        by: audit.By,
    ) -> RuleChange:
        """Delete a rule; a session whose own one goes has the one for all sessions again.

        Raises:
            InvalidInputError: If it is the rule of a notice for all sessions, which is only
                switched off.
            RuleNotFoundError: If there is no such rule, for exactly these sessions.
            SameLeadError: If the rule that takes its place is due when another is.
            SessionNotFoundError: If there is no such session.
        """
        async with self.database.transaction() as connection:
            change = await _delete(connection, reminder_type, session_id)
            await _note(connection, audit.Action.RULE_DELETED, change, by)
        return change


async def _add(connection: AsyncConnection, rule: ReminderRule) -> RuleChange:
    await connection.execute(ONE_AT_A_TIME)
    before = await _in_force(connection, rule.reminder_type, rule.session_id)
    if before is not None and before.session_id == rule.session_id:
        raise RuleExistsError
    await connection.execute(insert(ReminderConfigurationRow).values(**mapping.RULES.values(rule)))
    return await _checked(connection, rule.reminder_type, rule.session_id, before, rule)


async def _change(
    connection: AsyncConnection, reminder_type: str, session_id: UUID | None, fields: RuleFields
) -> RuleChange:
    await connection.execute(ONE_AT_A_TIME)
    before = await _in_force(connection, reminder_type, session_id)
    if before is None:
        raise RuleNotFoundError(reminder_type)
    after = with_fields(before, reminder_type, session_id, fields)
    values = mapping.RULES.values(after)
    if before.session_id == session_id:
        await connection.execute(
            update(ReminderConfigurationRow)
            .where(*_is(reminder_type, session_id))
            .values(**values, updated_at=func.now())
        )
    else:
        await connection.execute(insert(ReminderConfigurationRow).values(**values))
    return await _checked(connection, reminder_type, session_id, before, after)


async def _delete(
    connection: AsyncConnection, reminder_type: str, session_id: UUID | None
) -> RuleChange:
    await connection.execute(ONE_AT_A_TIME)
    before = await _in_force(connection, reminder_type, session_id)
    if before is None or before.session_id != session_id:
        raise RuleNotFoundError(reminder_type)
    if before.is_notice and session_id is None:
        raise InvalidInputError(
            f"{reminder_type!r} is a notice, whose rule stays; switch it off instead",
            field="reminder_type",
        )
    await connection.execute(
        delete(ReminderConfigurationRow).where(*_is(reminder_type, session_id))
    )
    after = await _in_force(connection, reminder_type, session_id)
    return await _checked(connection, reminder_type, session_id, before, after)


async def _checked(
    connection: AsyncConnection,
    reminder_type: str,
    session_id: UUID | None,
    before: ReminderRule | None,
    after: ReminderRule | None,
) -> RuleChange:
    """The change, unless it would mail the same people twice at the same instant."""
    change = RuleChange(
        reminder_type=reminder_type, session_id=session_id, before=before, after=after
    )
    if change.moves_reminders:
        other = await connection.scalar(SAME_LEAD, {"reminder_type": reminder_type})
        if other is not None:
            raise SameLeadError(other)
    is_on, was_on = (rule is not None and rule.is_enabled for rule in (after, before))
    if reminder_type in (Notice.CANCELLED, Notice.MOVED) and is_on and not was_on:
        await hush_what_is_so(connection, Notice(reminder_type), session_id)
    return change


async def _rules(connection: AsyncConnection) -> tuple[ReminderRule, ...]:
    """The rules for all sessions, in their order."""
    found = await connection.execute(
        select(ReminderConfigurationRow.__table__)
        .where(ReminderConfigurationRow.session_id.is_(None))
        .order_by(
            ReminderConfigurationRow.sort_order,
            ReminderConfigurationRow.minutes_before.desc(),
            ReminderConfigurationRow.reminder_type,
        )
    )
    return tuple(mapping.rule(row) for row in found.mappings())


async def _in_force(
    connection: AsyncConnection, reminder_type: str, session_id: UUID | None
) -> ReminderRule | None:
    """The rule of a type that counts for a session, or for all."""
    if session_id is None:
        rules = await _rules(connection)
    else:
        await _must_exist(connection, session_id)
        rules = await effective_rules(connection, session_id)
    return next((rule for rule in rules if rule.reminder_type == reminder_type), None)


async def _must_exist(connection: AsyncConnection, session_id: UUID) -> None:
    found = await connection.scalar(select(SessionRow.id).where(SessionRow.id == session_id))
    if found is None:
        raise SessionNotFoundError(session_id)


async def _note(
    connection: AsyncConnection,
    action: audit.Action,
    change: RuleChange,
    by: audit.By,
) -> None:
    await audit.record(
        connection,
        by.did(
            action,
            session_id=change.session_id,
            details={
                "reminder_type": change.reminder_type,
                "before": _logged(change.before),
                "after": _logged(change.after),
            },
        ),
    )


def _logged(rule: ReminderRule | None) -> Mapping[str, Any] | None:
    """A rule as the audit log keeps it."""
    if rule is None:
        return None
    return {
        **mapping.RULES.values(rule),
        "session_id": str(rule.session_id) if rule.session_id else None,
    }


def _is(reminder_type: str, session_id: UUID | None) -> tuple[Any, ...]:
    return (
        ReminderConfigurationRow.reminder_type == reminder_type,
        ReminderConfigurationRow.session_id.is_not_distinct_from(session_id),
    )
