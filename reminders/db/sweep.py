"""Finds enrollments whose reminders are not as the platform's tables want them.

Each question is one anti-join that goes from the sessions that lie ahead, or from the rows that
wait, so its cost grows with these and not with the years the ledger has seen. That needs saying
again and again: PostgreSQL takes status and instant for unrelated, expects what is overdue to be
everywhere, and would rather read a ledger whole than look a session up. What is found is only a
candidate: the planner decides anew, inside its lock, from what it reads there.

A back-fill goes through everybody who is enrolled in sessions that lie ahead (`Ahead`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import TextClause

from reminders.db.engine import Database
from reminders.db.planning import SETTLED
from reminders.db.sql import (
    AFTER_START,
    CALLED_OFF,
    NEWEST,
    counting_session,
    counts_for,
    looked_up,
    overdue,
    own_rows,
    stopping,
    typed,
)
from reminders.domain.ports import Clock, Enrollment
from reminders.domain.upkeep import Suspect

OVERDUE = timedelta(minutes=2)
"""A reminder that still waits this long after its instant may have no workflow any more."""
DUE_SOON = timedelta(minutes=35)
"""Twice the time between two sweeps, and some: whoever falls due then is looked at at least once."""
OLDEST = 5000
"""Overdue reminders that a page is chosen from: as many as a sweep repairs."""
IN_DOUBT = timedelta(minutes=5)
"""A frozen request without an outcome for longer than any lease and its takeover last."""

_FIRST = Suspect(UUID(int=0), UUID(int=0), datetime(1, 1, 2, tzinfo=UTC))


def _paged(alias: str, urgent_at: str) -> str:
    """The end of a question whose answers come a page at a time: the most urgent first.

    Args:
        alias: Of the relation that has session and user, with its dot.
        urgent_at: An expression over the rows of one enrollment.
    """
    key = f"{urgent_at}, {alias}session_id, {alias}user_id"
    return (
        f" GROUP BY {alias}session_id, {alias}user_id"
        f" HAVING ({key}) > (:after_at, :after_session, :after_user) ORDER BY {key} LIMIT :limit"
    )


_COUNTING = f"""
upcoming AS MATERIALIZED (
    SELECT DISTINCT id FROM sessions WHERE start_time > :now AND start_time >= :after_at),
counting AS MATERIALIZED (
    SELECT s.* FROM upcoming w CROSS JOIN {counting_session("w.id")} s
     WHERE s.start_time > :now AND s.start_time >= :after_at)
"""  # noqa: S608 - composed of constants
"""Sessions ahead, each with the row by which it is planned: no other may make a candidate of anybody."""

# Four conditions must agree with `reminders.domain.revise`: what it would leave alone must not be found, or
# it would be found for ever. These are "called off", "again", "told" and "withheld".
_LOST = typed(f"""
WITH {_COUNTING},
ahead AS MATERIALIZED (SELECT id, start_time FROM counting WHERE status = 'scheduled'),
newest AS MATERIALIZED ({NEWEST}),
known AS MATERIALIZED (SELECT DISTINCT session_id, user_id FROM newest),
called_off AS MATERIALIZED ({CALLED_OFF}),
rules AS MATERIALIZED (
    SELECT s.id AS session_id, s.start_time, c.reminder_type,
           s.start_time - c.minutes_before * interval '1 minute' AS due_at
      FROM ahead s JOIN reminder_configurations c ON {counts_for("c", "s.id")}
     WHERE c.is_enabled AND c.minutes_before > 0),
wanted AS (
    SELECT e.session_id, e.user_id, c.start_time, c.reminder_type, c.due_at
      FROM rules c JOIN enrollments e ON e.session_id = c.session_id AND e.status = 'confirmed')
