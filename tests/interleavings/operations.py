"""What runs against what: every operation that writes the ledger, or reads it to decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from reminders.clock import SystemClock
from reminders.db.audit import By
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.erasure import ErasureStore
from reminders.db.planning import EnrollmentPlanner
from reminders.db.preference_store import PreferenceStore
from reminders.db.provider import ProviderEvents, ProviderState
from reminders.db.resends import ReminderRequests
from reminders.db.rules import RuleStore
from reminders.db.sessions import Catalogue
from reminders.domain.decide import Close, Send, decide
from reminders.domain.model import (
    Attendee,
    OptOut,
    ProviderEvent,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.pace import Pace
from reminders.domain.ports import Destination, FrozenBatch, Settlement
from reminders.domain.rules import RuleFields

SESSION = UUID("5e551000-0000-4000-8000-000000000001")
USER = UUID("a77e0000-0000-4000-8000-000000000001")
ADDRESS = "ana@hospital.example"
BY = By("test")
HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Outside:
    """What is not in the database: the provider, and who was told what."""

    starts_at: datetime
    accepted: dict[UUID, tuple[UUID, ...]] = field(default_factory=dict)
    """By key: which reminders were accepted under it, once."""
    accepted_from: dict[UUID, list[UUID]] = field(default_factory=dict)
    """By reminder: the keys under which it was accepted."""
    called_off: set[UUID] = field(default_factory=set)
    """Reminders of which a receipt said that they are cancelled."""

    def post(self, batch: FrozenBatch) -> list[Settlement]:
        """Accept a request, once under its key."""
        if batch.id not in self.accepted:
            self.accepted[batch.id] = batch.reminder_ids
            for reminder_id in batch.reminder_ids:
                self.accepted_from.setdefault(reminder_id, []).append(batch.id)
        return [
            Settlement(reminder_id=i, status=ReminderStatus.SENT, resend_email_id=f"e-{i}")
            for i in batch.reminder_ids
        ]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that one operation may need, on its own connections."""

    database: Database
    outside: Outside

    @property
    def ledger(self) -> PostgresDeliveryLedger:
        """Of one worker."""
        return PostgresDeliveryLedger(
            self.database,
            SystemClock(),
            owner=f"w{id(self.database)}",
            pace=Pace.of(1000),
            destination=Destination(),
        )

    @property
    def planner(self) -> EnrollmentPlanner:
        """Of one caller."""
        return EnrollmentPlanner(self.database, SystemClock())


Operation = Callable[[Parts], Awaitable[Any]]


async def deliver(p: Parts) -> None:
    """Read, decide, freeze, post and settle, as a pipeline does."""
    ids, now = KNOWN.due, SystemClock().now()
    reading = await p.ledger.read(ids)
    if reading.hold is not None:
        return
    decisions = {f.reminder.id: decide(f, now=now) for f in reading.facts}
    sending = tuple(sorted(i for i, d in decisions.items() if isinstance(d, Send)))
    closings = [
        Settlement(reminder_id=i, status=d.status, reason=d.reason)
        for i, d in decisions.items()
        if isinstance(d, Close)
    ]
    if not sending and not closings:
        return
    batch = FrozenBatch(
        id=uuid4(),
        reminder_ids=sending,
        body=b"[]",
        useful_until=p.outside.starts_at,
        frozen_at=now,
    )
    ledger = p.ledger
    wait = await ledger.freeze(
        batch if sending else None,
        closings,
        facts=[f for f in reading.facts if f.reminder.id in decisions],
        run_ids=dict.fromkeys(ids, "run"),
    )
    if wait is not None and sending:
        await ledger.settle(batch.id, p.outside.post(batch))


async def deliver_refused(p: Parts) -> None:
    """The same, and the provider provably refuses: released."""
    ids, ledger = KNOWN.due, p.ledger
    reading = await ledger.read(ids)
    sending = tuple(
        f.reminder.id for f in reading.facts if isinstance(decide(f, now=SystemClock().now()), Send)
    )
    if not sending:
        return
    batch = FrozenBatch(
        id=uuid4(),
        reminder_ids=sending,
        body=b"[]",
        useful_until=p.outside.starts_at,
        frozen_at=SystemClock().now(),
    )
    facts = [f for f in reading.facts if f.reminder.id in sending]
    if await ledger.freeze(batch, [], facts=facts, run_ids=dict.fromkeys(ids, "run")) is not None:
        await ledger.release(batch)


async def recover(p: Parts) -> None:
    """Take over what is in doubt, post it once more, and settle it."""
    ledger = p.ledger
    for batch_id in await ledger.in_doubt(limit=10):
        if (resumed := await ledger.resume(batch_id)) is None:
            continue
        batch, _ = resumed
        if batch.unrepeatable is None:
            await ledger.settle(batch.id, p.outside.post(batch))
        else:
            await ledger.settle(
                batch.id,
                [
                    Settlement(
                        reminder_id=i,
                        status=ReminderStatus.FAILED,
                        reason=StatusReason.OUTCOME_UNKNOWN,
                    )
                    for i in batch.reminder_ids
                ],
            )


async def enroll(p: Parts) -> None:
    """They enroll, for the first time or again."""
    await p.planner.enroll(SESSION, USER)


async def unenroll(p: Parts) -> None:
    """They leave, and are told what was called off."""
    planned, _ = await p.planner.unenroll(SESSION, USER)
    _told(p, planned.reminders)


