"""The ledger as the delivery pipeline needs it: `reminders.domain.ports.DeliveryLedger` on PostgreSQL.

Written as SQL because the number of round trips is the point: read, freeze and settle are one
statement each, and each its own transaction, whatever the size of the batch. Nothing is locked
while e-mails are rendered; a row that changed meanwhile makes the freeze a no-op. Reminders are
locked in the order of their ids, here and in `planning`, so that two transactions cannot wait for
each other.

Two clocks, on purpose: what concerns reminders is judged by the caller's clock, what concerns
workers among themselves (leases, pace, holds) by the database's, which they share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    Boolean,
    DateTime,
    Integer,
    Interval,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.types import TypeEngine

from reminders.db import mapping
from reminders.db.engine import Database, is_about_a_value
from reminders.db.installation import belongs_here, here
from reminders.db.preferences import STOPPING
from reminders.db.rules import counts_for
from reminders.domain.contracts import CloseRemindersResult
from reminders.domain.model import (
    DeliveryFacts,
    EnrollmentStatus,
    ReminderStatus,
    StatusReason,
    Turn,
)
from reminders.domain.ports import (
    Clock,
    Destination,
    FrozenBatch,
    Hold,
    Reading,
    Settlement,
    Stranded,
    Usage,
)

SENDING = ReminderStatus.SENDING
_NOT_TRUE = "what it says is not true any more, and it may have been accepted"
LEASE = timedelta(seconds=5)
"""How long a silent owner keeps a batch; a live one renews it."""

_TYPES: dict[str, TypeEngine[Any]] = {
    "ids": ARRAY(Uuid()),
    "statuses": ARRAY(Text()),
    "reasons": ARRAY(Text()),
    "email_ids": ARRAY(Text()),
    "errors": ARRAY(Text()),
    "run_ids": ARRAY(Text()),
    "versions": ARRAY(Text()),
    "version": Text(),
    "sender": Text(),
    "accepted": Boolean(),
    "starts": ARRAY(DateTime(timezone=True)),
    "sending": ARRAY(Uuid()),
    "owner": Text(),
    "batch_id": Uuid(),
    "body": LargeBinary(),
    "lease": Interval(),
    "gap": Interval(),
    "wait": Interval(),
    "id": Uuid(),
    "status": Text(),
    "reason": Text(),
    "now": DateTime(timezone=True),
    "due_at": DateTime(timezone=True),
    "starts_at": DateTime(timezone=True),
    "lasts": Interval(),
    "useful_until": DateTime(timezone=True),
    "repeatable_until": DateTime(timezone=True),
    "delivery_mode": Text(),
    "sink": Text(),
    "limit": Integer(),
    "shadow": Boolean(),
    "quota": Text(),
    "used": Integer(),
    "quota_limit": Integer(),
    "resets_at": DateTime(timezone=True),
}


def _sql(statement: str) -> TextClause:
    """The statement with its parameters typed, as PostgreSQL cannot guess arrays and NULLs."""
    clause = text(statement)
    names = clause._bindparams  # noqa: SLF001 - the only list of a text's parameters
    return clause.bindparams(*(bindparam(n, type_=_TYPES[n]) for n in names if n in _TYPES))


_MOST_ATTEMPTS = 32_767
"""Where counting stops: what the column holds."""


def _stopping(reminder: str) -> str:
    """SQL: the preferences that stop a reminder, as `p`; whoever asked for it or why."""
    return (
        f"reminder_preferences p WHERE p.user_id = {reminder}.user_id"
        f" AND (p.session_id IS NULL OR p.session_id = {reminder}.session_id)"
        f" AND (p.reminder_type IS NULL OR p.reminder_type = {reminder}.reminder_type)"
    )


_HOLD_FOR_US = """
 FROM provider_pace
  WHERE held_until > clock_timestamp() AND (held_sender IS NULL OR held_sender = :sender)
"""
"""The hold that concerns this worker: everybody's, or that of its own key and sender."""

