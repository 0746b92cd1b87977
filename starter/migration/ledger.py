"""Shadow mode and its end: what was only recorded, beside the old log, and whose turn it is to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql import insert as upsert

from reminders.db import unconfirmed
from reminders.db.engine import Database
from reminders.db.sql import counting_session, typed
from reminders.db.tables import CutoverRow, ReminderRow
from reminders.domain.keys import reminder_id

_SCOPE = "(CAST(:session_id AS uuid) IS NULL OR {column} = :session_id)"

_REOPENABLE = typed(f"""
SELECT r.session_id, r.user_id, r.reminder_type, r.generation, r.due_at, r.starts_at, r.workflow_id,
       r.moved_from
  FROM session_reminder_emails r JOIN {counting_session("r.session_id")} s ON true
 WHERE r.email_status = 'skipped' AND r.status_reason = 'shadowed'
   AND {_SCOPE.format(column="r.session_id")}
   AND r.due_at >= :since AND r.starts_at = s.start_time
   AND s.status = 'scheduled' AND s.start_time > :now
   AND NOT EXISTS (
       SELECT FROM session_reminder_emails n
        WHERE n.session_id = r.session_id AND n.user_id = r.user_id
          AND n.reminder_type = r.reminder_type AND n.generation > r.generation)
 ORDER BY r.id
""")  # noqa: S608 - composed of constants

_TAKEN_OVER = typed("""
UPDATE session_cutovers SET taken_over_at = coalesce(taken_over_at, :now)
 WHERE session_id IS NOT DISTINCT FROM :session_id
""")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One reminder as the old log and as we have it."""

    session_id: UUID
    user_id: UUID
    reminder_type: str
    cron_at: datetime | None
    """When the cron job sent it; absent if it did not."""
    shadow_at: datetime | None
    """When we would have; absent if we would not."""
    email_status: str | None
    """What our ledger says of it; absent if it has no such reminder."""
    status_reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """The old log and ours, side by side."""

    since: datetime | None
    """From when on both are compared; absent when nothing was recorded in shadow mode."""
    until: datetime
    both: int = 0
    only_cron: int = 0
    only_ours: int = 0
    apart: int = 0
    """Of `both`, those that lie further apart than tolerated."""
    median_seconds: float = 0
    """How much later than us the cron job sends; negative when it is early."""
    largest_seconds: float = 0
    """The largest distance, whichever way."""
    examples: Sequence[Pair] = ()
    """Some of what differs."""

    @property
    def is_none(self) -> bool:
        """Whether both did the same."""
        return not (self.only_cron or self.only_ours or self.apart)


@dataclass(frozen=True, slots=True)
class Cutovers:
    """Whose turn it is to send, the cron job's or ours, session by session."""

    database: Database

    async def request(self, session_id: UUID | None, *, now: datetime) -> datetime:
        """From the commit on, the cron job leaves the session alone and we do not send yet.

        Args:
            session_id: Which; absent means every session.
            now: The instant that is recorded, the first time.

        Returns:
            When it was requested for the first time.
        """
        async with self.database.transaction() as connection:
            await connection.execute(
                upsert(CutoverRow)
                .values(session_id=session_id, requested_at=now)
                .on_conflict_do_nothing()
            )
            requested: datetime | None = await connection.scalar(
                text(
                    "SELECT requested_at FROM session_cutovers"
                    " WHERE session_id IS NOT DISTINCT FROM CAST(:id AS uuid)"
                ),
                {"id": session_id},
            )
        return requested or now

    async def take_over(
        self, session_id: UUID | None, *, since: datetime, now: datetime
    ) -> tuple[int, Sequence[UUID]]:
        """Reopen what neither has sent, and send from now on; all or nothing, safe to repeat.

        Call it when the old log has been taken over to the end.

        Args:
            session_id: See `request`.
            since: Reminders due from then on may not have been looked at by the cron job.
            now: The instant to judge by.

        Returns:
            How many reminders are open again, as new generations, and in which sessions.
        """
        async with self.database.transaction() as connection:
            found = await connection.execute(
                _REOPENABLE, {"session_id": session_id, "since": since, "now": now}
            )
            rows = [dict(row) for row in found.mappings()]
            for row in rows:
                row["generation"] += 1
                row["id"] = reminder_id(
                    row["session_id"], row["user_id"], row["reminder_type"], row["generation"]
                )
            rows.sort(key=lambda row: row["id"])  # as everybody who writes reminders
            if rows:
                # A plan that came first has made the same row: reopened all the same.
                reopened = upsert(ReminderRow).on_conflict_do_nothing()
                await connection.execute(reopened, rows)
                changed = [(row["session_id"], row["user_id"]) for row in rows]
                await unconfirmed.add_all(connection, changed)
            await connection.execute(_TAKEN_OVER, {"session_id": session_id, "now": now})
        return len(rows), sorted({row["session_id"] for row in rows})


