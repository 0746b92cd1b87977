"""After the ledger was restored from a backup: what has happened since, as Temporal knows it.

Rows of a restored ledger look unsent although their e-mails are out, and people look enrolled who
have left. The histories of their workflows say what became of each: it is brought into the ledger
before any worker starts. What was asked for, was due and never answered stays in doubt, and is not
sent again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import BaseModel
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client  # noqa: TID251 - asks who polls, starts nothing

from reminders.db.audit import By
from reminders.db.ledger import rows_of
from reminders.db.preferences import STOPPING
from reminders.db.restoring import Found, Moved, RestoredLedger, Since
from reminders.domain.errors import ServiceUnavailableError
from reminders.domain.keys import TASK_QUEUE
from reminders.domain.model import Notice, OptOut, Reminder, ReminderStatus, StatusReason
from reminders.domain.ports import Clock, Enrollment
from reminders.fan_out import fan_out
from reminders.temporal import pollers
from starter.services.histories import Account, Histories

logger = logging.getLogger(__name__)

PAGE = 200
"""Enrollments that are looked at together."""
LONGEST_POLL = timedelta(seconds=70)
CLOCKS = timedelta(hours=1)
"""How far the clocks of Temporal and the lost database may have been apart, generously."""
_CLOCKS_DIFFER = timedelta(minutes=1)
"""Between PostgreSQL's, before whose instant nothing goes out, and the one that an operator read."""

_STOPS: dict[StatusReason | None, StatusReason] = {reason: reason for reason in STOPPING.values()}
_CALLED_OFF = (StatusReason.SESSION_CANCELLED, StatusReason.SESSION_DELETED)


class Reconciled(BaseModel):
    """What was found; counts. The first three are of reminders that the ledger had as pending."""

    looked_at: int
    still_waiting: int
    """Never asked for, or asked for or due only when the database was down: they go out as planned."""
    ended: dict[str, int]
    """Brought into the ledger, by `status` or `status: reason`."""
    added: int = 0
    """Reminders that the ledger did not have, planned since the backup, which have ended."""
    unenrolled: int = 0
    """People who had left a session."""
    sessions_cancelled: int = 0
    sessions_moved: int = 0
    unreadable: int = 0
    """Enrollments whose histories cannot be read; they are judged as if Temporal had forgotten
    them. The log names them."""


async def polling_now(client: Client, task_queue: str, *, now: datetime) -> bool:
    """Whether a worker may run: one has polled within the longest time that a poll takes.

    Raises:
        TemporalUnavailableError: If Temporal does not answer.
    """
    latest = datetime.min.replace(tzinfo=UTC)
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        found = await pollers(client, task_queue, kind)
        polls = [p.last_access_time.ToDatetime(tzinfo=UTC) for p in found.pollers]
        latest = max([latest, *polls])
    return now - latest < LONGEST_POLL


