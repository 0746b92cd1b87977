"""Brings a ledger that was restored from a backup up to what has happened since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from reminders.db import preferences
from reminders.db.audit import Action, By, record
from reminders.db.engine import Database
from reminders.db.notices import hush
from reminders.db.platform import platform_of
from reminders.db.sql import counting_session, typed
from reminders.domain.keys import reminder_id, session_reminder_workflow_id
from reminders.domain.model import OptOut, ReminderStatus, StatusReason
from reminders.domain.ports import Clock, Enrollment

VERSIONS_AHEAD = 1_000_000_000
"""How far plan versions go ahead: beyond any that a lost ledger can have given out."""

_LAST_WRITE = text("""
SELECT greatest((SELECT max(updated_at) FROM session_reminder_emails),
                (SELECT max(updated_at) FROM sessions))
""")

_WAITING = text("""
SELECT DISTINCT session_id, user_id FROM session_reminder_emails
 WHERE email_status IN ('scheduled', 'sending')
""")

# What was sent was sent for the start of the moment: it may have been moved since the backup.
_MARK = typed("""
UPDATE session_reminder_emails
   SET email_status = :status, status_reason = :reason, sent_at = :sent_at, batch_id = NULL,
       starts_at = :starts_at, last_error = :error, updated_at = now()
 WHERE id = :id AND email_status IN ('scheduled', 'sending')
""")

_ADD = typed("""
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, generation, due_at, starts_at, sent_at,
        email_status, status_reason, last_error, workflow_id, plan_version)
SELECT :id, :session_id, :user_id, :reminder_type, :generation, :due_at, :starts_at, :sent_at,
       :status, :reason, :error, :workflow_id, nextval('plan_versions')
 WHERE EXISTS (SELECT FROM sessions WHERE id = :session_id)
   AND EXISTS (SELECT FROM users WHERE id = :user_id)
ON CONFLICT DO NOTHING
""")

_IS_ENROLLED = typed("""
SELECT EXISTS (SELECT FROM enrollments
                WHERE session_id = :session_id AND user_id = :user_id AND status <> 'cancelled'
                  AND (updated_at IS NULL OR updated_at < :at))
""")

_IS_HELD = typed("""
SELECT EXISTS (SELECT FROM sessions
                WHERE id = :session_id AND status <> 'cancelled'
                  AND (updated_at IS NULL OR updated_at < :at))
""")

_IS_SO = typed(f"""
SELECT CASE WHEN CAST(:starts_at AS timestamptz) IS NULL THEN s.status = 'cancelled'
       ELSE s.status <> 'cancelled' AND s.start_time = :starts_at END
  FROM {counting_session(":session_id")} s
""")  # noqa: S608 - composed of constants

_MOVE = typed("""
UPDATE sessions
   SET start_time = :starts_at, end_time = end_time + (:starts_at - start_time), updated_at = now()
 WHERE id = :session_id AND start_time <> :starts_at AND updated_at < :at AND :at > :since
