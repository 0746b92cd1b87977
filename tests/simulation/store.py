"""The ledger in memory: what `reminders.db` does, operation by operation, each in one instant.

It is a model, and `test_contract.py` holds it to PostgreSQL: both are asked the same at random, and
must answer the same. That PostgreSQL does each operation as if in one instant, whatever else
happens at the same time, is not assumed here but shown by `tests/interleavings`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from reminders.db.deliveries import BELIEVED, LEASE
from reminders.db.preferences import STOPPING
from reminders.domain.contracts import CloseRemindersResult
from reminders.domain.decide import moved_from
from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    ProviderEvent,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.notices import told_start
from reminders.domain.pace import TOGETHER, Pace, Usage
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

_T = TypeVar("_T")
SCHEDULED, SENDING, FAILED = (
    ReminderStatus.SCHEDULED,
    ReminderStatus.SENDING,
    ReminderStatus.FAILED,
)
_REOPENED = (SCHEDULED, FAILED, ReminderStatus.CANCELLED, ReminderStatus.SKIPPED)
"""Statuses that the proof of an acceptance overrules."""
FORWARD = (
    ReminderStatus.SENT,
    ReminderStatus.DELIVERED,
    ReminderStatus.FAILED,
    ReminderStatus.SUPPRESSED,
    ReminderStatus.BOUNCED,
    ReminderStatus.COMPLAINED,
)
MINUTE = timedelta(minutes=1)
RESEND_THRESHOLD = timedelta(hours=1)
"""How far a session must move for a second e-mail of the same kind: the default."""
NOTHING = timedelta()


class Link(Protocol):
    """The way from one process to the database: takes time, and may fail before or after."""

    async def ask(self, name: str, work: Callable[[], _T]) -> _T:
        """Have something done there.

        Raises:
            DatabaseUnavailableError: Whether it was done is not known.
        """


@dataclass(slots=True)
class Row:
    """A row of `session_reminder_emails`."""

    id: UUID
    session_id: UUID
    user_id: UUID
    reminder_type: str
    generation: int
    due_at: datetime
    starts_at: datetime
    status: ReminderStatus
    reason: StatusReason | None = None
    sent_at: datetime | None = None
    attempts: int = 0
    last_error: str | None = None
    resend_email_id: str | None = None
    run_id: str | None = None
    batch_id: UUID | None = None
    requested_at: datetime | None = None
    plan_version: int = 0
    moved_from: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0
    """PostgreSQL's `xmin`."""

    def reminder(self) -> Reminder:
        """As the domain has it."""
        return Reminder(
            id=self.id,
            session_id=self.session_id,
            user_id=self.user_id,
            reminder_type=self.reminder_type,
            generation=self.generation,
            due_at=self.due_at,
            starts_at=self.starts_at,
            status=self.status,
            reason=self.reason,
            sent_at=self.sent_at,
            attempts=self.attempts,
            last_error=self.last_error,
            resend_email_id=self.resend_email_id,
            run_id=self.run_id,
            batch_id=self.batch_id,
            requested_at=self.requested_at,
            plan_version=self.plan_version,
            moved_from=self.moved_from,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


@dataclass(slots=True)
class Batch:
    """A row of `email_batches`."""

    id: UUID
    reminder_ids: tuple[UUID, ...]
    body: bytes | None
    useful_until: datetime
    repeatable_until: datetime | None
    frozen_at: datetime
    owner: str
    lease_until: datetime
    mode: str
    sink: str | None
    installation: str
    state: str = "frozen"

    @property
    def ends_at(self) -> datetime:
        """When it is too late to post it."""
        return self.repeatable_until or self.useful_until


@dataclass(slots=True)
class Change:
    """What became of a row, and when."""

    at: datetime
    row_id: UUID
    before: ReminderStatus | None
    after: ReminderStatus
    reason: StatusReason | None


@dataclass(slots=True)
class Store:
    """All tables. Whoever uses it says what time the database has."""

    now: Callable[[], datetime]
    installation: str = "here"
    sessions: dict[UUID, Session] = field(default_factory=dict)
    users: dict[UUID, Attendee] = field(default_factory=dict)
    enrollments: dict[tuple[UUID, UUID], EnrollmentStatus] = field(default_factory=dict)
    quiet: dict[UUID, tuple[datetime, SessionStatus]] = field(default_factory=dict)
    """Of which state of a session nobody is to be told."""
    rules: dict[str, ReminderRule] = field(default_factory=dict)
    preferences: set[tuple[UUID, UUID | None, str | None, str]] = field(default_factory=set)
    rows: dict[UUID, Row] = field(default_factory=dict)
    of_enrollment: dict[tuple[UUID, UUID], list[Row]] = field(default_factory=dict)
    batches: dict[UUID, Batch] = field(default_factory=dict)
    unconfirmed: dict[tuple[UUID, UUID], tuple[int, datetime]] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    usage: list[Usage] = field(default_factory=list)
    turns: list[datetime] = field(default_factory=list)
    held_until: datetime | None = None
    held_because: StatusReason | None = None
    held_sender: str | None = None
    plan_version: int = 0
    plans: list[tuple[datetime, tuple[UUID, UUID], int]] = field(default_factory=list)
    """When an enrollment was planned anew, and the version of it."""
    changes: list[Change] = field(default_factory=list)
    timeline: list[tuple[datetime, str, Any, Any]] = field(default_factory=list)
    """What was true of whom, and from when on: the words of the platform."""
    in_doubt: int = 0
    """Batches that are frozen."""
    given_up: list[tuple[datetime, UUID]] = field(default_factory=list)
    """When an owner left a batch to whoever comes next."""
    writes: int = 0
    lead_in: timedelta | None = None

    def set_session(self, session: Session, *, tell_nobody: bool | None = None) -> None:
        """The platform's row of a session; a call of ours that changes it says whom to tell."""
        before = self.sessions.get(session.id)
        if before and (before.starts_at, before.status) == (session.starts_at, session.status):
            tell_nobody = None
        self.sessions[session.id] = session
        self.timeline.append((self.now(), "session", session.id, session))
        if tell_nobody is not None:
            self.quiet.pop(session.id, None)
        if tell_nobody:
            self.quiet[session.id] = session.starts_at, session.status
            self.timeline.append((self.now(), "quiet", session.id, session))

    def set_enrollment(self, key: tuple[UUID, UUID], status: EnrollmentStatus) -> None:
        """The platform's row of an enrollment."""
        self.enrollments[key] = status
        self.timeline.append((self.now(), "enrollment", key, status))

    def touch(self, row: Row, status: ReminderStatus | None = None, **values: Any) -> None:
        """Update a row."""
        if status is not None and (
            status is not row.status or values.get("reason", row.reason) is not row.reason
        ):
            reason = values.get("reason", row.reason)
            self.changes.append(Change(self.now(), row.id, row.status, status, reason))
        if status is not None:
            row.status = status
        for name, value in values.items():
            setattr(row, name, value)
        self.writes += 1
        row.version = self.writes
        row.updated_at = self.now()

    def add(self, row: Row) -> None:
        """Insert a row."""
        self.writes += 1
        row.version = self.writes
        row.created_at = row.updated_at = self.now()
        self.rows[row.id] = row
        self.of_enrollment.setdefault((row.session_id, row.user_id), []).append(row)
        self.changes.append(Change(self.now(), row.id, None, row.status, row.reason))

    def stopping(self, user_id: UUID, session_id: UUID, kind: str) -> str | None:
        """Why a person is not to get it: of several reasons the last by name."""
        reasons = [
            reason
            for user, session, of_kind, reason in self.preferences
            if user == user_id and session in (None, session_id) and of_kind in (None, kind)
        ]
        return max(reasons, default=None)

    def take_turn(self, wait: timedelta, pace: Pace) -> timedelta:
        """One request more in the pace; how long until its turn."""
        now = self.now()
        turns = [now + wait, *self.turns[-1:]]
        if len(self.turns) >= pace.requests:
            turns.append(self.turns[-pace.requests] + pace.window)
        if (
            len(self.turns) >= max(2 * pace.requests, TOGETHER)
            and self.turns[-2 * pace.requests] > now - 2.5 * pace.window
        ):
            turns.append(self.turns[-TOGETHER] + pace.window * TOGETHER / pace.requests)
        turn = max(turns)
        self.turns = [*self.turns, turn][-2 * pace.requests :]
        return max(turn - now, NOTHING)

    def is_held_for(self, sender: str | None) -> bool:
        """Whether a hold is in force that concerns whoever posts as this."""
        return (
            self.held_until is not None
            and self.held_until > self.now()
            and (self.held_sender is None or self.held_sender == sender)
        )

    def still_true(self, batch_id: UUID) -> bool:
        """Whether what a batch says is true, and to somebody who still wants it."""
        rows = [r for r in self.rows.values() if r.batch_id == batch_id and r.status is SENDING]
        sessions = [self.sessions.get(r.session_id) for r in rows]
        return all(
            s is not None
            and (s.status == "cancelled") == (r.reminder_type == "cancelled")
            and s.starts_at == r.starts_at
            for r, s in zip(rows, sessions, strict=True)
        ) and any(
            self.enrollments.get((r.session_id, r.user_id)) is EnrollmentStatus.CONFIRMED
            and self.stopping(r.user_id, r.session_id, r.reminder_type) is None
            for r in rows
        )

    def facts(self, row: Row) -> DeliveryFacts:
        """Everything that counts for a reminder."""
        session = self.sessions.get(row.session_id)
        mine = self.of_enrollment[row.session_id, row.user_id]
        later = [
            r.due_at
            for r in mine
            if r.status is SCHEDULED
            and r.requested_at is None
            and r.due_at > row.due_at
            and (rule := self.rules.get(r.reminder_type)) is not None
            and rule.is_enabled
            and not rule.is_notice
            and self.stopping(r.user_id, r.session_id, r.reminder_type) is None
        ]
        told = max((r for r in mine if r.sent_at), key=lambda r: r.sent_at, default=None)  # type: ignore[arg-type,return-value]
        same = (r for r in mine if r.sent_at and r.reminder_type == row.reminder_type)
        before = max(same, key=lambda r: r.generation, default=None)
        stopped = self.stopping(row.user_id, row.session_id, row.reminder_type)
        moving = next(
            (r for r in mine if r.reminder_type == "moved" and r.status is SCHEDULED), None
        )
        may_be_called_off = any(
            r.reminder_type == "cancelled"
            and r.plan_version > (told.plan_version if told else 0)
            and (r.status is SENDING or r.reason is StatusReason.OUTCOME_UNKNOWN)
            for r in mine
        )
        may_know_another = session is not None and any(
            r.id != row.id
            and r.plan_version > (told.plan_version if told else 0)
            and (r.reminder_type == "cancelled" or r.starts_at != session.starts_at)
            and (r.status is SENDING or r.reason is StatusReason.OUTCOME_UNKNOWN)
            for r in mine
        )
        known = row.moved_from or (moving.moved_from if moving else None)
        known = known or (told_start(told.reminder()) if told else None)
        return DeliveryFacts(
            reminder=row.reminder(),
            session=session,
            attendee=self.users.get(row.user_id),
            enrollment_status=self.enrollments.get((row.session_id, row.user_id)),
            rule=self.rules.get(row.reminder_type),
            next_due_at=min(later, default=None),
            stopped=STOPPING[stopped] if stopped else None,
            moved_from=moved_from(known, session.starts_at if session else None, now=self.now()),
            told_already=told is not None
            and session is not None
            and told.starts_at == session.starts_at
            and told.reminder_type != "cancelled"
            and not may_know_another
            and not any(
                r.reason is StatusReason.UNTOLD and r.plan_version > told.plan_version for r in mine
            ),
            was_called_off=may_be_called_off
            or (told is not None and told.reminder_type == "cancelled"),
            is_quiet=session is not None
            and self.quiet.get(session.id) == (session.starts_at, session.status),
            was_told=before is not None
            and session is not None
            and abs(before.starts_at - session.starts_at) <= RESEND_THRESHOLD,
            row_version=str(row.version),
            read_at=self.now(),
        )

    def record(self, event: ProviderEvent) -> bool:
        """What `ProviderEvents.record` does of an event that stops nobody."""
        if event.status is None or event.svix_id in self.events:
            return False
        self.events.add(event.svix_id)
        row = self.rows.get(event.reminder_id) if event.reminder_id else None
        if row is None:
            row = next((r for r in self.rows.values() if r.resend_email_id == event.email_id), None)
        if row is None:
            return True
        concluded = (StatusReason.OUTCOME_UNKNOWN, StatusReason.EXPIRED)
        if row.resend_email_id is None:
            counts = (
                row.status is SENDING
                or (row.status in (SCHEDULED, FAILED) and row.attempts > 0)
                or (row.status is FAILED and row.reason is StatusReason.OUTCOME_UNKNOWN)
            )
        else:
            counts = row.resend_email_id == event.email_id and (
                row.status in FORWARD[: FORWARD.index(event.status)]
                or (row.status is FAILED and row.reason in concluded)
            )
        if counts:
            self.touch(
                row,
                event.status,
                reason=event.reason,
                last_error=event.detail,
                resend_email_id=event.email_id,
                sent_at=row.sent_at or event.accepted_at or event.occurred_at,
            )
        return True


class ModelLedger:
    """`DeliveryLedger` on a `Store`."""

    def __init__(
        self,
        store: Store,
        link: Link,
        clock: Clock,
        *,
        owner: str,
        pace: Pace,
        destination: Destination | None = None,
        sender: str | None = None,
    ) -> None:
        """See `PostgresDeliveryLedger`."""
        self._store = store
        self._link = link
        self._clock = clock
        self._owner = owner
        self._pace = pace
        self._here = destination or Destination()
        self._sender = sender

    def _belongs_here(self, batch: Batch) -> bool:
        """See `reminders.db.sql.belongs_here`."""
        return (
            batch.mode == self._here.mode
            and batch.sink == self._here.sink
            and batch.installation == self._store.installation
        )

    async def read(self, reminder_ids: Sequence[UUID]) -> Reading:
        """See `DeliveryLedger.read`."""
        return await self._link.ask("read", lambda: self._read(reminder_ids))

    def _read(self, reminder_ids: Sequence[UUID]) -> Reading:
        store = self._store
        if store.is_held_for(self._sender):
            assert store.held_until
            assert store.held_because
            until = self._clock.now() + (store.held_until - store.now())
            hold = Hold(until=until, reason=store.held_because, sender=store.held_sender)
            return Reading(facts=(), hold=hold)
        found = [store.rows[i] for i in reminder_ids if i in store.rows]
        return Reading(facts=[store.facts(row) for row in found], hold=None)

    async def freeze(
        self,
        batch: FrozenBatch | None,
        closings: Sequence[Settlement],
        *,
        facts: Sequence[DeliveryFacts],
        run_ids: Mapping[UUID, str],
    ) -> timedelta | None:
        """See `DeliveryLedger.freeze`."""
        return await self._link.ask("freeze", lambda: self._freeze(batch, closings, facts, run_ids))

    def _freeze(
        self,
        batch: FrozenBatch | None,
        closings: Sequence[Settlement],
        facts: Sequence[DeliveryFacts],
        run_ids: Mapping[UUID, str],
    ) -> timedelta | None:
        store = self._store
        if any(f.read_at and store.now() - f.read_at >= BELIEVED for f in facts):
            return None
        known = {f.reminder.id: f for f in facts}
        sending = batch.reminder_ids if batch else ()
        for reminder_id in (*(c.reminder_id for c in closings), *sending):
            row = store.rows.get(reminder_id)
            if row is None or not self._is_unchanged(row, known[reminder_id]):
                return None
        for closing in closings:
            row = store.rows[closing.reminder_id]
            store.touch(
                row,
                closing.status,
                reason=closing.reason,
                last_error=closing.error,
                batch_id=None,
                run_id=run_ids[row.id],
            )
        if batch is None:
            return NOTHING
        for reminder_id in sending:
            row, session = store.rows[reminder_id], known[reminder_id].session
            store.touch(
                row,
                SENDING,
                reason=None,
                last_error=None,
                batch_id=batch.id,
                attempts=row.attempts + 1,
                starts_at=session.starts_at if session else row.starts_at,
                run_id=run_ids[row.id],
            )
        store.batches[batch.id] = Batch(
            id=batch.id,
            reminder_ids=tuple(batch.reminder_ids),
            body=batch.body,
            useful_until=batch.useful_until,
            repeatable_until=batch.repeatable_until,
            frozen_at=batch.frozen_at,
            owner=self._holder(batch.lease),
            lease_until=store.now() + LEASE,
            mode=self._here.mode,
            sink=self._here.sink,
            installation=store.installation,
        )
        store.in_doubt += 1
        return store.take_turn(NOTHING, self._pace)

    def _is_unchanged(self, row: Row, fact: DeliveryFacts) -> bool:
        """Whether nobody has written a row since it was read."""
        return row.status is SCHEDULED and str(row.version) == fact.row_version

    async def move(self, facts: DeliveryFacts, due_at: datetime) -> bool:
        """See `DeliveryLedger.move`."""

        def work() -> bool:
            row = self._store.rows.get(facts.reminder.id)
            if row is None or not self._is_unchanged(row, facts):
                return False
            self._store.touch(row, due_at=due_at)
            return True

        return await self._link.ask("move", work)

    async def settle(self, batch_id: UUID, settlements: Sequence[Settlement]) -> None:
        """See `DeliveryLedger.settle`."""
        await self._link.ask("settle", lambda: self._settle(batch_id, settlements))

    def _settle(self, batch_id: UUID, settlements: Sequence[Settlement]) -> None:
        store, now = self._store, self._clock.now()
        if any(s.status.is_accepted for s in settlements) and store.is_held_for(self._sender):
            store.held_until = None
        self._resolve(batch_id, "settled")
        for s in settlements:
            row = store.rows.get(s.reminder_id)
            if row is None:
                continue
            is_of_batch = row.batch_id == batch_id
            is_proof = s.resend_email_id is not None
            if not is_of_batch and not (row.batch_id is None and is_proof):
                continue
            values: dict[str, Any] = {
                "resend_email_id": row.resend_email_id or s.resend_email_id,
                "sent_at": row.sent_at or now if is_proof else row.sent_at,
            }
            if self._counts(row, s, is_of_batch=is_of_batch):
                values |= {"reason": s.reason, "last_error": s.error}
                store.touch(row, s.status, **values)
            else:
                store.touch(row, **values)

    def _counts(self, row: Row, settlement: Settlement, *, is_of_batch: bool) -> bool:
        """Whether a settlement moves a row."""
        return (is_of_batch and row.status is SENDING) or (
            settlement.resend_email_id is not None
            and row.resend_email_id is None
            and row.status in _REOPENED
        )

    def _resolve(self, batch_id: UUID, state: str) -> bool:
        """End a batch; false if it has ended."""
        batch = self._store.batches.get(batch_id)
        if batch is None or batch.state != "frozen":
            return False
        batch.state, batch.body = state, None
        self._store.in_doubt -= 1
        return True

    async def release(self, batch: FrozenBatch) -> None:
        """See `DeliveryLedger.release`."""

        def work() -> None:
            if not self._is_owner(batch) or not self._resolve(batch.id, "released"):
                return
            for row in self._store.rows.values():
                if row.batch_id == batch.id and row.status is SENDING:
                    self._store.touch(row, SCHEDULED, batch_id=None)

        await self._link.ask("release", work)

    async def resume(self, batch_id: UUID) -> tuple[FrozenBatch, timedelta] | None:
        """See `DeliveryLedger.resume`."""
        return await self._link.ask("resume", lambda: self._resume(batch_id))

    def _resume(self, batch_id: UUID) -> tuple[FrozenBatch, timedelta] | None:
        store, now = self._store, self._clock.now()
        batch = store.batches.get(batch_id)
        if batch is None or batch.state != "frozen" or not self._has_lapsed(batch):
            return None
        is_ours = self._belongs_here(batch)
        if not (is_ours or batch.ends_at <= now):
            return None
        assert batch.body is not None
        taken = FrozenBatch(
            id=batch.id,
            reminder_ids=batch.reminder_ids,
            body=batch.body,
            useful_until=batch.useful_until,
            frozen_at=batch.frozen_at,
            repeatable_until=batch.repeatable_until,
        )
        batch.owner, batch.lease_until = self._holder(taken.lease), store.now() + LEASE
        still_true = store.still_true(batch_id)
        if not is_ours:
            return replace(taken, unrepeatable="frozen elsewhere"), NOTHING
        if not still_true:
            return replace(taken, unrepeatable="not true any more"), NOTHING
        if batch.ends_at <= now:
            return taken, NOTHING
        for row in store.rows.values():
            if row.batch_id == batch_id and row.status is SENDING:
                store.touch(row, attempts=row.attempts + 1)
        return taken, store.take_turn(NOTHING, self._pace)

    def _has_lapsed(self, batch: Batch) -> bool:
        """Whether nobody keeps a batch."""
        return batch.lease_until <= self._store.now()

    def _is_owner(self, batch: FrozenBatch) -> bool:
        """Whether it was not taken over."""
        stored = self._store.batches.get(batch.id)
        return (
            stored is not None
            and stored.state == "frozen"
            and stored.owner == self._holder(batch.lease)
        )

    async def renew(self, batch: FrozenBatch) -> None:
        """See `DeliveryLedger.renew`."""
        await self._link.ask("renew", lambda: self._lease(batch, LEASE))

    async def yield_lease(self, batch: FrozenBatch, *, retry_in: timedelta) -> None:
        """See `DeliveryLedger.yield_lease`."""

        def work() -> None:
            self._lease(batch, retry_in)
            self._store.given_up.append((self._store.now(), batch.id))

        await self._link.ask("yield", work)

    def _lease(self, batch: FrozenBatch, lease: timedelta) -> None:
        if self._is_owner(batch):
            self._store.batches[batch.id].lease_until = self._store.now() + lease

    def _holder(self, lease: UUID) -> str:
        return f"{self._owner}:{lease.hex}"

    async def pace(self, *, at_least: timedelta) -> timedelta:
        """See `DeliveryLedger.pace`."""
        return await self._link.ask("pace", lambda: self._store.take_turn(at_least, self._pace))

    async def again(
        self, batch: FrozenBatch, *, at_least: timedelta
    ) -> tuple[FrozenBatch, timedelta]:
        """See `DeliveryLedger.again`."""

        def work() -> tuple[FrozenBatch, timedelta]:
            return self._judged(batch), self._store.take_turn(at_least, self._pace)

        return await self._link.ask("again", work)

    async def recheck(self, batch: FrozenBatch) -> FrozenBatch:
        """See `DeliveryLedger.recheck`."""
        return await self._link.ask("recheck", lambda: self._judged(batch))

    def _judged(self, batch: FrozenBatch) -> FrozenBatch:
        if self._store.still_true(batch.id):
            return batch
        return replace(batch, unrepeatable="not true any more")

    async def overtaken(self, waiting: Collection[Waiting]) -> Collection[Waiting]:
        """See `DeliveryLedger.overtaken`; nobody in schedules wakes so early that it is asked."""
        raise NotImplementedError

    async def woke(self, due_at: datetime, *, took: timedelta, were_late: bool) -> timedelta:
        """See `DeliveryLedger.woke`; there are no crowds in schedules."""
        raise NotImplementedError

    async def stranded(self) -> Sequence[Stranded]:
        """See `DeliveryLedger.stranded`."""

        def work() -> Sequence[Stranded]:
            found = [
                b
                for b in self._store.batches.values()
                if b.state == "frozen" and not self._belongs_here(b)
            ]
            return [
                Stranded(
                    batch_id=b.id,
                    reminders=len(b.reminder_ids),
                    mode=b.mode,
                    ends_at=b.ends_at,
                )
                for b in sorted(found, key=lambda b: b.useful_until)
            ]

        return await self._link.ask("stranded", work)

    async def record_usage(self, usage: Usage) -> None:
        """See `DeliveryLedger.record_usage`."""
        await self._link.ask("usage", lambda: self._store.usage.append(usage))

    async def hold(
        self,
        reason: StatusReason,
        *,
        lasts: timedelta,
        detail: str | None = None,
    ) -> None:
        """See `DeliveryLedger.hold`."""

        def work() -> None:
            store = self._store
            sender = self._sender if reason is StatusReason.MISCONFIGURED else None
            is_held = store.held_until is not None and store.held_until > store.now()
            if sender is None or store.held_sender is not None or not is_held:
                store.held_until = store.now() + lasts
                store.held_because, store.held_sender = reason, sender

        await self._link.ask("hold", work)

    async def in_doubt(self, *, limit: int) -> Sequence[UUID]:
        """See `DeliveryLedger.in_doubt`."""

        def work() -> Sequence[UUID]:
            now = self._clock.now()
            is_held = self._store.is_held_for(self._sender)
            found = [
                b
                for b in self._store.batches.values()
                if b.state == "frozen"
                and self._has_lapsed(b)
                and (b.ends_at <= now or (self._belongs_here(b) and not is_held))
            ]
            return [b.id for b in sorted(found, key=lambda b: b.useful_until)][:limit]

        return await self._link.ask("in_doubt", work)

    async def frozen(self, batch_ids: Sequence[UUID]) -> Sequence[UUID]:
        """See `DeliveryLedger.frozen`."""

        def work() -> Sequence[UUID]:
            known = self._store.batches
            return [i for i in batch_ids if i in known and known[i].state == "frozen"]

        return await self._link.ask("frozen", work)

    async def close(
        self,
        reminder_ids: Sequence[UUID],
        status: ReminderStatus,
        reason: StatusReason,
        *,
        plan_version: int | None = None,
    ) -> CloseRemindersResult:
        """See `DeliveryLedger.close`."""

        def work() -> CloseRemindersResult:
            rows = [self._store.rows[i] for i in set(reminder_ids) if i in self._store.rows]
            in_doubt = sum(r.status is SENDING for r in rows)
            closed = [
                r
                for r in rows
                if r.status is SCHEDULED
                and reason is not StatusReason.NOT_FOUND
                and (plan_version is None or r.plan_version <= plan_version)
            ]
            for row in closed:
                self._store.touch(row, status, reason=reason)
            return CloseRemindersResult(closed=len(closed), in_doubt=in_doubt)

        return await self._link.ask("close", work)
