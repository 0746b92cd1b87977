"""What a cron-era platform has for rules, and ours made like them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import mapping
from reminders.db.engine import Database
from reminders.domain.model import ReminderRule
from starter.migration.importing import RULES, columns_of

_OUR_RULES = text(
    "SELECT * FROM reminder_configurations WHERE session_id IS NULL ORDER BY sort_order"
)
_UPDATE_RULE = text("""
UPDATE reminder_configurations
   SET minutes_before = :minutes_before, is_enabled = :is_enabled,
       email_subject_template = :subject, display_name = :display_name, sort_order = :sort_order,
       updated_at = now()
 WHERE reminder_type = :reminder_type AND session_id IS NULL
""")
_ADD_RULE = text("""
INSERT INTO reminder_configurations (reminder_type, minutes_before, is_enabled,
       email_subject_template, display_name, sort_order)
VALUES (:reminder_type, :minutes_before, :is_enabled, :subject, :display_name, :sort_order)
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleChange:
    """What taking the old rules over does to one of ours."""

    reminder_type: str
    before: ReminderRule | None
    """Absent when it is new."""
    after: ReminderRule

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of what differs; all of them when it is new."""
        names = ("lead", "is_enabled", "subject_template", "display_name", "sort_order")
        return tuple(n for n in names if getattr(self.before, n, None) != getattr(self.after, n))


class CronRules:
    """The platform's rules of before."""

    def __init__(self, database: Database, *, schema: str) -> None:
        """Read from this schema, and write to our own table.

        Args:
            database: Migrated.
            schema: Where the platform's table `reminder_configurations` is, if it has one.
        """
        self._database = database
        self._schema = schema

    async def changes(self) -> tuple[RuleChange, ...]:
        """What taking the rules over would change; one that the platform has not is switched off."""
        async with self._database.autocommit() as connection:
            return await self._changes(connection)

    async def take_over(self) -> tuple[RuleChange, ...]:
        """Make our rules the platform's; safe to repeat. Returns what changed."""
        async with self._database.transaction() as connection:
            changes = await self._changes(connection)
            for change in changes:
                rule = change.after
                values = {
                    "reminder_type": rule.reminder_type,
                    "minutes_before": rule.lead // timedelta(minutes=1),
                    "is_enabled": rule.is_enabled,
                    "subject": rule.subject_template,
                    "display_name": rule.display_name,
                    "sort_order": rule.sort_order,
                }
                await connection.execute(_UPDATE_RULE if change.before else _ADD_RULE, values)
        return changes

    async def _changes(self, connection: AsyncConnection) -> tuple[RuleChange, ...]:
        there = (await columns_of(connection, self._schema)).get(RULES)
        if there is None:
            return ()
        ours = {
            row["reminder_type"]: mapping.rule(row)
            for row in (await connection.execute(_OUR_RULES)).mappings()
        }
        display_name = "display_name" if "display_name" in there else "reminder_type"
        sort_order = "sort_order" if "sort_order" in there else "0"
        found = await connection.execute(
            text(f"""
SELECT reminder_type, minutes_before, is_enabled, email_subject_template,
       {display_name} AS display_name, {sort_order} AS sort_order
  FROM "{self._schema}".{RULES} ORDER BY minutes_before DESC
""")  # noqa: S608 - the schema is checked, the columns are from a closed list
        )
        theirs = {row["reminder_type"]: mapping.rule(row) for row in found.mappings()}
        changes = [
            RuleChange(reminder_type=name, before=ours.get(name), after=rule)
            for name, rule in theirs.items()
            if ours.get(name) != rule
        ]
        changes += [
            RuleChange(reminder_type=name, before=rule, after=replace(rule, is_enabled=False))
            for name, rule in ours.items()
            if name not in theirs and rule.is_enabled
        ]
        return tuple(changes)
