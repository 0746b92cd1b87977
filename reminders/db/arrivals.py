"""How accepted e-mails arrive: how fast, which do not, and whether the provider tells us at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import Database
from reminders.db.sql import typed
from reminders.domain.keys import ASKED_EVENT

PATIENCE = timedelta(minutes=15)
"""How long after it was accepted an e-mail may be on its way without anybody looking."""
WINDOW = timedelta(days=1)
"""How far back is looked."""
_COUNTED = 10_000
_NEWEST = 1_000
"""Deliveries from which it is told how long they take."""
_DOMAINS = 3

# By status and due instant, of which there is an index: nothing is sent before it is due.
_LATE = """
    SELECT r.user_id FROM session_reminder_emails r
     WHERE r.email_status = 'sent' AND r.due_at >= :since
       AND r.sent_at >= :since AND r.sent_at < :late
     LIMIT :limit
"""

_STATE = typed(f"""
SELECT (SELECT count(*) FROM ({_LATE}) l) AS late,
       EXISTS (SELECT FROM session_reminder_emails r
                WHERE r.sent_at >= :since AND r.sent_at < :late) AS accepted,
       EXISTS (SELECT FROM webhook_events e WHERE e.received_at >= :since) AS is_told,
       EXISTS (SELECT FROM webhook_events e
                WHERE e.received_at >= :since AND NOT starts_with(e.svix_id, :asked)) AS has_events
""")  # noqa: S608 - composed of constants

# Of a domain that one person has, the domain would be the person.
_LATE_DOMAINS = typed(f"""
SELECT split_part(lower(u.email), '@', 2) AS domain, count(*) AS late
  FROM ({_LATE}) l JOIN users u ON u.id = l.user_id
 GROUP BY 1 HAVING count(DISTINCT u.id) > 1 ORDER BY 2 DESC, 1 LIMIT {_DOMAINS}
""")  # noqa: S608 - composed of constants

_TIMES = typed("""
SELECT count(*) AS count,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY n.took) AS median,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY n.took) AS most
  FROM (SELECT greatest(e.occurred_at - r.sent_at, interval '0') AS took
          FROM webhook_events e JOIN session_reminder_emails r ON r.id = e.reminder_id
         WHERE e.type = 'email.delivered' AND e.received_at >= :since
           AND NOT starts_with(e.svix_id, :asked) AND r.sent_at IS NOT NULL
         ORDER BY e.received_at DESC LIMIT :limit) n
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryTimes:
    """From accepted to delivered, of the last day's newest deliveries."""

    count: int
    median: timedelta
    most: timedelta
    """What 95 of 100 do not exceed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrivalState:
    """What of the last day's e-mails has not arrived, as far as anybody tells."""

    undelivered: int
    """Accepted more than 15 minutes ago, and neither delivered nor ended; none while nobody tells."""
    is_silent: bool
    """Whether some were accepted, and not one event has come."""
    is_told: bool
    """Whether anything is known: by an event, or because we asked."""


async def state(connection: AsyncConnection, now: datetime) -> ArrivalState:
    """How the last day's e-mails arrive."""
    row = (await connection.execute(_STATE, {**_of(now), "limit": _COUNTED})).mappings().one()
    return ArrivalState(
        undelivered=row["late"] if row["is_told"] else 0,
        is_silent=row["accepted"] and not row["has_events"],
        is_told=row["is_told"],
    )


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Asks how e-mails arrive, for people."""

    database: Database

    async def late_domains(self, now: datetime) -> Mapping[str, int]:
        """Where undelivered e-mails of more than one person go, and how many: the most first."""
        asked = {**_of(now), "limit": _COUNTED}
        return {row.domain: row.late for row in await self.database.tuples(_LATE_DOMAINS, asked)}

    async def times(self, now: datetime) -> DeliveryTimes | None:
        """How long deliveries take; `None` if none was told of."""
        row = await self.database.row(_TIMES, {**_of(now), "limit": _NEWEST})
        if row is None or not row["count"]:
            return None
        return DeliveryTimes(count=row["count"], median=row["median"], most=row["most"])


def _of(now: datetime) -> dict[str, object]:
    return {"since": now - WINDOW, "late": now - PATIENCE, "asked": ASKED_EVENT}
