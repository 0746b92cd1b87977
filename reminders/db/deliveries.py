"""The ledger as the delivery pipeline needs it: `reminders.domain.ports.DeliveryLedger` on PostgreSQL.

Its statements are in `reminders.db.delivery_statements`.

Two clocks, on purpose: what concerns reminders is judged by the caller's clock, what concerns
workers among themselves (leases, pace, holds) by the database's, which they share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.exc import DBAPIError

from reminders.db import delivery_statements as statements
from reminders.db import mapping
from reminders.db.absence import Absence
from reminders.db.engine import Database
from reminders.db.failures import is_about_a_value
from reminders.db.installation import here
from reminders.db.preferences import STOPPING
from reminders.domain.contracts import CloseRemindersResult
from reminders.domain.decide import moved_from
from reminders.domain.lead_in import CROWD, learned
from reminders.domain.model import (
    NOTICES,
    DeliveryFacts,
    EnrollmentStatus,
    Notice,
    ReminderStatus,
    StatusReason,
    Turn,
)
from reminders.domain.notices import is_taken_back
from reminders.domain.pace import Pace, Usage
from reminders.domain.ports import (
    Clock,
    Destination,
    FrozenBatch,
    Hold,
    Reading,
    Settlement,
    Stranded,
    Waiting,
)

SENDING = ReminderStatus.SENDING
_NOT_TRUE = "what it says is not true any more, and it may have been accepted"
LEASE = timedelta(seconds=5)
"""How long a silent owner keeps a batch; a live one renews it."""
BELIEVED = timedelta(seconds=10)
"""How long a reading counts: who stood still since then may not know what the platform has changed."""


class PostgresDeliveryLedger:
    """`DeliveryLedger` on PostgreSQL."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        owner: str,
        pace: Pace,
        shadow: bool = False,
        destination: Destination | None = None,
        sender: str | None = None,
        resend_threshold: timedelta = timedelta(hours=1),
    ) -> None:
        """Keep the ledger for one worker.

        Args:
            database: Migrated.
            clock: Stamps what is recorded.
            owner: Names this worker in leases; unique among live workers.
            pace: That all workers together keep, as it is at each request.
            shadow: Whether another system still sends, but for the sessions cut over.
            destination: Where this worker's e-mails go; absent means to the attendees.
            sender: Fingerprint of what this worker posts as; a hold for refused keys and senders
                is of those who have the same. Absent, it is everybody's.
            resend_threshold: How far a session must move for a second e-mail of the same kind.
        """
        self._database = database
        self._clock = clock
        self._owner = owner
        self._kept = pace
        self._shadow = shadow
        self._here = here(destination or Destination())
        self._sender = sender
        self._resend_threshold = resend_threshold
        self._absence = Absence(database)

    @property
    def _pace(self) -> dict[str, Any]:
        return {"requests": self._kept.requests, "window": self._kept.window}

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
        rows = await self._database.rows(
            statements.READ,
            {
                "ids": list(reminder_ids),
                "shadow": self._shadow,
                "sender": self._sender,
                "threshold": self._resend_threshold,
            },
        )
        if (left := rows[0]["held_for"]) is not None:
            hold = Hold(
                until=self._clock.now() + left,
                reason=StatusReason(rows[0]["held_because"]),
                sender=rows[0]["held_sender"],
            )
            return Reading(facts=(), hold=hold)
        now = self._clock.now()
        for row in mapping.best_deliveries(rows):
            if row["id"] is None:
                continue
            if _lacks_something(row) and await self._absence.incredible() is not None:
                unreadable[row["id"]] = "the platform shows hardly anything of what is awaited"
                continue
            try:
                facts.append(_facts(row, now))
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
            "read_at": min((f.read_at for f in facts if f.read_at), default=None),
            "believed": BELIEVED,
            "starts": [
                starts.get(mark.reminder_id) if mark.status is SENDING else None for mark in marks
            ],
            "run_ids": [run_ids[mark.reminder_id] for mark in marks],
            "batch_id": batch.id if batch else None,
            "now": batch.frozen_at if batch else self._clock.now(),
        }
        statement = statements.CLOSE_UNCHANGED
        if batch is not None:
            statement = statements.FREEZE
            parameters |= {
                "sending": list(batch.reminder_ids),
                "body": batch.body,
                "useful_until": batch.useful_until,
                "repeatable_until": batch.repeatable_until,
                **self._here,
                "owner": self._holder(batch.lease),
                "lease": LEASE,
                "wait": timedelta(),
                **self._pace,
            }
        wait = await self._database.scalar(statement, parameters)
        return None if wait is None else max(wait, timedelta())

    async def move(self, facts: DeliveryFacts, due_at: datetime) -> bool:
        """See `DeliveryLedger.move`."""
        moved = {"id": facts.reminder.id, "version": facts.row_version, "due_at": due_at}
        return await self._database.execute(statements.MOVE, moved) == 1

    async def settle(self, batch_id: UUID, settlements: Sequence[Settlement]) -> None:
        """See `DeliveryLedger.settle`."""
        await self._database.execute(
            statements.SETTLE,
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
        await self._database.execute(statements.RELEASE, released)

    async def resume(self, batch_id: UUID) -> tuple[FrozenBatch, timedelta] | None:
        """See `DeliveryLedger.resume`."""
        lease = uuid4()
        row = await self._database.row(
            statements.RESUME,
            {
                "batch_id": batch_id,
                "owner": self._holder(lease),
                "lease": LEASE,
                "wait": timedelta(),
                **self._pace,
                "now": self._clock.now(),
                **self._here,
            },
        )
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
        await self._database.execute(
            statements.RENEW, {"batch_id": batch.id, "owner": owner, "lease": lease}
        )

    def _holder(self, lease: UUID) -> str:
        """This worker, and which time: it may itself take over what it has lost."""
        return f"{self._owner}:{lease.hex}"

    async def pace(self, *, at_least: timedelta) -> timedelta:
        """See `DeliveryLedger.pace`."""
        wait = await self._database.scalar(statements.PACE, {"wait": at_least, **self._pace})
        return max(wait or timedelta(), timedelta())

    async def overtaken(self, waiting: Collection[Waiting]) -> Collection[Waiting]:
        """See `DeliveryLedger.overtaken`."""
        asked = {"ids": [i for i, _ in waiting], "due": [due_at for _, due_at in waiting]}
        return {
            (row[0], row[1]) for row in await self._database.tuples(statements.OVERTAKEN, asked)
        }

    async def woke(self, due_at: datetime, *, took: timedelta, were_late: bool) -> timedelta:
        """See `DeliveryLedger.woke`."""
        asked = {"due_at": due_at, "types": list(NOTICES)}
        apart: timedelta
        [[apart, woken]] = await self._database.tuples(statements.WOKEN, asked)
        if woken >= CROWD:
            apart = learned(apart, woken=woken, took=took, were_late=were_late)
            await self._database.execute(statements.WAKE, {"apart": apart})
        return apart

    async def again(
        self, batch: FrozenBatch, *, at_least: timedelta
    ) -> tuple[FrozenBatch, timedelta]:
        """See `DeliveryLedger.again`."""
        [[still_true, wait]] = await self._database.tuples(
            statements.AGAIN, {"batch_id": batch.id, "wait": at_least, **self._pace}
        )
        if not still_true:
            batch = replace(batch, unrepeatable=_NOT_TRUE)
        return batch, max(wait, timedelta())

    async def recheck(self, batch: FrozenBatch) -> FrozenBatch:
        """See `DeliveryLedger.recheck`."""
        is_true = await self._database.scalar(statements.TRUE, {"batch_id": batch.id})
        return batch if is_true else replace(batch, unrepeatable=_NOT_TRUE)

    async def stranded(self) -> Sequence[Stranded]:
        """See `DeliveryLedger.stranded`."""
        return tuple(
            Stranded(
                batch_id=row.id,
                reminders=row.reminders,
                mode=row.delivery_mode,
                ends_at=row.ends_at,
            )
            for row in await self._database.tuples(statements.STRANDED, self._here)
        )

    async def record_usage(self, usage: Usage) -> None:
        """See `DeliveryLedger.record_usage`."""
        now = self._clock.now()
        async with self._database.autocommit() as connection:
            for name, quota in (("daily", usage.daily), ("monthly", usage.monthly)):
                await connection.execute(
                    statements.RECORD_USAGE,
                    {
                        "quota": name,
                        "used": quota.used,
                        "quota_limit": quota.limit,
                        "resets_at": quota.resets_at,
                        "now": now,
                    },
                )

    async def hold(
        self, reason: StatusReason, *, lasts: timedelta, detail: str | None = None
    ) -> None:
        """See `DeliveryLedger.hold`."""
        sender = self._sender if reason is StatusReason.MISCONFIGURED else None
        await self._database.execute(
            statements.HOLD, {"lasts": lasts, "reason": reason, "sender": sender, "detail": detail}
        )

    async def in_doubt(self, *, limit: int) -> Sequence[UUID]:
        """See `DeliveryLedger.in_doubt`."""
        asked = {"limit": limit, "now": self._clock.now(), "sender": self._sender, **self._here}
        return tuple(row.id for row in await self._database.tuples(statements.IN_DOUBT, asked))

    async def frozen(self, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
        """See `DeliveryLedger.frozen`."""
        asked = {"ids": list(batch_ids)}
        return tuple(row.id for row in await self._database.tuples(statements.FROZEN, asked))

    async def close(
        self,
        reminder_ids: Sequence[UUID],
        status: ReminderStatus,
        reason: StatusReason,
        *,
        plan_version: int | None = None,
    ) -> CloseRemindersResult:
        """See `DeliveryLedger.close`."""
        [[closed, in_doubt]] = await self._database.tuples(
            statements.CLOSE,
            {
                "ids": list(reminder_ids),
                "status": status,
                "reason": reason,
                "plan_version": plan_version,
            },
        )
        return CloseRemindersResult(closed=closed, in_doubt=in_doubt)


def _unrepeatable(row: mapping.Record) -> str | None:
    """Why a batch that was taken over must not be posted; `None` if it may."""
    if not row["is_ours"]:
        return "frozen under another delivery mode, test address or installation"
    return None if row["still_true"] else _NOT_TRUE


def _cause(error: Exception) -> str:
    """The class of an error, or of what a library wraps in it."""
    return type(getattr(error, "orig", None) or error).__name__


def _lacks_something(row: mapping.Record) -> bool:
    """Whether session, person or enrollment are not there."""
    return any(row[name] is None for name in ("s_id", "u_id", "enrollment_status"))


def _facts(row: mapping.Record, now: datetime) -> DeliveryFacts:
    status, stopped = row["enrollment_status"], row["stopped"]
    reminder = mapping.reminder(row)
    known = reminder.moved_from or row["untold_start"] or row["told_start"]
    session = mapping.session(row, "s_") if row["s_id"] else None
    # Sent once more for the start that it moved from: it was the news that it takes place after all.
    is_repeated = (
        reminder.notice is Notice.MOVED
        and reminder.requested_at is not None
        and session is not None
        and is_taken_back(reminder, session.starts_at)
    )
    return DeliveryFacts(
        reminder=reminder,
        session=session,
        attendee=mapping.attendee(row, "u_") if row["u_id"] else None,
        enrollment_status=EnrollmentStatus(status) if status else None,
        rule=mapping.rule(row, "c_") if row["c_reminder_type"] else None,
        next_due_at=row["next_due_at"],
        stopped=STOPPING[stopped] if stopped else None,
        own_join_url=row["own_join_url"],
        moved_from=moved_from(known, row["s_start_time"], now=now),
        told_already=row["told_already"],
        was_called_off=row["was_called_off"] or is_repeated,
        is_quiet=bool(row["is_quiet"]),
        was_told=row["was_told"],
        turn=Turn(row["turn"]),
        row_version=row["row_version"],
        read_at=row["read_at"],
        installation=row["installation"],
    )


def _columns(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    """The settlements column by column, as `unnest` takes them."""
    return {
        "ids": [s.reminder_id for s in settlements],
        "statuses": [s.status.value for s in settlements],
        "reasons": [s.reason.value if s.reason else None for s in settlements],
        "errors": [s.error for s in settlements],
    }
