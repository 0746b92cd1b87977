"""The ledger as the delivery pipeline needs it: `reminders.ports.DeliveryLedger` on PostgreSQL.

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
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.types import TypeEngine

from reminders.contracts import CloseRemindersResult
from reminders.db import records
from reminders.db.engine import Database
from reminders.db.preferences import STOPPING
from reminders.db.rules import counts_for
from reminders.model import DeliveryFacts, EnrollmentStatus, ReminderStatus, StatusReason, Turn
from reminders.ports import Clock, FrozenBatch, Hold, Reading, Settlement, Usage

SENDING = ReminderStatus.SENDING
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
    "until": DateTime(timezone=True),
    "useful_until": DateTime(timezone=True),
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


_HOLD_FOR_US = """
FROM provider_pace
 WHERE held_until > clock_timestamp() AND (held_sender IS NULL OR held_sender = :sender)
"""
"""The hold that concerns this worker: everybody's, or that of its own key and sender."""

_READ = _sql(f"""
SELECT r.*, r.xmin::text AS row_version,
       s.id AS s_id, s.title AS s_title, s.start_time AS s_start_time, s.end_time AS s_end_time,
       s.time_zone AS s_time_zone, s.speaker_name AS s_speaker_name, s.location AS s_location,
       s.join_url AS s_join_url, s.preparation_notes AS s_preparation_notes, s.status AS s_status,
       u.id AS u_id, u.email AS u_email, u.full_name AS u_full_name, u.time_zone AS u_time_zone,
       u.locale AS u_locale,
       e.status AS enrollment_status,
       c.reminder_type AS c_reminder_type, c.minutes_before AS c_minutes_before,
       c.is_enabled AS c_is_enabled, c.email_subject_template AS c_email_subject_template,
       c.display_name AS c_display_name, c.sort_order AS c_sort_order,
       (SELECT min(later.due_at) FROM session_reminder_emails later
         WHERE later.session_id = r.session_id AND later.user_id = r.user_id
           AND later.email_status = 'scheduled' AND later.requested_at IS NULL
           AND later.due_at > r.due_at) AS next_due_at,
       (SELECT told.starts_at FROM session_reminder_emails told
         WHERE told.session_id = r.session_id AND told.user_id = r.user_id
           AND told.sent_at IS NOT NULL
         ORDER BY told.sent_at DESC LIMIT 1) AS told_start,
       -- Of several reasons the last by name: what the person asked for comes before all else.
       (SELECT max(p.reason) FROM reminder_preferences p
         WHERE p.user_id = r.user_id
           AND (p.session_id IS NULL OR p.session_id = r.session_id)
           AND (p.reminder_type IS NULL OR p.reminder_type = r.reminder_type)) AS stopped,
       CASE WHEN NOT :shadow THEN 'ours' ELSE coalesce(
       (SELECT CASE WHEN o.taken_over_at IS NULL THEN 'between' ELSE 'ours' END
          FROM session_cutovers o WHERE o.session_id = r.session_id OR o.session_id IS NULL
         ORDER BY o.taken_over_at LIMIT 1), 'theirs') END AS turn
  FROM session_reminder_emails r
  LEFT JOIN sessions s ON s.id = r.session_id
  LEFT JOIN users u ON u.id = r.user_id
  LEFT JOIN enrollments e ON e.session_id = r.session_id AND e.user_id = r.user_id
  LEFT JOIN reminder_configurations c
         ON c.reminder_type = r.reminder_type AND {counts_for("c", "r.session_id")}
 WHERE r.id = ANY(:ids)
   AND NOT EXISTS (SELECT {_HOLD_FOR_US})
""")  # noqa: S608 - composed of constants

_HELD = _sql(f"SELECT held_until, held_because, held_sender {_HOLD_FOR_US}")

_UNCHANGED = """
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
           attempts = r.attempts + CASE WHEN d.status = 'sending' THEN 1 ELSE 0 END,
           starts_at = coalesce(d.starts_at, r.starts_at),  -- the one that the e-mail tells
           shadowed_at = CASE WHEN d.reason = 'shadowed' THEN :now ELSE r.shadowed_at END,
           run_id = d.run_id, updated_at = now()
      FROM input d, unchanged
     WHERE r.id = d.id)
"""

_CLOSE_UNCHANGED = _sql(f"""
WITH {_UNCHANGED}
SELECT interval '0' AS wait FROM unchanged
""")  # noqa: S608 - composed of constants