""")

# Posting the body of a restored batch could be a second e-mail: its reminders may have been
# released since, and sent with another batch.
_END_BATCHES = typed("""
UPDATE email_batches SET state = 'settled', body = NULL, settled_at = :now WHERE state = 'frozen'
""")

_SEQUENCES_AHEAD = text("UPDATE calendar_revisions SET sequence = sequence + 1000")
"""Calendar programs pass over what is numbered lower than what they have."""
_GO_AHEAD = text("SELECT setval('plan_versions', nextval('plan_versions') + :ahead)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A reminder, as the histories have it."""

    session_id: UUID
    user_id: UUID
    reminder_type: str
    generation: int
    due_at: datetime
    starts_at: datetime
    """The session's start that it was last planned for, or asked for."""
    status: ReminderStatus | None = None
    """How it ended; absent as long as no history says so."""
    reason: StatusReason | None = None
    sent_at: datetime | None = None

    @property
    def id(self) -> UUID:
        """Of its row."""
        return reminder_id(self.session_id, self.user_id, self.reminder_type, self.generation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """When a session starts, as a workflow was told."""

    starts_at: datetime
    told_at: datetime


@dataclass(kw_only=True, slots=True)
class Since:
    """What has happened since the backup."""

    ended: list[Found] = field(default_factory=list)
    """How reminders have ended that the ledger has as pending."""
    added: list[Found] = field(default_factory=list)
    """The same of those that it does not have: of later generations."""
    left: dict[Enrollment, datetime] = field(default_factory=dict)
    """Who was unenrolled, and when."""
    stopped: list[tuple[UUID, OptOut, StatusReason]] = field(default_factory=list)
    """Who was not to get what any more, and why."""
    called_off: dict[UUID, datetime] = field(default_factory=dict)
    """Sessions that were cancelled or deleted, and when."""
    moved: dict[UUID, Moved] = field(default_factory=dict)
    """Every session of which a workflow was told when it starts."""
    quiet: dict[UUID, datetime | None] = field(default_factory=dict)
    """Sessions of whose move to a start, or cancel (`None`), nobody was to be told."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caught:
    """What of it the ledger did not know; counts."""

    added: int = 0
    unenrolled: int = 0
    sessions_cancelled: int = 0
    sessions_moved: int = 0


@dataclass(frozen=True, slots=True)
class RestoredLedger:
    """A ledger that was restored, while no worker runs."""

    database: Database
    clock: Clock

    async def last_write(self) -> datetime | None:
        """When the ledger was last written, as far as it says so: not after the backup."""
        async with self.database.patient() as patient:
            at: datetime | None = await patient.scalar(_LAST_WRITE)
        return at

    async def waiting(self) -> frozenset[Enrollment]:
        """Enrollments of which something waited or was in flight at the backup."""
        return frozenset(Enrollment(*row) for row in await self.database.tuples(_WAITING))

    async def catch_up(
        self,
        since: Since,
        *,
        last_write: datetime | None,
        by: By,
        details: Mapping[str, Any],
        dry_run: bool = False,
    ) -> Caught:
        """Write down what has happened since the backup, all of it or nothing; safe to repeat.

        Whatever is newer in the ledger is left alone. What was frozen is ended, and new plans
        overrule those of workflows.

        Args:
            since: What has happened.
            last_write: Of the ledger as it was restored: sessions are moved only to what was
                announced later.
            by: Who, and why, for the audit log.
            details: For the audit log.
            dry_run: Do it all, count, and take it back.

        Raises:
            DatabaseUnavailableError: If PostgreSQL is away; nothing was written.
        """
        async with self.database.patient() as patient, patient.transaction() as connection:
            caught = await self._write(connection, since, last_write)
            if not dry_run:
                await connection.execute(_SEQUENCES_AHEAD)
            await connection.execute(_END_BATCHES, {"now": self.clock.now()})
            await record(connection, by.did(Action.LEDGER_RESTORED, details=dict(details)))
            if dry_run:
                await connection.rollback()
            else:  # a sequence is not rolled back
                await connection.execute(_GO_AHEAD, {"ahead": VERSIONS_AHEAD})
        return caught

    async def _write(
        self, connection: AsyncConnection, since: Since, last_write: datetime | None
    ) -> Caught:
        # Judged before anything is written, which makes a session newer than what was told of it.
        cancelled = [
            session_id
            for session_id, at in since.called_off.items()
            if await connection.scalar(_IS_HELD, {"session_id": session_id, "at": at})
        ]
        moved = 0
        if self.database.host_schema is None:
            for session_id, told in since.moved.items():
                done = await connection.execute(
                    _MOVE,
                    {
                        "session_id": session_id,
                        "starts_at": told.starts_at,
                        "at": told.told_at,
                        "since": last_write,
                    },
                )
                moved += done.rowcount
        for session_id in cancelled:
            await platform_of(self.database).call_off(connection, session_id)
        for session_id, starts_at in since.quiet.items():
            state = {"session_id": session_id, "starts_at": starts_at}
            if await connection.scalar(_IS_SO, state):
                await hush(connection, session_id, tell_nobody=True)
        unenrolled = [await self._end(connection, *left) for left in since.left.items()]
        for user_id, scope, why in since.stopped:
            await preferences.withhold(connection, user_id, [scope], why)
        if since.ended:
            await connection.execute(_MARK, [_values(f) for f in since.ended])
        added = [(await connection.execute(_ADD, _values(f))).rowcount for f in since.added]
        return Caught(
            added=sum(added),
            unenrolled=sum(unenrolled),
            sessions_cancelled=len(cancelled),
            sessions_moved=moved,
        )

    async def _end(self, connection: AsyncConnection, who: Enrollment, at: datetime) -> bool:
        key = {"session_id": who.session_id, "user_id": who.user_id}
        if not await connection.scalar(_IS_ENROLLED, {**key, "at": at}):
            return False
        await platform_of(self.database).end(connection, who.session_id, who.user_id)
        return True


def _values(found: Found) -> dict[str, Any]:
    is_lost = found.reason is StatusReason.OUTCOME_UNKNOWN
    return {
        **asdict(found),
        "id": found.id,
        "error": "asked for before the ledger was restored; the answer is lost"
        if is_lost
        else None,
        "workflow_id": session_reminder_workflow_id(found.session_id, found.user_id),
    }