async def replan(p: Parts) -> None:
    """A change is passed on, and confirmed."""
    planned = await p.planner.replan(SESSION, USER)
    await p.planner.confirm(planned, is_found=True)


async def repair(p: Parts) -> None:
    """The sweep plans anew."""
    await p.planner.reconcile(SESSION, USER)


async def renew(p: Parts) -> None:
    """They enroll while their run is on its way out."""
    planned = await p.planner.enroll(SESSION, USER)
    await p.planner.renew(planned)


async def cancel_session(p: Parts) -> None:
    """The session is cancelled, and its enrollments planned anew."""
    await Catalogue(p.database).cancel_session(SESSION)
    planned = await p.planner.replan(SESSION, USER)
    _told(p, planned.reminders)


async def restore_session(p: Parts) -> None:
    """It is held after all."""
    await Catalogue(p.database).restore_session(SESSION)
    await p.planner.replan(SESSION, USER)


async def move_session(p: Parts) -> None:
    """It moves by a little, and its enrollments are planned anew."""
    await Catalogue(p.database).put_session(
        Session(
            id=SESSION,
            title="Cardiology",
            starts_at=p.outside.starts_at + timedelta(minutes=40),
            status=SessionStatus.SCHEDULED,
        ),
        keep_status=True,
    )
    await p.planner.replan(SESSION, USER)


async def switch_rule_off(p: Parts) -> None:
    """The rule of the reminder that is due."""
    fields = RuleFields(is_enabled=False)
    await RuleStore(p.database).change("30min", None, fields, by=BY)
    await p.planner.replan(SESSION, USER)


async def opt_out(p: Parts) -> None:
    """They want no reminders."""
    store = PreferenceStore(p.database, SystemClock())
    await store.change(USER, lambda _: frozenset({OptOut()}), by=BY)


async def opt_in(p: Parts) -> None:
    """They want them again."""
    store = PreferenceStore(p.database, SystemClock())
    await store.change(USER, lambda _: frozenset(), by=BY)
    await p.planner.replan(SESSION, USER)


async def erase(p: Parts) -> None:
    """They are forgotten."""
    await ErasureStore(p.database, SystemClock()).erase(USER, by=BY)


async def put_user(p: Parts) -> None:
    """Their address changes."""
    await Catalogue(p.database).put_user(Attendee(user_id=USER, email=f"new.{ADDRESS}"))


async def delivered(p: Parts) -> None:
    """The provider tells that an e-mail arrived, if it has taken one."""
    for reminder_id in list(p.outside.accepted_from):
        await ProviderEvents(p.database).record(_event(reminder_id, ReminderStatus.DELIVERED))


async def complained(p: Parts) -> None:
    """They report an e-mail as spam, if there was one."""
    for reminder_id in list(p.outside.accepted_from):
        told = _event(reminder_id, ReminderStatus.COMPLAINED)
        await ProviderEvents(p.database).record(
            replace(told, stops=StatusReason.SPAM_COMPLAINT, recipients=(ADDRESS,))
        )


async def close(p: Parts) -> None:
    """A workflow that was cancelled closes what it knows, until nothing is in doubt."""
    closed = await p.ledger.close(
        KNOWN.all, ReminderStatus.CANCELLED, StatusReason.WORKFLOW_CANCELLED
    )
    if not closed.in_doubt and closed.closed == len(KNOWN.all):
        p.outside.called_off |= set(KNOWN.all)


async def close_waiting(p: Parts) -> None:
    """The sweep closes what waits for a run that was cancelled."""
    await p.planner.close_waiting(SESSION, USER, StatusReason.WORKFLOW_CANCELLED)


async def hold(p: Parts) -> None:
    """The quota is used up."""
    await p.ledger.hold(StatusReason.QUOTA, lasts=HOUR)


async def end_hold(p: Parts) -> None:
    """An operator ends a hold."""
    await ProviderState(p.database).resume(by=BY)


async def send_now(p: Parts) -> None:
    """An operator asks for the next one at once."""
    await ReminderRequests(p.database, SystemClock()).send_now(KNOWN.all[-1], by=BY)


async def resend(p: Parts) -> None:
    """An operator asks for one that has ended, once more."""
    await ReminderRequests(p.database, SystemClock()).resend(KNOWN.due[0], by=BY)


@dataclass(slots=True)
class Known:
    """Reminders as a workflow knows them by heart."""

    due: list[UUID] = field(default_factory=list)
    all: list[UUID] = field(default_factory=list)


KNOWN = Known()

OPERATIONS: tuple[Operation, ...] = (
    deliver, deliver_refused, recover, enroll, unenroll, replan, repair, renew, cancel_session,
    restore_session, move_session, switch_rule_off, opt_out, opt_in, erase, put_user, delivered,
    complained, close, close_waiting, hold, end_hold, send_now, resend,
)  # fmt: skip


def _told(p: Parts, reminders: Any) -> None:
    p.outside.called_off |= {r.id for r in reminders if r.status is ReminderStatus.CANCELLED}


def _event(reminder_id: UUID, status: ReminderStatus) -> ProviderEvent:
    now = SystemClock().now()
    return ProviderEvent(
        svix_id=f"msg-{reminder_id}-{status}",
        type=f"email.{status}",
        occurred_at=now,
        accepted_at=now,
        email_id=f"e-{reminder_id}",
        reminder_id=reminder_id,
        status=status,
    )