_FREEZE = _sql(f"""
WITH {_UNCHANGED},
frozen AS (
    INSERT INTO email_batches
           (id, reminder_ids, body, useful_until, frozen_at, owner, lease_until)
    SELECT :batch_id, :sending, :body, :useful_until, :now, :owner, clock_timestamp() + :lease
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

_SETTLE = _sql("""
WITH proven AS (  -- who accepts our e-mails does not refuse us
    UPDATE provider_pace SET held_until = NULL
     WHERE :accepted AND held_until > clock_timestamp()
       AND (held_sender IS NULL OR held_sender = :sender)),
settled AS (
    UPDATE email_batches SET state = 'settled', body = NULL, settled_at = :now
     WHERE id = :batch_id AND state = 'frozen')
UPDATE session_reminder_emails r
   SET email_status = CASE WHEN r.email_status = 'sending' THEN d.status ELSE r.email_status END,
       status_reason = CASE WHEN r.email_status = 'sending' THEN d.reason ELSE r.status_reason END,
       resend_email_id = coalesce(r.resend_email_id, d.email_id),
       sent_at = CASE WHEN d.email_id IS NULL THEN r.sent_at ELSE coalesce(r.sent_at, :now) END,
       last_error = CASE WHEN r.email_status = 'sending' THEN d.error ELSE r.last_error END,
       updated_at = now()
  FROM unnest(:ids, :statuses, :reasons, :email_ids, :errors)
       AS d (id, status, reason, email_id, error)
 WHERE r.id = d.id AND r.batch_id = :batch_id
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

_RESUME = _sql("""
WITH taken AS (
    UPDATE email_batches SET owner = :owner, lease_until = clock_timestamp() + :lease
     WHERE id = :batch_id AND state = 'frozen' AND lease_until <= clock_timestamp()
    RETURNING id, reminder_ids, body, useful_until, frozen_at),
counted AS (
    UPDATE session_reminder_emails r SET attempts = r.attempts + 1
      FROM taken WHERE r.batch_id = taken.id AND r.email_status = 'sending'),
paced AS (
    UPDATE provider_pace
       SET next_request_at = greatest(next_request_at, clock_timestamp()) + :gap
     WHERE EXISTS (SELECT FROM taken)
    RETURNING next_request_at - :gap - clock_timestamp() AS wait)
SELECT taken.*, paced.wait FROM taken CROSS JOIN paced
""")

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
UPDATE provider_pace SET held_until = :until, held_because = :reason, held_sender = :sender
 WHERE :sender IS NULL OR held_sender IS NOT NULL
    OR held_until IS NULL OR held_until <= clock_timestamp()
""")

_IN_DOUBT = _sql(f"""
SELECT id FROM email_batches
 WHERE state = 'frozen' AND lease_until <= clock_timestamp()
   AND NOT EXISTS (SELECT {_HOLD_FOR_US})
 ORDER BY useful_until LIMIT :limit
""")  # noqa: S608 - composed of constants

_FROZEN = _sql("SELECT id FROM email_batches WHERE id = ANY(:ids) AND state = 'frozen'")

_CLOSE = _sql("""
WITH closed AS (
    UPDATE session_reminder_emails
       SET email_status = :status, status_reason = :reason, updated_at = now()
     WHERE id = ANY(:ids) AND email_status = 'scheduled' RETURNING id)
SELECT (SELECT count(*) FROM closed) AS closed,
       (SELECT count(*) FROM session_reminder_emails
         WHERE id = ANY(:ids) AND email_status = 'sending') AS in_doubt
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
        sender: str | None = None,
    ) -> None:
        """Keep the ledger for one worker.

        Args:
            database: Migrated.
            clock: Stamps what is recorded.
            owner: Names this worker in leases; unique among live workers.
            requests_per_second: The pace that all workers together keep.
            shadow: Whether another system still sends, but for the sessions cut over.
            sender: Fingerprint of what this worker posts as; a hold for refused keys and senders
                is of those who have the same. Absent, it is everybody's.
        """
        self._database = database
        self._clock = clock
        self._owner = owner
        self._gap = timedelta(seconds=1 / requests_per_second)
        self._shadow = shadow
        self._sender = sender

    async def read(self, reminder_ids: Sequence[UUID]) -> Reading:
        """See `DeliveryLedger.read`."""
        async with self._database.autocommit() as connection:
            found = await connection.execute(
                _READ,
                {"ids": list(reminder_ids), "shadow": self._shadow, "sender": self._sender},
            )
            facts = tuple(_facts(row) for row in found.mappings())
            hold = None if facts else await _held(connection, self._sender)
            return Reading(facts=facts, hold=hold)

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

    async def hold(self, hold: Hold) -> None:
        """See `DeliveryLedger.hold`."""
        for_some = hold.reason is StatusReason.MISCONFIGURED
        held = {
            "until": hold.until,
            "reason": hold.reason,
            "sender": self._sender if for_some else None,
        }
        async with self._database.autocommit() as connection:
            await connection.execute(_HOLD, held)

    async def in_doubt(self, *, limit: int) -> Sequence[UUID]:
        """See `DeliveryLedger.in_doubt`."""
        async with self._database.autocommit() as connection:
            found = await connection.scalars(_IN_DOUBT, {"limit": limit, "sender": self._sender})
            return tuple(found)

    async def frozen(self, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
        """See `DeliveryLedger.frozen`."""
        async with self._database.autocommit() as connection:
            return tuple(await connection.scalars(_FROZEN, {"ids": list(batch_ids)}))

    async def close(
        self, reminder_ids: Sequence[UUID], status: ReminderStatus, reason: StatusReason
    ) -> CloseRemindersResult:
        """See `DeliveryLedger.close`."""
        async with self._database.autocommit() as connection:
            done = await connection.execute(
                _CLOSE, {"ids": list(reminder_ids), "status": status, "reason": reason}
            )
            row = done.mappings().one()
        return CloseRemindersResult(closed=row["closed"], in_doubt=row["in_doubt"])


async def _held(connection: AsyncConnection, sender: str | None) -> Hold | None:
    found = (await connection.execute(_HELD, {"sender": sender})).mappings().one_or_none()
    if found is None:
        return None
    return Hold(
        until=found["held_until"],
        reason=StatusReason(found["held_because"]),
        sender=found["held_sender"],
    )


def _facts(row: records.Record) -> DeliveryFacts:
    status, stopped = row["enrollment_status"], row["stopped"]
    told_start = row["told_start"]
    return DeliveryFacts(
        reminder=records.reminder(row),
        session=records.session(records.prefixed(row, "s_")) if row["s_id"] else None,
        attendee=records.attendee(records.prefixed(row, "u_")) if row["u_id"] else None,
        enrollment_status=EnrollmentStatus(status) if status else None,
        rule=records.rule(records.prefixed(row, "c_")) if row["c_reminder_type"] else None,
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