SELECT w.session_id, w.user_id,
       min(CASE WHEN w.due_at >= :now THEN w.due_at ELSE w.start_time END) AS urgent_at
  FROM wanted w
  LEFT JOIN newest r ON r.session_id = w.session_id AND r.user_id = w.user_id
                    AND r.reminder_type = w.reminder_type
  LEFT JOIN known k ON k.session_id = w.session_id AND k.user_id = w.user_id
 WHERE (r.reminder_type IS NULL
        OR r.email_status NOT IN ('scheduled', 'sending')
       AND w.due_at >= :now
       AND CASE
           WHEN r.email_status = 'cancelled' THEN true  -- the session is held, and they take part
           WHEN r.email_status = 'skipped' THEN true
           WHEN r.email_status = 'failed'
            AND r.status_reason IN ('expired', 'quota', 'misconfigured') THEN true
           ELSE greatest(w.start_time - r.starts_at, r.starts_at - w.start_time) > :threshold
           END
       AND (r.generation = 1 OR NOT EXISTS (
           SELECT FROM (
               SELECT t.starts_at FROM session_reminder_emails t
                WHERE t.session_id = w.session_id AND t.user_id = w.user_id
                  AND t.reminder_type = w.reminder_type
                  AND t.email_status IN ('sent', 'delivered', 'bounced', 'complained', 'suppressed')
                ORDER BY t.generation DESC LIMIT 1) told
            WHERE greatest(w.start_time - told.starts_at, told.starts_at - w.start_time)
                  <= :threshold))
       AND NOT EXISTS (
           SELECT FROM {stopping("w")}))
   AND (w.due_at >= :now OR k.user_id IS NULL)
   AND NOT EXISTS (
        SELECT FROM called_off o WHERE o.session_id = w.session_id AND o.user_id = w.user_id)
{_paged("w.", "min(CASE WHEN w.due_at >= :now THEN w.due_at ELSE w.start_time END)")}
""")  # noqa: S608 - composed of constants

_WAS_TOLD = """
({row}.email_status IN ('sending', 'sent', 'delivered', 'bounced', 'complained', 'suppressed')
 OR {row}.status_reason = 'outcome_unknown')
"""
"""Whether an e-mail went out, or may have."""

# A session that was cancelled or moved, with people for whom nothing was planned since: nobody said
# so, and they have no reminder left that would be found by its start. It must agree with
# `reminders.domain.notices`, as the one above with `plan`.
_UNTOLD = typed(f"""
WITH {_COUNTING},
ahead AS MATERIALIZED (
    SELECT s.id, s.start_time, s.status, c.reminder_type
      FROM reminder_configurations c JOIN counting s ON {counts_for("c", "s.id")}
     WHERE c.is_enabled
       AND c.reminder_type = CASE s.status WHEN 'cancelled' THEN 'cancelled' ELSE 'moved' END),
newest AS MATERIALIZED ({NEWEST}),
called_off AS MATERIALIZED ({CALLED_OFF}),
known AS (
    SELECT n.session_id, n.user_id, max(n.plan_version) AS version,
           (array_agg(n.starts_at ORDER BY n.email_status = 'scheduled' DESC, n.plan_version DESC,
                      n.reminder_type IN ('cancelled', 'moved', 'confirmed') DESC, n.due_at DESC)
            FILTER (WHERE NOT (n.reminder_type = 'cancelled'  -- of which nobody heard
                               AND n.email_status IN ('scheduled', 'skipped')
                               AND n.status_reason IS DISTINCT FROM 'untold'))
           )[1] AS starts_at
      FROM newest n GROUP BY n.session_id, n.user_id)
SELECT k.session_id, k.user_id, min(s.start_time) AS urgent_at
  FROM ahead s
  JOIN known k ON k.session_id = s.id AND k.starts_at > :now
  JOIN enrollments e ON e.session_id = k.session_id AND e.user_id = k.user_id
                    AND e.status = 'confirmed'
  LEFT JOIN newest c ON c.session_id = k.session_id AND c.user_id = k.user_id
                    AND c.reminder_type = 'cancelled'
 WHERE CASE s.status WHEN 'cancelled' THEN
           c.plan_version IS NULL OR c.plan_version < k.version
           OR c.status_reason IN ('taken_back', 'session_started')
           OR c.status_reason IN ('opted_out', 'address_bounced', 'spam_complaint')
              AND NOT EXISTS (SELECT FROM {stopping("c")})
       ELSE greatest(k.starts_at - s.start_time, s.start_time - k.starts_at) >= interval '1 minute'
        AND NOT EXISTS (
            SELECT FROM (
                SELECT t.starts_at FROM {own_rows("k")} t
                 WHERE t.sent_at IS NOT NULL
                 ORDER BY t.plan_version DESC, t.sent_at DESC LIMIT 1) told
             WHERE told.starts_at = s.start_time)
         OR {_WAS_TOLD.format(row="c")}  -- and it takes place after all
        AND NOT EXISTS (
            SELECT FROM session_reminder_emails o
             WHERE o.session_id = k.session_id AND o.user_id = k.user_id
               AND o.plan_version > c.plan_version AND o.reminder_type <> 'cancelled'
               AND ({_WAS_TOLD.format(row="o")} OR o.status_reason = 'untold'
                    OR o.reminder_type = 'moved' AND o.email_status <> 'cancelled'))
       END
   AND NOT EXISTS (
        SELECT FROM called_off o WHERE o.session_id = k.session_id AND o.user_id = k.user_id)
{_paged("k.", "min(s.start_time)")}
""")  # noqa: S608 - composed of constants

_DRIFTED = typed(f"""
WITH waiting AS MATERIALIZED (
    SELECT DISTINCT session_id FROM session_reminder_emails WHERE email_status = 'scheduled'),