# Rows and hold are one reading: of two, a hold that ends in between would make it look as if there
# were no rows. The hold comes first, and with it no row: there is always at least one line.
_READ = _sql(f"""
WITH held AS MATERIALIZED (
    SELECT held_until - clock_timestamp() AS held_for, held_because, held_sender {_HOLD_FOR_US})
SELECT held.held_for, held.held_because, held.held_sender, r.*, r.xmin::text AS row_version,
       s.id AS s_id, s.title AS s_title, s.start_time AS s_start_time, s.end_time AS s_end_time,
       s.time_zone AS s_time_zone, s.speaker_name AS s_speaker_name, s.location AS s_location,
       s.join_url AS s_join_url, s.preparation_notes AS s_preparation_notes, s.status AS s_status,
       u.id AS u_id, u.email AS u_email, u.full_name AS u_full_name, u.time_zone AS u_time_zone,
       u.locale AS u_locale,
       e.status AS enrollment_status,
       c.reminder_type AS c_reminder_type, c.minutes_before AS c_minutes_before,
       c.is_enabled AS c_is_enabled, c.email_subject_template AS c_email_subject_template,
       c.display_name AS c_display_name, c.sort_order AS c_sort_order,
       -- Only what will go out can take the place of what is late.
       (SELECT min(later.due_at) FROM session_reminder_emails later
          JOIN reminder_configurations n
            ON n.reminder_type = later.reminder_type AND {counts_for("n", "later.session_id")}
         WHERE later.session_id = r.session_id AND later.user_id = r.user_id
           AND later.email_status = 'scheduled' AND later.requested_at IS NULL
           AND later.due_at > r.due_at AND n.is_enabled
           AND NOT EXISTS (SELECT FROM {_stopping("later")})) AS next_due_at,
       (SELECT told.starts_at FROM session_reminder_emails told
         WHERE told.session_id = r.session_id AND told.user_id = r.user_id
           AND told.sent_at IS NOT NULL
         ORDER BY told.sent_at DESC LIMIT 1) AS told_start,
       -- Of several reasons the last by name: what the person asked for comes before all else.
       (SELECT max(p.reason) FROM {_stopping("r")}) AS stopped,
       CASE WHEN NOT :shadow THEN 'ours' ELSE coalesce(
       (SELECT CASE WHEN o.taken_over_at IS NULL THEN 'between' ELSE 'ours' END
          FROM session_cutovers o WHERE o.session_id = r.session_id OR o.session_id IS NULL
         ORDER BY o.taken_over_at LIMIT 1), 'theirs') END AS turn
  FROM (VALUES (1)) AS one
  LEFT JOIN held ON true
  LEFT JOIN session_reminder_emails r ON held.held_for IS NULL AND r.id = ANY(:ids)
  LEFT JOIN sessions s ON s.id = r.session_id
  LEFT JOIN users u ON u.id = r.user_id
  LEFT JOIN enrollments e ON e.session_id = r.session_id AND e.user_id = r.user_id
  LEFT JOIN reminder_configurations c
         ON c.reminder_type = r.reminder_type AND {counts_for("c", "r.session_id")}
""")  # noqa: S608 - composed of constants

_UNCHANGED = f"""
input AS (
    SELECT * FROM unnest(:ids, :versions, :statuses, :reasons, :errors, :run_ids, :starts)
        AS d (id, version, status, reason, error, run_id, starts_at)),
locked AS (
    SELECT r.id FROM session_reminder_emails r JOIN input d ON d.id = r.id
     WHERE r.email_status = 'scheduled' AND r.xmin::text = d.version
     ORDER BY r.id FOR UPDATE OF r),
unchanged AS (
    SELECT true AS yes WHERE (SELECT count(*) FROM locked) = (SELECT count(*) FROM input)),
marked AS (
    UPDATE session_reminder_emails r
       SET email_status = d.status, status_reason = d.reason, last_error = d.error,
           batch_id = CASE WHEN d.status = 'sending' THEN :batch_id END,
           attempts = least(r.attempts + CASE WHEN d.status = 'sending' THEN 1 ELSE 0 END,
                            {_MOST_ATTEMPTS}),
           starts_at = coalesce(d.starts_at, r.starts_at),  -- the one that the e-mail tells
           shadowed_at = CASE WHEN d.reason = 'shadowed' THEN :now ELSE r.shadowed_at END,
           run_id = d.run_id, updated_at = now()
      FROM input d, unchanged
     WHERE r.id = d.id)
"""  # noqa: S608 - composed of constants