async def reconcile(
    client: Client,
    ledger: RestoredLedger,
    clock: Clock,
    *,
    down_since: datetime,
    by: By,
    dry_run: bool = False,
    task_queue: str = TASK_QUEUE,
) -> Reconciled:
    """Bring a restored ledger up to what Temporal knows; safe to repeat.

    No worker may run meanwhile. Costs a history for each enrollment that has something pending,
    and for each run that has ended since the backup. Nothing is written before all are read.

    Args:
        client: For the namespace of before.
        ledger: Restored, and migrated to this release.
        clock: Judges what lies ahead.
        down_since: From when on the lost database took no more writes, at the latest. What was
            asked for or due later cannot have been sent: a request is written down first, and no
            sooner than it is due.
        by: Who, and why, for the audit log.
        dry_run: Only count.
        task_queue: Of the workers of before.

    Raises:
        TemporalUnavailableError: If Temporal does not answer; nothing was written.
        DatabaseUnavailableError: If PostgreSQL does not answer; likewise.
    """
    histories = Histories(client, task_queue=task_queue)
    last_write = await ledger.last_write()
    runs = await histories.runs(since=last_write - CLOCKS if last_write else None)
    judging = _Judging(down_since=down_since, now=clock.now())
    unreadable = 0

    async def read(enrollment: Enrollment) -> Account | None:
        nonlocal unreadable
        try:
            return await histories.account(enrollment, runs.get(enrollment, ()))
        except ServiceUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a payload may hold
            unreadable += 1
            logger.error(  # noqa: TRY400 - a foreign error's text may quote anything
                "session %s, user %s: the history cannot be read: %s",
                enrollment.session_id,
                enrollment.user_id,
                type(error).__name__,
            )
            return None

    suspects = sorted({*runs, *await ledger.waiting()}, key=lambda e: (e.session_id, e.user_id))
    for start in range(0, len(suspects), PAGE):
        page = suspects[start : start + PAGE]
        rows = await rows_of(ledger.database, page)
        for enrollment, known in zip(page, await fan_out(read, page), strict=True):
            judging.judge(enrollment, rows.get(enrollment, ()), known)
    since = judging.result()
    counts = Counter(f"{f.status}: {f.reason}" if f.reason else str(f.status) for f in since.ended)
    caught = await ledger.catch_up(
        since,
        last_write=last_write,
        by=by,
        details={"looked_at": judging.looked_at, "ended": dict(counts)},
        dry_run=dry_run,
    )
    return Reconciled(
        looked_at=judging.looked_at,
        still_waiting=judging.looked_at - counts.total(),
        ended=dict(sorted(counts.items())),
        added=caught.added,
        unenrolled=caught.unenrolled,
        sessions_cancelled=caught.sessions_cancelled,
        sessions_moved=caught.sessions_moved,
        unreadable=unreadable,
    )


