"""What a rehearsal needs to know of the platform's tables; reads, and writes nothing."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import or_, select

from reminders.db.engine import Database
from reminders.db.preferences import STOPPING
from reminders.db.rules import effective_rules
from reminders.db.tables import ReminderPreferenceRow
from reminders.model import ReminderRule, StatusReason

_NO_SESSION = UUID(int=0)


class RehearsalFacts:
    """Rules and preferences as they are now."""

    def __init__(self, database: Database) -> None:
        """Read this database."""
        self._database = database

    async def rules(self, session_id: UUID | None) -> tuple[ReminderRule, ...]:
        """The rules that count for a session, those that are off included, in their order.

        Args:
            session_id: Absent means one that has no rules of its own.
        """
        async with self._database.autocommit() as connection:
            return await effective_rules(connection, session_id or _NO_SESSION)

    async def stopped(self, session_id: UUID | None, user_id: UUID) -> dict[str, StatusReason]:
        """Which reminders a person is not to get, by type; `*` stands for all.

        Args:
            session_id: Whose reminders; absent leaves out what concerns a single session.
            user_id: The person.
        """
        preference = ReminderPreferenceRow
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                select(preference.reminder_type, preference.reason)
                .where(
                    preference.user_id == user_id,
                    or_(preference.session_id.is_(None), preference.session_id == session_id),
                )
                # As for a delivery: of several reasons the last by name counts.
                .order_by(preference.reason)
            )
            return {kind or "*": STOPPING[reason] for kind, reason in found}