_CLOSE_UNCHANGED = _sql(f"""
WITH {_UNCHANGED}
SELECT interval '0' AS wait FROM unchanged
""")  # noqa: S608 - composed of constants

_FREEZE = _sql(f"""
WITH {_UNCHANGED},
frozen AS (
    INSERT INTO email_batches
           (id, reminder_ids, body, useful_until, repeatable_until, frozen_at, owner, lease_until,
            delivery_mode, sink, installation_id)
    SELECT :batch_id, :sending, :body, :useful_until, :repeatable_until, :now, :owner,
           clock_timestamp() + :lease, :delivery_mode, :sink, (SELECT id FROM reminder_installation)
      FROM unchanged)
UPDATE provider_pace
   SET next_request_at = greatest(next_request_at, clock_timestamp()) + :gap
 WHERE EXISTS (SELECT FROM unchanged)
RETURNING next_request_at - :gap - clock_timestamp() AS wait
""")  # noqa: S608 - composed of constants

_MOVE = _sql("""
UPDATE session_reminder_emails SET due_at = :due_at, starts_at = :starts_at, updated_at = now()
 WHERE id = :id AND email_status = 'scheduled' AND xmin::text = :version
""")

# The provider's id proves an acceptance. Whatever was concluded without it gives way: that nobody
# can know, that it was too late, or that the request was refused and is to be decided anew. What a
# webhook has told since stays, and so does a row that is in another request by now.
_SETTLE = _sql("""
WITH proven AS (  -- who accepts our e-mails does not refuse us
    UPDATE provider_pace SET held_until = NULL
     WHERE :accepted AND held_until > clock_timestamp()
       AND (held_sender IS NULL OR held_sender = :sender)),
settled AS (
    UPDATE email_batches SET state = 'settled', body = NULL, settled_at = :now
     WHERE id = :batch_id AND state = 'frozen'),
found AS (
    SELECT r.id, d.status, d.reason, d.email_id, d.error,
           r.batch_id = :batch_id AND r.email_status = 'sending'
           OR d.email_id IS NOT NULL AND r.resend_email_id IS NULL
              AND r.email_status IN ('scheduled', 'failed', 'cancelled', 'skipped') AS counts
      FROM session_reminder_emails r
      JOIN unnest(:ids, :statuses, :reasons, :email_ids, :errors)
           AS d (id, status, reason, email_id, error) ON d.id = r.id
     WHERE r.batch_id = :batch_id OR r.batch_id IS NULL AND d.email_id IS NOT NULL
     ORDER BY r.id FOR UPDATE OF r)
UPDATE session_reminder_emails r
   SET email_status = CASE WHEN f.counts THEN f.status ELSE r.email_status END,
       status_reason = CASE WHEN f.counts THEN f.reason ELSE r.status_reason END,
       resend_email_id = CASE  -- it leads to the address, in the provider's own log
           WHEN EXISTS (SELECT FROM erased_users x WHERE x.user_id = r.user_id) THEN NULL
           ELSE coalesce(r.resend_email_id, f.email_id) END,
       sent_at = CASE WHEN f.email_id IS NULL THEN r.sent_at ELSE coalesce(r.sent_at, :now) END,
       last_error = CASE WHEN f.counts THEN f.error ELSE r.last_error END,
       updated_at = now()
  FROM found f
 WHERE r.id = f.id
""")

_RELEASE = _sql("""
WITH released AS (
    UPDATE email_batches SET state = 'released', body = NULL, settled_at = :now
     WHERE id = :batch_id AND state = 'frozen' AND owner = :owner RETURNING id)
UPDATE session_reminder_emails r
   SET email_status = 'scheduled', batch_id = NULL, updated_at = now()
  FROM released
 WHERE r.batch_id = released.id AND r.email_status = 'sending'
""")

_ENDS_AT = "coalesce(b.repeatable_until, b.useful_until)"

# A request tells its sessions' start: it is false when one of them does not take place then. Who of
# many has left is mailed with the others, who would be left without; but not nobody else.
_STILL_TRUE = f"""
SELECT coalesce(
       bool_and(coalesce(s.status = 'scheduled' AND s.start_time = r.starts_at, false))
       AND bool_or(coalesce(e.status = 'confirmed', false)
                   AND NOT EXISTS (SELECT FROM {_stopping("r")})), false) AS still_true
  FROM session_reminder_emails r
  LEFT JOIN sessions s ON s.id = r.session_id
  LEFT JOIN enrollments e ON e.session_id = r.session_id AND e.user_id = r.user_id
 WHERE r.batch_id = :batch_id AND r.email_status = 'sending'
"""  # noqa: S608 - composed of constants