counting AS MATERIALIZED (
    SELECT s.* FROM waiting w CROSS JOIN {counting_session("w.session_id")} s)
SELECT r.session_id, r.user_id, min(r.due_at) AS urgent_at
  FROM session_reminder_emails r
  LEFT JOIN counting s ON s.id = r.session_id
  LEFT JOIN enrollments e ON e.session_id = r.session_id AND e.user_id = r.user_id
  LEFT JOIN reminder_configurations c
         ON c.reminder_type = r.reminder_type AND {counts_for("c", "r.session_id")}
 WHERE r.email_status = 'scheduled'
   -- Whoever is not confirmed yet gets nothing: that is judged when it is due, and not before.
   AND e.status IS DISTINCT FROM 'pending'
   -- A notice of a cancellation waits until it is sent, and any other for its instant.
   AND (s.id IS NULL
        OR r.reminder_type = 'cancelled' AND s.status <> 'cancelled'
        OR r.reminder_type <> 'cancelled' AND s.status = 'cancelled'
        OR e.session_id IS NULL
        OR e.status = 'cancelled' AND NOT EXISTS (  -- another row of theirs may count
            SELECT FROM enrollments o
             WHERE o.session_id = r.session_id AND o.user_id = r.user_id
               AND o.status <> 'cancelled')
        OR c.reminder_type IS NULL OR NOT c.is_enabled
        OR r.starts_at <> s.start_time
        -- What an operator asked for is due as they asked, as long as the session does not move.
        OR r.requested_at IS NULL AND c.minutes_before > 0
           AND r.due_at <> s.start_time - c.minutes_before * interval '1 minute')
{_paged("r.", "min(r.due_at)")}
""")  # noqa: S608 - composed of constants

# The oldest first and no more than a few pages: in the order of an index, which is therefore used.
_OVERDUE = typed(f"""
SELECT o.session_id, o.user_id, min(o.due_at) AS urgent_at
  FROM (SELECT r.session_id, r.user_id, r.due_at FROM session_reminder_emails r
         WHERE {overdue("r", ":until")} AND r.due_at >= :after_at
           AND NOT EXISTS (SELECT FROM session_reminder_emails e
                            WHERE e.session_id = r.session_id AND e.user_id = r.user_id
                              AND e.email_status = 'scheduled'
                              AND (e.due_at, e.id) < (r.due_at, r.id))
         ORDER BY r.due_at LIMIT {OLDEST}) o
{_paged("o.", "min(o.due_at)")}
""")  # noqa: S608 - composed of constants

_DUE_SOON = typed(f"""
WITH soon AS MATERIALIZED (
    SELECT r.session_id, r.user_id, r.due_at FROM session_reminder_emails r
     WHERE r.email_status = 'scheduled' AND r.due_at >= :since AND r.due_at < :until)
SELECT session_id, user_id, min(due_at) AS urgent_at FROM soon
{_paged("", "min(due_at)")}
""")  # noqa: S608 - composed of constants

# Of those who wait for nothing any more the workflow is to be told so: the longest ago first.
_UNCONFIRMED = typed(f"""
SELECT u.session_id, u.user_id, min(coalesce(w.due_at, u.planned_at)) AS urgent_at
  FROM unconfirmed_plans u LEFT JOIN LATERAL (
       SELECT min(r.due_at) AS due_at FROM {own_rows("u")} r
        WHERE r.email_status = 'scheduled') w ON true
 WHERE u.planned_at < :until
{_paged("u.", "min(coalesce(w.due_at, u.planned_at))")}
""")  # noqa: S608 - composed of constants

_WAITING = typed("""
SELECT DISTINCT session_id, user_id FROM session_reminder_emails
 WHERE session_id = :session_id AND email_status = 'scheduled' LIMIT :limit
""")

_IN_DOUBT = typed("""
SELECT count(*)
  FROM email_batches b JOIN session_reminder_emails r ON r.batch_id = b.id
 WHERE b.state = 'frozen' AND b.frozen_at < :until AND r.email_status = 'sending'
