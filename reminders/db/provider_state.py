"""What is known of the provider: whether it takes anything at present, and its quotas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text

from reminders.db.audit import Action, Event, record
from reminders.db.engine import Database
from reminders.db.tables import ProviderUsageRow, ReminderRow
from reminders.domain.model import StatusReason
from reminders.domain.ports import Hold

_HELD = text("""
SELECT held_until, held_because, held_sender FROM provider_pace WHERE held_until > clock_timestamp()
""")
_RESUME = text("""
UPDATE provider_pace SET held_until = NULL
 WHERE held_until > clock_timestamp() RETURNING held_because
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class QuotaReading:
    """A quota as the provider told it last."""

    name: str
    """`daily` or `monthly`."""
    used: int
    limit: int | None
    """E-mails; `None` is unlimited."""
    resets_at: datetime
    checked_at: datetime
    sent_since: int
    """Reminders that the provider has accepted since it told this."""

    @property
    def used_by_now(self) -> int:
        """What it told, and what we know to have gone out since."""
        return self.used + self.sent_since


class ProviderState:
    """Reads the state that all workers share, and ends a hold."""

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database

    async def hold(self) -> Hold | None:
        """The hold that keeps workers from posting; `None` while there is none."""
        async with self._database.autocommit() as connection:
            row = (await connection.execute(_HELD)).mappings().one_or_none()
        if row is None:
            return None
        return Hold(
            until=row["held_until"],
            reason=StatusReason(row["held_because"]),
            sender=row["held_sender"],
        )

    async def quotas(self) -> Sequence[QuotaReading]:
        """The quotas that are known, the daily one first."""
        sent_since = (
            select(func.count())
            .where(ReminderRow.sent_at > ProviderUsageRow.checked_at)
            .correlate(ProviderUsageRow)
            .scalar_subquery()
            .label("sent_since")
        )
        query = select(ProviderUsageRow.__table__, sent_since).order_by(ProviderUsageRow.quota)
        async with self._database.autocommit() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return tuple(
            QuotaReading(
                name=row["quota"],
                used=row["used"],
                limit=row["quota_limit"],
                resets_at=row["resets_at"],
                checked_at=row["checked_at"],
                sent_since=row["sent_since"],
            )
            for row in rows
        )

    async def resume(self, *, actor: str, reason: str | None = None) -> StatusReason | None:
        """End the hold, for every worker; safe to repeat.

        What waits is posted as its activities come back, within a minute (five after a quota),
        as far as it is still useful. If the provider still refuses, it is held again.

        Args:
            actor: Who does it, for the audit log.
            reason: Why, in their words.

        Returns:
            Why it was held; `None` if it was not.
        """
        async with self._database.transaction() as connection:
            was = await connection.scalar(_RESUME)
            if was is None:
                return None
            await record(
                connection,
                Event(
                    action=Action.DELIVERY_RESUMED,
                    actor=actor,
                    reason=reason,
                    details={"held_because": was},
                ),
            )
        return StatusReason(was)