_RESUME = _sql(f"""
WITH taken AS (
    UPDATE email_batches b SET owner = :owner, lease_until = clock_timestamp() + :lease
     WHERE b.id = :batch_id AND b.state = 'frozen' AND b.lease_until <= clock_timestamp()
       AND ({belongs_here("b")} OR {_ENDS_AT} <= :now)
    RETURNING b.*, {belongs_here("b")} AS is_ours),
judged AS ({_STILL_TRUE}),
posted AS (
    SELECT taken.id FROM taken, judged
     WHERE taken.is_ours AND judged.still_true
       AND coalesce(taken.repeatable_until, taken.useful_until) > :now),
counted AS (
    UPDATE session_reminder_emails r SET attempts = least(r.attempts + 1, {_MOST_ATTEMPTS})
      FROM posted WHERE r.batch_id = posted.id AND r.email_status = 'sending'),
paced AS (
    UPDATE provider_pace
       SET next_request_at = greatest(next_request_at, clock_timestamp()) + :gap
     WHERE EXISTS (SELECT FROM posted)
    RETURNING next_request_at - :gap - clock_timestamp() AS wait)
SELECT taken.*, judged.still_true, coalesce(paced.wait, interval '0') AS wait
  FROM taken CROSS JOIN judged LEFT JOIN paced ON true
""")  # noqa: S608 - composed of constants

_AGAIN = _sql(f"""
WITH judged AS ({_STILL_TRUE}),
paced AS (
    UPDATE provider_pace
       SET next_request_at = greatest(next_request_at, clock_timestamp() + :wait) + :gap
    RETURNING next_request_at - :gap - clock_timestamp() AS wait)
SELECT judged.still_true, paced.wait FROM judged, paced
""")  # noqa: S608 - composed of constants

_RENEW = _sql("""
UPDATE email_batches SET lease_until = clock_timestamp() + :lease
 WHERE id = :batch_id AND owner = :owner AND state = 'frozen'
""")

_PACE = _sql("""
UPDATE provider_pace
   SET next_request_at = greatest(next_request_at, clock_timestamp() + :wait) + :gap
RETURNING next_request_at - :gap - clock_timestamp() AS wait
""")

_RECORD_USAGE = _sql("""
INSERT INTO provider_usage (quota, used, quota_limit, resets_at, checked_at)
VALUES (:quota, :used, :quota_limit, :resets_at, :now)
ON CONFLICT (quota) DO UPDATE
   SET used = excluded.used, quota_limit = excluded.quota_limit, resets_at = excluded.resets_at,
       checked_at = excluded.checked_at
""")

# What is held for everybody is not forgotten for the sake of some.
_HOLD = _sql("""
UPDATE provider_pace
   SET held_until = clock_timestamp() + :lasts, held_because = :reason, held_sender = :sender
 WHERE :sender IS NULL OR held_sender IS NOT NULL
    OR held_until IS NULL OR held_until <= clock_timestamp()
""")

# What it is too late for is only ended, which needs no provider: in a hold, too, and of others.
_IN_DOUBT = _sql(f"""
SELECT b.id FROM email_batches b
 WHERE b.state = 'frozen' AND b.lease_until <= clock_timestamp()
   AND ({_ENDS_AT} <= :now OR {belongs_here("b")} AND NOT EXISTS (SELECT {_HOLD_FOR_US}))
 ORDER BY useful_until LIMIT :limit
""")  # noqa: S608 - composed of constants

_FROZEN = _sql("SELECT id FROM email_batches WHERE id = ANY(:ids) AND state = 'frozen'")

_STRANDED = _sql(f"""
SELECT b.id, cardinality(b.reminder_ids) AS reminders, b.delivery_mode, {_ENDS_AT} AS ends_at
  FROM email_batches b WHERE b.state = 'frozen' AND NOT {belongs_here("b")}
 ORDER BY useful_until LIMIT 100
""")  # noqa: S608 - composed of constants