""")


@dataclass(frozen=True, slots=True)
class SweepQueries:
    """Candidates of the sweep, a page at a time, the most urgent first."""

    database: Database
    clock: Clock
    """Decides what lies ahead and what is overdue."""
    _: KW_ONLY
    resend_threshold: timedelta = timedelta(hours=1)
    """The planner's own."""

    async def unconfirmed(self, *, after: Suspect | None, limit: int) -> Sequence[Suspect]:
        """Enrollments whose newest plan no workflow has confirmed, and no call is under way to it."""
        return await self._page(_UNCONFIRMED, after, limit, until=self.clock.now() - SETTLED)

    async def lost(self, *, after: Suspect | None, limit: int) -> Sequence[Suspect]:
        """Enrollments that lack a reminder which still lies ahead, or a notice, or have none at all.

        Those whose reminders were called off by hand are left out: nobody but the platform, by
        enrolling them, revives them.
        """
        now = self.clock.now()
        lost = await self._page(_LOST, after, limit, now=now, threshold=self.resend_threshold)
        untold = await self._page(_UNTOLD, after, limit, now=now)
        found = sorted({*lost, *untold}, key=lambda s: (s.urgent_at, s.session_id, s.user_id))
        return tuple(found[:limit])

    async def drifted(self, *, after: Suspect | None, limit: int) -> Sequence[Suspect]:
        """Enrollments with a waiting reminder that session, rule or enrollment no longer want so."""
        return await self._page(_DRIFTED, after, limit)

    async def overdue(self, *, after: Suspect | None, limit: int) -> Sequence[Suspect]:
        """Enrollments with a reminder that should have gone out minutes ago."""
        return await self._page(_OVERDUE, after, limit, until=self.clock.now() - OVERDUE)

    async def due_soon(
        self, *, after: Suspect | None, limit: int, within: timedelta = DUE_SOON
    ) -> Sequence[Suspect]:
        """Enrollments with a reminder that falls due before the next sweep but one."""
        now = self.clock.now()
        return await self._page(_DUE_SOON, after, limit, since=now - OVERDUE, until=now + within)

    async def waiting(self, session_id: UUID, *, limit: int) -> Sequence[Enrollment]:
        """Enrollments of a session that wait for a reminder."""
        asked = {"session_id": session_id, "limit": limit}
        return tuple(Enrollment(*row) for row in await self.database.tuples(_WAITING, asked))

    async def in_doubt(self) -> int:
        """How many reminders are frozen in a request that has had no outcome for minutes."""
        until = self.clock.now() - IN_DOUBT
        count: int = await self.database.scalar(_IN_DOUBT, {"until": until})
        return count

    async def _page(
        self, statement: TextClause, after: Suspect | None, limit: int, **values: object
    ) -> Sequence[Suspect]:
        last = after or _FIRST
        cursor = {
            "after_at": last.urgent_at,
            "after_session": last.session_id,
            "after_user": last.user_id,
        }
        found = await self.database.tuples(statement, {**values, **cursor, "limit": limit})
        return tuple(Suspect(*row) for row in found)


_ENROLLED = looked_up("enrollments", "session_id = s.id AND status = 'confirmed'")
_SESSIONS = """
SELECT id, min(start_time) AS start_time FROM sessions
 WHERE status = 'scheduled' AND start_time > :now
   AND (CAST(:session_id AS uuid) IS NULL OR id = :session_id)
 GROUP BY id
"""
_PAGE = typed(f"""
SELECT DISTINCT s.start_time, e.session_id, e.user_id
  FROM ({_SESSIONS}) s CROSS JOIN {_ENROLLED} e
 WHERE s.start_time >= {AFTER_START}
   AND (s.start_time, e.session_id, e.user_id) > ({AFTER_START}, :after_session, :after_user)
 ORDER BY s.start_time, e.session_id, e.user_id LIMIT :limit
""")  # noqa: S608 - composed of constants
_COUNT = typed(f"""
SELECT count(*) FROM ({_SESSIONS}) s CROSS JOIN {_ENROLLED} e
""")  # noqa: S608 - composed of constants

_NOBODY = Enrollment(UUID(int=0), UUID(int=0))


@dataclass(frozen=True, slots=True)
class Ahead:
    """Confirmed enrollments in sessions that lie ahead."""

    database: Database

    async def page(
        self, *, now: datetime, session_id: UUID | None, after: Enrollment | None, limit: int
    ) -> Sequence[Enrollment]:
        """Some of them, by the start of their session.

        Args:
            now: The instant to judge by.
            session_id: Only this session's.
            after: Continue behind this one.
            limit: At most this many.
        """
        last = after or _NOBODY
        asked = {
            "now": now,
            "session_id": session_id,
            "after_session": last.session_id,
            "after_user": last.user_id,
            "limit": limit,
        }
        return [Enrollment(*key) for _, *key in await self.database.tuples(_PAGE, asked)]

    async def count(self, *, now: datetime, session_id: UUID | None) -> int:
        """How many there are."""
        count: int = await self.database.scalar(_COUNT, {"now": now, "session_id": session_id})
        return count
