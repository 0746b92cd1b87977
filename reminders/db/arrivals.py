"""How accepted e-mails arrive: how fast, which do not, and whether the provider tells us at all.

Those that are silent the provider is asked for (`reminders.delivery.inquiry`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db.engine import Database
from reminders.db.provider import ProviderEvents
from reminders.db.sql import HELD, typed
from reminders.domain.keys import ASKED_EVENT
from reminders.domain.model import ProviderEvent, WebhookRefusal
from reminders.domain.pace import REMEMBERED, Pace
from reminders.domain.ports import Clock

PATIENCE = timedelta(minutes=15)
"""How long after it was accepted an e-mail may be on its way without anybody looking."""
WINDOW = timedelta(days=1)
"""How far back is looked."""
_COUNTED = 10_000
_NEWEST = 1_000
"""Deliveries from which it is told how long they take."""
_DOMAINS = 3

# By status and due instant, of which there is an index: nothing is sent before it is due. Of what we
# have not posted, but a cron job before us, nobody tells us anything.
_LATE = """
    SELECT r.user_id FROM session_reminder_emails r
     WHERE r.email_status = 'sent' AND r.due_at >= :since AND r.attempts > 0
       AND r.sent_at >= :since AND r.sent_at < :late
     LIMIT :limit
"""

_STATE = typed(f"""
SELECT (SELECT count(*) FROM ({_LATE}) l) AS late,
       EXISTS (SELECT FROM session_reminder_emails r
                WHERE r.sent_at >= :since AND r.sent_at < :late AND r.attempts > 0) AS accepted,
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


async def late_domains(database: Database, now: datetime) -> Mapping[str, int]:
    """Where undelivered e-mails of more than one person go, and how many: the most first."""
    asked = {**_of(now), "limit": _COUNTED}
    return {row.domain: row.late for row in await database.tuples(_LATE_DOMAINS, asked)}


async def times(database: Database, now: datetime) -> DeliveryTimes | None:
    """How long deliveries take; `None` if none was told of."""
    row = await database.row(_TIMES, {**_of(now), "limit": _NEWEST})
    if row is None or not row["count"]:
        return None
    return DeliveryTimes(count=row["count"], median=row["median"], most=row["most"])


def _of(now: datetime) -> dict[str, object]:
    return {"since": now - WINDOW, "late": now - PATIENCE, "asked": ASKED_EVENT}


NOTED_EVERY = timedelta(minutes=1)
"""Anybody may call: however often they do, it is no more than one write in this time."""

_NOTE = typed("""
UPDATE provider_pace
   SET webhook_refused_at = clock_timestamp(), webhook_refused_because = :reason
 WHERE webhook_refused_at IS NULL OR webhook_refused_at < clock_timestamp() - :wait
""")
_LAST = typed(f"""
SELECT p.webhook_refused_because FROM provider_pace p
 WHERE p.webhook_refused_at >= :since
   AND NOT EXISTS (SELECT FROM webhook_events w WHERE w.received_at >= p.webhook_refused_at
                      AND NOT starts_with(w.svix_id, '{ASKED_EVENT}'))
""")  # noqa: S608 - composed of constants


@dataclass(slots=True)
class WebhookRefusals:
    """What all processes know of webhooks that were refused."""

    database: Database
    _noted_at: float = field(default=float("-inf"), init=False)

    async def note(self, why: WebhookRefusal) -> None:
        """One was refused; what others have noted a moment ago is not noted again.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away.
        """
        if time.monotonic() - self._noted_at < NOTED_EVERY.total_seconds():
            return
        self._noted_at = time.monotonic()
        async with self.database.autocommit() as connection:
            await connection.execute(_NOTE, {"reason": why, "wait": NOTED_EVERY})

    async def last(self, *, since: datetime) -> WebhookRefusal | None:
        """Why one was refused since then; `None` if none was, or one has been taken in after it."""
        word = await self.database.scalar(_LAST, {"since": since})
        return WebhookRefusal(word) if word is not None else None


AGAIN = timedelta(hours=1)
"""How often the same e-mail is asked for."""
FORGOTTEN = timedelta(days=2)
"""When nobody asks any more."""

# A place is taken only if nobody waits for one, and only if there is somebody to ask for. One that is
# locked is asked for by another worker, or is moving on.
_NEXT = typed(f"""
WITH silent AS (
    SELECT r.id, r.resend_email_id FROM session_reminder_emails r
     WHERE r.email_status = 'sent' AND r.due_at >= :since AND r.sent_at < :late
       AND r.resend_email_id IS NOT NULL AND (r.asked_at IS NULL OR r.asked_at < :until)
     ORDER BY r.due_at, r.id LIMIT 1 FOR UPDATE SKIP LOCKED),
place AS (
    UPDATE provider_pace
       SET turns = (turns || clock_timestamp())[(cardinality(turns) + 2 - {REMEMBERED}) :]
     WHERE coalesce(turns[cardinality(turns)] + :quiet <= clock_timestamp(), true)
       AND coalesce(turns[cardinality(turns) + 1 - :requests] + :window <= clock_timestamp(), true)
       AND ({HELD}) IS NOT TRUE
       AND EXISTS (SELECT FROM silent)
    RETURNING true AS free)
UPDATE session_reminder_emails r SET asked_at = :now
  FROM silent, place WHERE r.id = silent.id
RETURNING r.id, silent.resend_email_id
""")  # noqa: S608 - composed of constants


@dataclass(frozen=True, slots=True)
class PostgresInquiries:
    """`Silent` on PostgreSQL."""

    database: Database
    clock: Clock
    pace: Pace = field(kw_only=True)
    """That all workers keep together. Most of each window is left to them."""

    async def next(self) -> tuple[UUID, str] | None:
        """See `Silent.next`."""
        now = self.clock.now()
        row = await self.database.row(
            _NEXT,
            {
                "since": now - FORGOTTEN,
                "late": now - PATIENCE,
                "until": now - AGAIN,
                "quiet": self.pace.aside,
                "requests": self.pace.requests,
                "window": self.pace.window,
                "now": now,
            },
        )
        return (row["id"], row["resend_email_id"]) if row else None

    async def record(self, event: ProviderEvent) -> bool:
        """See `Silent.record`."""
        return await ProviderEvents(self.database).record(event)