# Locked first, and judged by what the lock shows: a freeze that commits while this waits makes the
# row one in doubt, which the snapshot of before does not have. A row that is here is not missing,
# whatever somebody concluded from a reading that did not find it.
_CLOSE = _sql("""
WITH seen AS (
    SELECT id, email_status FROM session_reminder_emails
     WHERE id = ANY(:ids) ORDER BY id FOR UPDATE),
closed AS (
    UPDATE session_reminder_emails r
       SET email_status = :status, status_reason = :reason, updated_at = now()
      FROM seen
     WHERE r.id = seen.id AND seen.email_status = 'scheduled' AND :reason <> 'not_found'
       AND (CAST(:plan_version AS bigint) IS NULL OR r.plan_version <= :plan_version)
    RETURNING r.id)
SELECT (SELECT count(*) FROM closed) AS closed,
       (SELECT count(*) FROM seen WHERE email_status = 'sending') AS in_doubt
""")


class PostgresDeliveryLedger:
    """`DeliveryLedger` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        owner: str,
        requests_per_second: float,
        shadow: bool = False,
        destination: Destination | None = None,
        sender: str | None = None,
    ) -> None:
        """Keep the ledger for one worker.

        Args:
            database: Migrated.
            clock: Stamps what is recorded.
            owner: Names this worker in leases; unique among live workers.
            requests_per_second: The pace that all workers together keep.
            shadow: Whether another system still sends, but for the sessions cut over.
            destination: Where this worker's e-mails go; absent means to the attendees.
            sender: Fingerprint of what this worker posts as; a hold for refused keys and senders
                is of those who have the same. Absent, it is everybody's.
        """
        self._database = database
        self._clock = clock
        self._owner = owner
        self._gap = timedelta(seconds=1 / requests_per_second)
        self._shadow = shadow
        self._here = here(destination or Destination())
        self._sender = sender

    async def read(self, reminder_ids: Sequence[UUID]) -> Reading:
        """See `DeliveryLedger.read`.

        A value that PostgreSQL stumbles over (a cast in an existing platform's view), or the driver
        (an instant beyond the calendar's), fails the statement for all: they are read in halves
        then, until it is alone.
        """
        try:
            return await self._read(reminder_ids)
        except (DBAPIError, OverflowError) as error:
            if not is_about_a_value(error):
                raise
            if len(reminder_ids) == 1:
                return Reading(facts=(), hold=None, unreadable={reminder_ids[0]: _cause(error)})
        half = len(reminder_ids) // 2
        one, other = [await self.read(ids) for ids in (reminder_ids[:half], reminder_ids[half:])]
        return Reading(
            facts=(*one.facts, *other.facts),
            hold=one.hold or other.hold,
            unreadable={**one.unreadable, **other.unreadable},
        )

    async def _read(self, reminder_ids: Sequence[UUID]) -> Reading:
        facts: list[DeliveryFacts] = []
        unreadable: dict[UUID, str] = {}
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                _READ,
                {"ids": list(reminder_ids), "shadow": self._shadow, "sender": self._sender},
            )
            rows = found.mappings().all()
        if (left := rows[0]["held_for"]) is not None:
            hold = Hold(
                until=self._clock.now() + left,
                reason=StatusReason(rows[0]["held_because"]),
                sender=rows[0]["held_sender"],
            )
            return Reading(facts=(), hold=hold)
        for row in rows:
            if row["id"] is None:
                continue
            try:
                facts.append(_facts(row))
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go out
                unreadable[row["id"]] = _cause(error)
        return Reading(facts=facts, hold=None, unreadable=unreadable)

    async def freeze(
        self,
        batch: FrozenBatch | None,
        closings: Sequence[Settlement],
        *,
        facts: Sequence[DeliveryFacts],
        run_ids: Mapping[UUID, str],
    ) -> timedelta | None:
        """See `DeliveryLedger.freeze`."""
        known = {f.reminder.id: f for f in facts}
        starts = {f.reminder.id: f.session.starts_at for f in facts if f.session}
        sending = batch.reminder_ids if batch else ()
        marks = [*closings, *(Settlement(reminder_id=i, status=SENDING) for i in sending)]
        parameters: dict[str, Any] = {
            **_columns(marks),
            "versions": [known[mark.reminder_id].row_version for mark in marks],
            "starts": [
                starts.get(mark.reminder_id) if mark.status is SENDING else None for mark in marks
            ],
            "run_ids": [run_ids[mark.reminder_id] for mark in marks],
            "batch_id": batch.id if batch else None,
            "now": batch.frozen_at if batch else self._clock.now(),
        }
        statement = _CLOSE_UNCHANGED
        if batch is not None:
            statement = _FREEZE
            parameters |= {
                "sending": list(batch.reminder_ids),
                "body": batch.body,
                "useful_until": batch.useful_until,
                "repeatable_until": batch.repeatable_until,
                **self._here,
                "owner": self._holder(batch.lease),
                "lease": LEASE,
                "gap": self._gap,
            }
        async with self._database.autocommit() as connection:
            wait = await connection.scalar(statement, parameters)
        return None if wait is None else max(wait, timedelta())

    async def move(self, facts: DeliveryFacts, due_at: datetime, starts_at: datetime) -> bool:
        """See `DeliveryLedger.move`."""
        moved = {
            "id": facts.reminder.id,
            "version": facts.row_version,
            "due_at": due_at,
            "starts_at": starts_at,
        }
        async with self._database.autocommit() as connection:
            done = await connection.execute(_MOVE, moved)
        return done.rowcount == 1

    async def settle(self, batch_id: UUID, settlements: Sequence[Settlement]) -> None:
        """See `DeliveryLedger.settle`."""
        async with self._database.autocommit() as connection:
            await connection.execute(
                _SETTLE,
                {
                    "batch_id": batch_id,
                    "now": self._clock.now(),
                    "email_ids": [s.resend_email_id for s in settlements],
                    "accepted": any(s.status.is_accepted for s in settlements),
                    "sender": self._sender,
                    **_columns(settlements),
                },
            )

    async def release(self, batch: FrozenBatch) -> None:
        """See `DeliveryLedger.release`."""
        released = {
            "batch_id": batch.id,
            "owner": self._holder(batch.lease),
            "now": self._clock.now(),
        }
        async with self._database.autocommit() as connection:
            await connection.execute(_RELEASE, released)

    async def resume(self, batch_id: UUID) -> tuple[FrozenBatch, timedelta] | None:
        """See `DeliveryLedger.resume`."""
        lease = uuid4()
        async with self._database.autocommit() as connection:
            taken = await connection.execute(
                _RESUME,
                {
                    "batch_id": batch_id,
                    "owner": self._holder(lease),
                    "lease": LEASE,
                    "gap": self._gap,
                    "now": self._clock.now(),
                    **self._here,
                },
            )
            row = taken.mappings().one_or_none()
        if row is None:
            return None
        batch = FrozenBatch(
            id=row["id"],
            reminder_ids=tuple(row["reminder_ids"]),
            body=row["body"],
            useful_until=row["useful_until"],
            frozen_at=row["frozen_at"],
            repeatable_until=row["repeatable_until"],
            unrepeatable=_unrepeatable(row),
            lease=lease,
        )
        return batch, max(row["wait"], timedelta())

    async def renew(self, batch: FrozenBatch) -> None:
        """See `DeliveryLedger.renew`."""
        await self._lease(batch, LEASE)

    async def yield_lease(self, batch: FrozenBatch, *, retry_in: timedelta) -> None:
        """See `DeliveryLedger.yield_lease`."""
        await self._lease(batch, retry_in)

    async def _lease(self, batch: FrozenBatch, lease: timedelta) -> None:
        owner = self._holder(batch.lease)
        async with self._database.autocommit() as connection:
            await connection.execute(_RENEW, {"batch_id": batch.id, "owner": owner, "lease": lease})

    def _holder(self, lease: UUID) -> str:
        """This worker, and which time: it may itself take over what it has lost."""
        return f"{self._owner}:{lease.hex}"

    async def pace(self, *, at_least: timedelta) -> timedelta:
        """See `DeliveryLedger.pace`."""
        async with self._database.autocommit() as connection:
            wait = await connection.scalar(_PACE, {"wait": at_least, "gap": self._gap})
        return max(wait or timedelta(), timedelta())

    async def again(
        self, batch: FrozenBatch, *, at_least: timedelta
    ) -> tuple[FrozenBatch, timedelta]:
        """See `DeliveryLedger.again`."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                _AGAIN, {"batch_id": batch.id, "wait": at_least, "gap": self._gap}
            )
            row = found.mappings().one()
        if not row["still_true"]:
            batch = replace(batch, unrepeatable=_NOT_TRUE)
        return batch, max(row["wait"], timedelta())

    async def stranded(self) -> Sequence[Stranded]:
        """See `DeliveryLedger.stranded`."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(_STRANDED, self._here)
            return tuple(
                Stranded(
                    batch_id=row.id,
                    reminders=row.reminders,
                    mode=row.delivery_mode,
                    ends_at=row.ends_at,
                )
                for row in found
            )

    async def record_usage(self, usage: Usage) -> None:
        """See `DeliveryLedger.record_usage`."""
        now = self._clock.now()
        async with self._database.autocommit() as connection:
            for name, quota in (("daily", usage.daily), ("monthly", usage.monthly)):
                await connection.execute(
                    _RECORD_USAGE,
                    {
                        "quota": name,
                        "used": quota.used,
                        "quota_limit": quota.limit,
                        "resets_at": quota.resets_at,
                        "now": now,
                    },
                )

    async def hold(self, reason: StatusReason, *, lasts: timedelta) -> None:
        """See `DeliveryLedger.hold`."""
        sender = self._sender if reason is StatusReason.MISCONFIGURED else None
        async with self._database.autocommit() as connection:
            await connection.execute(_HOLD, {"lasts": lasts, "reason": reason, "sender": sender})

    async def in_doubt(self, *, limit: int) -> Sequence[UUID]:
        """See `DeliveryLedger.in_doubt`."""
        async with self._database.autocommit() as connection:
            asked = {"limit": limit, "now": self._clock.now(), "sender": self._sender}
            found = await connection.scalars(_IN_DOUBT, {**asked, **self._here})
            return tuple(found)

    async def frozen(self, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
        """See `DeliveryLedger.frozen`."""
        async with self._database.autocommit() as connection:
            return tuple(await connection.scalars(_FROZEN, {"ids": list(batch_ids)}))

    async def close(
        self,
        reminder_ids: Sequence[UUID],
        status: ReminderStatus,
        reason: StatusReason,
        *,
        plan_version: int | None = None,
    ) -> CloseRemindersResult:
        """See `DeliveryLedger.close`."""
        async with self._database.autocommit() as connection:
            done = await connection.execute(
                _CLOSE,
                {
                    "ids": list(reminder_ids),
                    "status": status,
                    "reason": reason,
                    "plan_version": plan_version,
                },
            )
            row = done.mappings().one()
        return CloseRemindersResult(closed=row["closed"], in_doubt=row["in_doubt"])


def _unrepeatable(row: mapping.Record) -> str | None:
    """Why a batch that was taken over must not be posted; `None` if it may."""
    if not row["is_ours"]:
        return "frozen under another delivery mode, test address or installation"
    return None if row["still_true"] else _NOT_TRUE


def _cause(error: Exception) -> str:
    """The class of an error, or of what a library wraps in it."""
    return type(getattr(error, "orig", None) or error).__name__


def _facts(row: mapping.Record) -> DeliveryFacts:
    status, stopped = row["enrollment_status"], row["stopped"]
    told_start = row["told_start"]
    return DeliveryFacts(
        reminder=mapping.reminder(row),
        session=mapping.session(mapping.prefixed(row, "s_")) if row["s_id"] else None,
        attendee=mapping.attendee(mapping.prefixed(row, "u_")) if row["u_id"] else None,
        enrollment_status=EnrollmentStatus(status) if status else None,
        rule=mapping.rule(mapping.prefixed(row, "c_")) if row["c_reminder_type"] else None,
        next_due_at=row["next_due_at"],
        stopped=STOPPING[stopped] if stopped else None,
        moved_from=told_start if told_start != row["s_start_time"] else None,
        turn=Turn(row["turn"]),
        row_version=row["row_version"],
    )


def _columns(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    """The settlements column by column, as `unnest` takes them."""
    return {
        "ids": [s.reminder_id for s in settlements],
        "statuses": [s.status.value for s in settlements],
        "reasons": [s.reason.value if s.reason else None for s in settlements],
        "errors": [s.error for s in settlements],
    }