@dataclass(frozen=True, slots=True)
class ShadowLog:
    """What shadow mode recorded, compared with the cron job's own log."""

    database: Database
    schema: str
    """Where the platform's log is; checked before."""

    async def difference(
        self,
        *,
        until: datetime,
        tolerance: timedelta,
        has_status: bool = True,
        since: datetime | None = None,
        session_id: UUID | None = None,
        examples: int = 20,
    ) -> Difference:
        """Compare both, reminder by reminder.

        Args:
            until: What either did later is left out: the other may be about to.
            tolerance: How far apart is fine.
            has_status: Whether the old log has the column `email_status`.
            since: What both did earlier is left out; absent means since our first record.
            session_id: Only this session's.
            examples: How many differences are named.
        """
        async with self.database.autocommit() as connection:
            if since is None:
                since = await connection.scalar(
                    text("SELECT min(shadowed_at) FROM session_reminder_emails")
                )
            if since is None:
                return Difference(since=None, until=until)
            values = {
                "since": since,
                "until": until,
                "session_id": session_id,
                "tolerance": tolerance,
                "examples": examples,
            }
            counted = (
                await connection.execute(self._sql(_COUNT, has_status=has_status), values)
            ).mappings()
            named = (
                await connection.execute(self._sql(_EXAMPLES, has_status=has_status), values)
            ).mappings()
            return Difference(
                since=since,
                until=until,
                examples=tuple(Pair(**row) for row in named),
                **counted.one(),
            )

    def _sql(self, select: str, *, has_status: bool) -> TextClause:
        sent = "AND coalesce(lower(email_status::text), 'sent') NOT IN ('pending', 'failed')"
        return typed(f"""
WITH old AS (
    SELECT session_id, user_id, reminder_type, min(sent_at) AS sent_at
      FROM "{self.schema}".session_reminder_emails
     WHERE sent_at IS NOT NULL {sent if has_status else ""}
       AND session_id IS NOT NULL AND user_id IS NOT NULL AND reminder_type IS NOT NULL
     GROUP BY 1, 2, 3),
ours AS (
    SELECT session_id, user_id, reminder_type, min(shadowed_at) AS shadowed_at
      FROM session_reminder_emails WHERE shadowed_at IS NOT NULL GROUP BY 1, 2, 3),
pairs AS (
    SELECT session_id, user_id, reminder_type,
           old.sent_at AS cron_at, ours.shadowed_at AS shadow_at
      FROM old FULL JOIN ours USING (session_id, user_id, reminder_type)
     WHERE {_SCOPE.format(column="session_id")}
       AND (old.sent_at BETWEEN :since AND :until OR ours.shadowed_at BETWEEN :since AND :until))
{select}
""")  # noqa: S608 - the schema is checked before


_DIFFERS = """
    (cron_at IS NULL OR shadow_at IS NULL
     OR greatest(cron_at - shadow_at, shadow_at - cron_at) > :tolerance)
"""
_COUNT = f"""
SELECT count(*) FILTER (WHERE cron_at IS NOT NULL AND shadow_at IS NOT NULL) AS both,
       count(*) FILTER (WHERE shadow_at IS NULL) AS only_cron,
       count(*) FILTER (WHERE cron_at IS NULL) AS only_ours,
       count(*) FILTER (WHERE cron_at IS NOT NULL AND shadow_at IS NOT NULL AND {_DIFFERS}) AS apart,
       coalesce(extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY cron_at - shadow_at)),
                0)::float8 AS median_seconds,
       coalesce(extract(epoch FROM max(greatest(cron_at - shadow_at, shadow_at - cron_at))),
                0)::float8 AS largest_seconds
  FROM pairs
"""  # noqa: S608 - composed of constants
_EXAMPLES = f"""
SELECT p.*, r.email_status, r.status_reason
  FROM pairs p
  LEFT JOIN LATERAL (
       SELECT email_status, status_reason FROM session_reminder_emails l
        WHERE l.session_id = p.session_id AND l.user_id = p.user_id
          AND l.reminder_type = p.reminder_type
        ORDER BY generation DESC LIMIT 1) r ON true
 WHERE {_DIFFERS}
 ORDER BY p.session_id, p.user_id, p.reminder_type LIMIT :examples
"""  # noqa: S608 - composed of constants