@dataclass(slots=True)
class _Judging:
    """Compares rows with histories, enrollment by enrollment."""

    down_since: datetime
    now: datetime
    since: Since = field(default_factory=Since)
    looked_at: int = 0
    _takes_place: dict[UUID, datetime] = field(default_factory=dict)
    """Sessions of which something waited even so, and when a workflow learned it."""
    _versions: dict[UUID, tuple[int, datetime]] = field(default_factory=dict)
    """Of the newest plan of each session, and when a workflow learned it."""
    _told_off: set[UUID] = field(default_factory=set)
    """Sessions of whose cancel somebody was to be told."""
    _untold: set[tuple[UUID, datetime]] = field(default_factory=set)
    """Sessions with the start of whose move somebody was not to be told."""

    def judge(
        self, enrollment: Enrollment, rows: Sequence[Reminder], account: Account | None
    ) -> None:
        """Note what has become of one enrollment since the backup."""
        pending = [row for row in rows if row.status.is_pending]
        self.looked_at += len(pending)
        for row in pending:
            if (found := self._pending(row, account)) is not None:
                self.since.ended.append(found)
        if account is None:
            return
        recorded = {row.id for row in rows}
        for row_id, known in account.known.items():
            if row_id in recorded:
                continue
            if self._is_in_doubt(row_id, account):
                self.since.added.append(_lost(known))
            elif known.status is not None:
                self.since.added.append(known)
        self._enrollment(enrollment, account)
        self._session(enrollment.session_id, account)

    def _pending(self, row: Reminder, account: Account | None) -> Found | None:
        """How a pending row has ended; `None` if it still waits."""
        planned = Found(
            session_id=row.session_id,
            user_id=row.user_id,
            reminder_type=row.reminder_type,
            generation=row.generation,
            due_at=row.due_at,
            starts_at=row.starts_at,
        )
        if account is None:  # Temporal has forgotten it, or never knew it
            is_ahead = row.due_at > self.now and row.status is ReminderStatus.SCHEDULED
            return None if is_ahead else _lost(planned)
        known = account.known.get(row.id, planned)
        if self._is_in_doubt(row.id, account, row.due_at):
            return _lost(known)
        if known.status is not None:
            if known.reason in _STOPS and _is_newest(known, account):
                scope = OptOut(session_id=row.session_id, reminder_type=row.reminder_type)
                self.since.stopped.append((row.user_id, scope, _STOPS[known.reason]))
            return known
        # A later generation begins where this one has ended, in whatever way.
        if row.status is ReminderStatus.SENDING or not _is_newest(known, account):
            return _lost(known)
        is_called_off = account.cancelled_at is not None and (
            row.created_at is None or row.created_at < account.cancelled_at
        )
        if is_called_off:
            reason = account.cancelled_because or known.reason
            return replace(known, status=ReminderStatus.CANCELLED, reason=reason)
        return None

    def _is_in_doubt(
        self, row_id: UUID, account: Account, recorded: datetime | None = None
    ) -> bool:
        """Whether it can have gone out in time, and nobody knows whether it did.

        Workflows of a crowd ask minutes before it is due; until then it only waits, unless it was
        moved meanwhile.

        Args:
            row_id: Of the reminder.
            account: What the histories say.
            recorded: When the ledger has it due.
        """
        if row_id not in account.asked:
            return False
        asked_at, due_at = account.asked[row_id]
        known = account.known.get(row_id)
        due_at = min(due_at, known.due_at if known else due_at, recorded or due_at)
        return max(asked_at, due_at) - _CLOCKS_DIFFER < self.down_since

    def _enrollment(self, enrollment: Enrollment, account: Account) -> None:
        if (
            account.cancelled_at is not None
            and account.cancelled_because is StatusReason.UNENROLLED
        ):
            self.since.left[enrollment] = account.cancelled_at

    def _session(self, session_id: UUID, account: Account) -> None:
        """What the newest plan of any of its enrollments says of a session.

        It takes place if something waited for somebody who did not leave, later than it was cancelled.
        """
        if account.starts_at is None or account.learned_at is None:
            return
        newest = (account.version, account.learned_at)
        if self._versions.get(session_id, newest) <= newest:
            self._versions[session_id] = newest
            self.since.moved[session_id] = Moved(
                starts_at=account.starts_at, told_at=account.learned_at
            )
        for known in account.known.values():
            is_untold = known.reason is StatusReason.UNTOLD
            if known.reminder_type == Notice.CANCELLED and not is_untold:
                self._told_off.add(session_id)
            if known.reminder_type == Notice.MOVED and is_untold and _is_newest(known, account):
                self._untold.add((session_id, known.starts_at))
        if account.cancelled_at is not None and account.cancelled_because in _CALLED_OFF:
            _latest(self.since.called_off, session_id, account.cancelled_at)
        elif account.is_called_off:  # its people were still to be told so
            _latest(self.since.called_off, session_id, account.learned_at)
        elif account.waits:
            _latest(self._takes_place, session_id, account.learned_at)

    def result(self) -> Since:
        """Everything that was noted; sessions that were restored are not called off."""
        for session_id, at in self._takes_place.items():
            if session_id in self.since.called_off and self.since.called_off[session_id] < at:
                del self.since.called_off[session_id]
        for session_id, told in self.since.moved.items():
            if session_id in self.since.called_off:
                # One of which nobody was to be told ends runs without giving them a notice.
                if session_id not in self._told_off:
                    self.since.quiet[session_id] = None
            elif (session_id, told.starts_at) in self._untold:
                self.since.quiet[session_id] = told.starts_at
        return self.since


def _latest(of: dict[UUID, datetime], session_id: UUID, at: datetime) -> None:
    of[session_id] = max(at, of.get(session_id, at))


def _is_newest(known: Found, account: Account) -> bool:
    """Whether no plan speaks of a later generation."""
    return account.newest_generation(known.reminder_type) <= known.generation


def _lost(known: Found) -> Found:
    """Perhaps accepted; its answer is lost."""
    return replace(known, status=ReminderStatus.FAILED, reason=StatusReason.OUTCOME_UNKNOWN)
