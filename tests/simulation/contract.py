"""The same random operations on the ledger in memory and on PostgreSQL, which must answer the same.

Both have the same pretended clock: on PostgreSQL `clock_timestamp()` and `now()` are found in a
schema of ours, before the real ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from sqlalchemy import event, text

from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.planning import EnrollmentPlanner
from reminders.db.plans import PlannedEnrollment
from reminders.db.provider import ProviderEvents
from reminders.db.rules import effective_rules
from reminders.domain.errors import NotFoundError
from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    ProviderEvent,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.domain.pace import Pace
from reminders.domain.ports import Destination, FrozenBatch, Reading, Settlement
from tests.simulation.planner import ModelPlanner
from tests.simulation.store import ModelLedger, Store

HOUR = timedelta(hours=1)
SINK = "tester@platform.example"
WORKERS: tuple[tuple[str, str], ...] = (("live", "a"), ("live", "b"), ("redirect", "a"))
"""Delivery mode and sender of each."""


class Pretended:
    """A clock that is set."""

    def __init__(self, at: datetime) -> None:
        """Stand still at this instant."""
        self.at = at

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self.at


class _Direct:
    """The way to the model: none."""

    async def ask(self, _name: str, work: Callable[[], Any]) -> Any:
        """See `store.Link.ask`."""
        return work()


@dataclass(slots=True)
class Frozen:
    """A batch as one worker has it, here and there."""

    worker: int
    real: FrozenBatch
    model: FrozenBatch


@dataclass(slots=True)
class Pair:
    """The same ledger twice."""

    database: Database
    clock: Pretended
    store: Store
    real: list[PostgresDeliveryLedger]
    model: list[ModelLedger]
    real_planner: EnrollmentPlanner
    model_planner: ModelPlanner
    events: ProviderEvents
    sessions: list[UUID]
    people: list[UUID]
    readings: list[tuple[dict[UUID, DeliveryFacts], dict[UUID, DeliveryFacts]]] = field(
        default_factory=list
    )
    batches: list[Frozen] = field(default_factory=list)
    plans: list[tuple[PlannedEnrollment, PlannedEnrollment]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What was done, and what came of it."""

    @classmethod
    async def made(cls, database: Database, random: Random) -> Pair:
        """Two sessions and three people, in both."""
        clock = Pretended(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5))
        await _pretend(database, clock.at)
        event.listen(database.engine.sync_engine, "connect", _look_there_first)
        await database.engine.dispose()
        store = Store(now=clock.now)
        way = _Direct()
        pair = cls(
            database=database,
            clock=clock,
            store=store,
            real=[],
            model=[],
            real_planner=EnrollmentPlanner(database, clock),
            model_planner=ModelPlanner(store, way, clock),
            events=ProviderEvents(database),
            sessions=[UUID(int=random.getrandbits(128), version=4) for _ in range(2)],
            people=[UUID(int=random.getrandbits(128), version=4) for _ in range(3)],
        )
        for n, (mode, sender) in enumerate(WORKERS):
            parts: dict[str, Any] = {
                "owner": f"w{n}",
                "pace": Pace.of(8),
                "destination": Destination.of(mode, SINK),
                "sender": sender,
            }
            pair.real.append(PostgresDeliveryLedger(database, clock, **parts))
            pair.model.append(ModelLedger(store, way, clock, **parts))
        await pair._fill()
        return pair

    async def _fill(self) -> None:
        async with self.database.transaction() as connection:
            for n, session_id in enumerate(self.sessions):
                starts_at = self.clock.at + 25 * HOUR
                session = Session(id=session_id, title=f"session {n}", starts_at=starts_at)
                self.store.set_session(session)
                await connection.execute(
                    text("INSERT INTO sessions (id, title, start_time) VALUES (:i, :t, :s)"),
                    {"i": session_id, "t": session.title, "s": starts_at},
                )
            for user_id in self.people:
                email = f"{user_id.hex[:4]}@hospital.example"
                self.store.users[user_id] = Attendee(user_id=user_id, email=email)
                await connection.execute(
                    text("INSERT INTO users (id, email) VALUES (:i, :e)"),
                    {"i": user_id, "e": email},
                )
            rules = await effective_rules(connection, self.sessions[0])
        self.store.rules = {rule.reminder_type: rule for rule in rules}

    # ------------------------------------------------------------ operations

    async def both(
        self,
        what: str,
        real: Callable[[], Awaitable[Any]],
        model: Callable[[], Awaitable[Any]],
        *,
        same: Callable[[Any], Any] = lambda answer: answer,
    ) -> tuple[Any, Any]:
        """Do something here and there, and compare what comes back."""
        answers = [await _answer(real), await _answer(model)]
        said = [same(a) if not isinstance(a, type) else a.__name__ for a in answers]
        self.told.append(f"{what} -> {said[1]}")
        assert said[0] == said[1], "\n".join([*self.told[-25:], f"PostgreSQL: {said[0]}"])
        return answers[0], answers[1]

    async def step(self, random: Random) -> None:
        """One operation, and now and then a look at all rows."""
        operation = random.choice(_OPERATIONS)
        await operation(self, random)
        if random.random() < 0.3:
            await self.compare()

    async def play(self, random: Random, operations: int) -> None:
        """So many operations, and a look at all rows at the end."""
        for _ in range(operations):
            await self.step(random)
        await self.compare()

    async def compare(self) -> None:
        """See that all rows are the same."""
        async with self.database.autocommit() as connection:
            tables = [
                (await connection.execute(text(query))).mappings().all()
                for query in (_ROWS, _BATCHES, _PACE, _UNCONFIRMED)
            ]
        real = [[tuple(row.values()) for row in table] for table in tables]
        assert real == self._dump(), "\n".join(self.told[-25:])

    def _dump(self) -> list[list[tuple[Any, ...]]]:
        store = self.store
        rows = [
            (r.id, r.status, r.reason, r.due_at, r.starts_at, r.sent_at, r.attempts, r.last_error,
             r.resend_email_id, r.batch_id, r.run_id, r.plan_version)
            for r in sorted(store.rows.values(), key=lambda r: r.id)
        ]  # fmt: skip
        batches = [
            (b.id, b.state, b.body, b.owner.partition(":")[0], b.lease_until, b.mode)
            for b in sorted(store.batches.values(), key=lambda b: b.id)
        ]
        is_held = store.held_until is not None
        pace = [
            (
                store.held_until,
                store.held_because if is_held else None,
                store.held_sender if is_held else None,
            )
        ]
        unconfirmed = [
            (*key, version, at) for key, (version, at) in sorted(store.unconfirmed.items())
        ]
        return [rows, batches, pace, unconfirmed]

    def _key(self, random: Random) -> tuple[UUID, UUID]:
        return random.choice(self.sessions), random.choice(self.people)

    def _ids(self, random: Random, most: int = 4) -> list[UUID]:
        waiting = [i for i, row in self.store.rows.items() if row.status.is_pending]
        known = sorted(waiting if waiting and random.random() < 0.8 else self.store.rows)
        ids = random.sample(known, min(len(known), random.randint(1, most)))
        return ids + [UUID(int=7)] * (random.random() < 0.1)

    # -- planning

    async def enroll(self, random: Random) -> None:
        """Also again, and unconfirmed."""
        key = self._key(random)
        status = random.choice([EnrollmentStatus.CONFIRMED] * 6 + [EnrollmentStatus.PENDING])
        await self._planned(
            f"enroll {status}",
            lambda: self.real_planner.enroll(*key, status=status),
            lambda: self.model_planner.enroll(*key, status=status),
        )

    async def plan_anew(self, random: Random) -> None:
        """However."""
        key = self._key(random)
        name = random.choice(("replan", "reconcile", "unenroll"))
        await self._planned(
            name,
            lambda: getattr(self.real_planner, name)(*key),
            lambda: getattr(self.model_planner, name)(*key),
        )

    async def distrust(self, random: Random) -> None:
        """Of a run that is not where it should be."""
        key = self._key(random)
        await self._planned(
            "distrust",
            lambda: self.real_planner.reconcile(*key, distrust=True),
            lambda: self.model_planner.reconcile(*key, distrust=True),
        )

    async def renew_plan(self, random: Random) -> None:
        """With a plan of before."""
        if self.plans:
            real, model = random.choice(self.plans[-6:])
            await self._planned(
                "renew plan",
                lambda: self.real_planner.renew(real),
                lambda: self.model_planner.renew(model),
            )

    async def confirm(self, random: Random) -> None:
        """A plan of before, or the newest."""
        if self.plans:
            (real, model), is_found = random.choice(self.plans[-6:]), random.random() < 0.5
            await self.both(
                f"confirm {model.version} {is_found}",
                lambda: self.real_planner.confirm(real, is_found=is_found),
                lambda: self.model_planner.confirm(model, is_found=is_found),
            )

    async def close_waiting(self, random: Random) -> None:
        """All of an enrollment, or what is old."""
        key, reason = self._key(random), StatusReason.WORKFLOW_CANCELLED
        before = random.choice((None, self.clock.at, self.clock.at - timedelta(minutes=5)))
        await self.both(
            "close_waiting",
            lambda: self.real_planner.close_waiting(*key, reason, planned_before=before),
            lambda: self.model_planner.close_waiting(*key, reason, planned_before=before),
        )

    async def _planned(self, what: str, real: Any, model: Any) -> None:
        plans = await self.both(what, real, model, same=_plan)
        if isinstance(plans[0], PlannedEnrollment):
            self.plans.append(plans)

    # -- the platform

    async def change_session(self, random: Random) -> None:
        """By SQL."""
        session = self.store.sessions[random.choice(self.sessions)]
        status = random.choice([SessionStatus.SCHEDULED] * 3 + [SessionStatus.CANCELLED])
        by = random.choice((0, 0, 0.5, 2, -1, 26)) * HOUR
        session = replace(session, status=status, starts_at=session.starts_at + by)
        self.store.set_session(session)
        await self._write(
            "UPDATE sessions SET status = :status, start_time = :at WHERE id = :id",
            status=status, at=session.starts_at, id=session.id,
        )  # fmt: skip

    async def change_preference(self, random: Random) -> None:
        """Somebody stops, or bounces, or takes it back."""
        person, reason = random.choice(self.people), random.choice(("opted_out", "bounced"))
        session = random.choice((None, None, *self.sessions))
        kind = random.choice((None, "2h"))
        entry = person, session, kind, reason
        of = {"u": person, "s": session, "k": kind, "r": reason}
        if entry in self.store.preferences:
            self.store.preferences.remove(entry)
            await self._write(
                "DELETE FROM reminder_preferences WHERE user_id = :u AND reason = :r"
                " AND session_id IS NOT DISTINCT FROM CAST(:s AS uuid)"
                " AND reminder_type IS NOT DISTINCT FROM CAST(:k AS text)",
                **of,
            )
        elif random.random() < 0.4:
            self.store.preferences.add(entry)
            await self._write(
                "INSERT INTO reminder_preferences (user_id, session_id, reminder_type, reason)"
                " VALUES (:u, :s, :k, :r)",
                **of,
            )

    async def change_rule(self, random: Random) -> None:
        """On or off."""
        kind = random.choice(sorted(self.store.rules))
        is_enabled = random.random() < 0.8
        self.store.rules[kind] = replace(self.store.rules[kind], is_enabled=is_enabled)
        await self._write(
            "UPDATE reminder_configurations SET is_enabled = :on WHERE reminder_type = :k",
            on=is_enabled, k=kind,
        )  # fmt: skip

    async def pass_time(self, random: Random) -> None:
        """A moment, or more than a lease."""
        await self.pass_by(
            random.choice(
                (timedelta(milliseconds=50), timedelta(seconds=6), timedelta(seconds=70), HOUR)
            )
        )

    async def pass_by(self, duration: timedelta) -> None:
        """For both."""
        self.clock.at += duration
        await self._write("UPDATE pretended.clock SET at = :at", at=self.clock.at)

    async def _write(self, statement: str, **values: Any) -> None:
        self.told.append(f"{statement[:40]} {list(values.values())[:2]}")
        async with self.database.transaction() as connection:
            await connection.execute(text(statement), values)

    # -- delivery

    async def read(self, random: Random) -> None:
        """Some reminders."""
        if not self.store.rows:
            return
        worker, ids = random.randrange(len(WORKERS)), self._ids(random)
        real, model = await self.both(
            f"read by {worker}",
            lambda: self.real[worker].read(ids),
            lambda: self.model[worker].read(ids),
            same=_reading,
        )
        if model.facts:
            self.readings.append(tuple({f.reminder.id: f for f in r.facts} for r in (real, model)))  # type: ignore[arg-type]

    async def freeze(self, random: Random) -> None:
        """What was read, now or a while ago."""
        if not self.readings:
            return
        worker = random.randrange(len(WORKERS))
        is_old = random.random() < 0.2
        real, model = random.choice(self.readings[-4:]) if is_old else self.readings[-1]
        is_odd = random.random() < 0.1  # nobody freezes what does not wait
        ids = [
            i
            for i in sorted(model)
            if is_odd or model[i].reminder.status is ReminderStatus.SCHEDULED
        ]
        random.shuffle(ids)
        sending = ids[: random.choice((len(ids), len(ids), random.randint(0, len(ids))))]
        closings = [
            Settlement(reminder_id=i, status=ReminderStatus.SKIPPED, reason=StatusReason.SUPERSEDED)
            for i in ids[len(sending) :]
        ]
        now = self.clock.at
        batch = FrozenBatch(
            id=UUID(int=random.getrandbits(128), version=4),
            reminder_ids=tuple(sending),
            body=b"[]",
            useful_until=now + 2 * HOUR,
            frozen_at=now,
            repeatable_until=random.choice((None, now + timedelta(minutes=5), now + HOUR)),
        )
        run_ids = dict.fromkeys(ids, "run")
        if not sending and not closings:
            return
        stored = batch if sending else None
        wait, _ = await self.both(
            f"freeze {len(sending)} and {len(closings)} by {worker}",
            lambda: self.real[worker].freeze(
                stored, closings, facts=_whenever(real), run_ids=run_ids
            ),
            lambda: self.model[worker].freeze(
                stored, closings, facts=_whenever(model), run_ids=run_ids
            ),
        )
        if sending and wait is not None:
            self.batches.append(Frozen(worker, batch, batch))

    async def read_and_freeze(self, random: Random) -> None:
        """As a delivery does."""
        await self.read(random)
        await self.freeze(random)

    async def read_change_and_freeze(self, random: Random) -> None:
        """As a delivery does, and somebody comes in between."""
        await self.read(random)
        await random.choice((Pair.move_last, Pair.move_last, Pair.move_last, Pair.close_waiting))(
            self, random
        )
        await self.freeze(random)

    async def take_over(self, random: Random) -> None:
        """A batch whose owner has been silent for a while."""
        await self.read_and_freeze(random)
        await self.pass_by(timedelta(seconds=6))
        await self.resume(random)
        await self.with_batch(random)

    async def move_last(self, random: Random) -> None:
        """What was read last: it is due at another instant, and waits as before."""
        if not self.readings:
            return
        real, model = self.readings[-1]
        for key in sorted(model):
            due_at = self.clock.at + HOUR
            await self.both(
                "move",
                lambda: self.real[0].move(real[key], due_at),  # noqa: B023
                lambda: self.model[0].move(model[key], due_at),  # noqa: B023
            )

    async def move(self, random: Random) -> None:
        """A reminder that waits."""
        if not self.readings:
            return
        real, model = random.choice(self.readings[-3:])
        key = random.choice(sorted(model))
        due_at = self.clock.at + HOUR
        await self.both(
            "move",
            lambda: self.real[0].move(real[key], due_at),
            lambda: self.model[0].move(model[key], due_at),
        )

    async def settle(self, random: Random) -> None:
        """A batch, whoever has it by now."""
        if not self.batches:
            return
        frozen = random.choice(self.batches[-5:])
        outcome = random.choice(("sent", "sent", "unknown", "mixed"))
        settlements = [
            Settlement(reminder_id=i, status=ReminderStatus.SENT, resend_email_id=f"e-{i.hex[:6]}")
            if outcome == "sent" or (outcome == "mixed" and n % 2)
            else Settlement(
                reminder_id=i,
                status=ReminderStatus.FAILED,
                reason=StatusReason.OUTCOME_UNKNOWN,
                error="lost",
            )
            for n, i in enumerate(frozen.model.reminder_ids)
        ]
        worker = random.randrange(len(WORKERS))
        await self.both(
            f"settle {outcome} by {worker}",
            lambda: self.real[worker].settle(frozen.real.id, settlements),
            lambda: self.model[worker].settle(frozen.model.id, settlements),
        )

    async def resume(self, random: Random) -> None:
        """A batch whose owner is silent."""
        if not self.batches:
            return
        worker, frozen = random.randrange(len(WORKERS)), random.choice(self.batches[-5:])
        real, model = await self.both(
            f"resume by {worker}",
            lambda: self.real[worker].resume(frozen.real.id),
            lambda: self.model[worker].resume(frozen.model.id),
            same=_resumed,
        )
        if real is not None and real[0].body is not None:
            self.batches.append(Frozen(worker, real[0], model[0]))

    async def with_batch(self, random: Random) -> None:
        """What an owner does, or somebody who was one."""
        if not self.batches:
            return
        frozen = random.choice(self.batches[-5:])
        worker = frozen.worker if random.random() < 0.8 else random.randrange(len(WORKERS))
        verb, how = random.choice(
            (
                ("release", {}),
                ("renew", {}),
                ("yield_lease", {"retry_in": timedelta(seconds=3)}),
                ("again", {"at_least": timedelta(seconds=random.choice((0, 2)))}),
                ("recheck", {}),
            )
        )
        await self.both(
            f"{verb} by {worker}",
            lambda: getattr(self.real[worker], verb)(frozen.real, **how),
            lambda: getattr(self.model[worker], verb)(frozen.model, **how),
            same=_resumed,
        )

    async def look(self, random: Random) -> None:
        """At what is in doubt, frozen or stranded, and take a place in the pace."""
        worker, ids = random.randrange(len(WORKERS)), [f.real.id for f in self.batches[-5:]]
        real, model = self.real[worker], self.model[worker]
        await self.both(
            f"in_doubt of {worker}",
            lambda: real.in_doubt(limit=50),
            lambda: model.in_doubt(limit=50),
            same=sorted,
        )
        await self.both("frozen", lambda: real.frozen(ids), lambda: model.frozen(ids), same=set)
        await self.both(
            "stranded",
            real.stranded,
            model.stranded,
            same=lambda found: sorted((s.batch_id, s.reminders, s.mode) for s in found),
        )
        wait = timedelta(seconds=random.choice((0, 0, 1)))
        await self.both("pace", lambda: real.pace(at_least=wait), lambda: model.pace(at_least=wait))

    async def hold(self, random: Random) -> None:
        """For a quota, or for a key."""
        worker = random.randrange(len(WORKERS))
        reason = random.choice((StatusReason.QUOTA, StatusReason.MISCONFIGURED))
        lasts = timedelta(seconds=random.choice((0, 1, 5)))
        await self.both(
            f"hold {reason} by {worker}",
            lambda: self.real[worker].hold(reason, lasts=lasts),
            lambda: self.model[worker].hold(reason, lasts=lasts),
        )

    async def close(self, random: Random) -> None:
        """Of a plan, or whatever waits."""
        if not self.store.rows:
            return
        ids = self._ids(random)
        reason = random.choice((StatusReason.EXPIRED, StatusReason.NOT_FOUND))
        version = random.choice((None, 2, self.store.plan_version))
        await self.both(
            f"close {reason} {version}",
            lambda: self.real[0].close(ids, ReminderStatus.FAILED, reason, plan_version=version),
            lambda: self.model[0].close(ids, ReminderStatus.FAILED, reason, plan_version=version),
        )

    async def provider_event(self, random: Random) -> None:
        """Also twice, and of an e-mail of before."""
        if not self.store.rows:
            return
        reminder_id = random.choice(sorted(self.store.rows))
        status = random.choice(
            (ReminderStatus.SENT, ReminderStatus.DELIVERED, ReminderStatus.COMPLAINED)
        )
        told = ProviderEvent(
            svix_id=f"msg_{random.randrange(400)}",
            type=f"email.{status}",
            occurred_at=self.clock.at,
            email_id=random.choice((f"e-{reminder_id.hex[:6]}", "e-other")),
            reminder_id=random.choice((reminder_id, None)),
            accepted_at=self.clock.at - timedelta(seconds=9),
            status=status,
        )

        async def model() -> bool:
            return self.store.record(told)

        await self.both(f"event {status}", lambda: self.events.record(told), model)


_OPERATIONS = (
    *6 * [Pair.enroll], Pair.plan_anew, *2 * [Pair.distrust], Pair.renew_plan, Pair.confirm,
    Pair.change_session, Pair.change_preference, Pair.change_rule,
    *2 * [Pair.pass_time], Pair.read, *2 * [Pair.freeze], *3 * [Pair.read_and_freeze], *3 * [Pair.read_change_and_freeze], *3 * [Pair.take_over], Pair.move, *3 * [Pair.settle],
    *3 * [Pair.resume], *3 * [Pair.with_batch], Pair.look, Pair.hold, Pair.close,
    Pair.provider_event,
)  # fmt: skip


async def _answer(call: Callable[[], Awaitable[Any]]) -> Any:
    """What comes back, or the class of what is raised."""
    try:
        return await call()
    except NotFoundError as error:
        return type(error)


def _plan(answer: PlannedEnrollment | tuple[PlannedEnrollment, int]) -> tuple[Any, ...]:
    planned = answer if isinstance(answer, PlannedEnrollment) else answer[0]
    return (
        planned.version,
        planned.is_first,
        planned.is_changed,
        planned.is_unconfirmed,
        planned.is_revived,
        planned.cancelled,
        planned.written,
        planned.called_off,
        [
            (r.id, r.generation, r.due_at, r.starts_at, r.status, r.reason)
            for r in planned.reminders
        ],
    )


def _whenever(facts: Mapping[UUID, DeliveryFacts]) -> list[DeliveryFacts]:
    """As if just read: PostgreSQL's clock does not jump with the model's."""
    return [replace(f, read_at=None) for f in facts.values()]


def _reading(reading: Reading) -> tuple[Any, ...]:
    facts = sorted(reading.facts, key=lambda f: f.reminder.id)
    hold = reading.hold
    return (
        (hold.until, hold.reason, hold.sender) if hold else None,
        [
            (
                f.reminder.id,
                f.reminder.status,
                f.reminder.batch_id,
                f.session and (f.session.starts_at, f.session.status),
                f.attendee,
                f.enrollment_status,
                f.rule and (f.rule.reminder_type, f.rule.lead, f.rule.is_enabled),
                f.next_due_at,
                f.stopped,
                f.moved_from,
                f.was_told,
                f.turn,
            )
            for f in facts
        ],
    )


def _resumed(answer: Any) -> Any:
    if answer is None:
        return None
    batch, wait = answer if isinstance(answer, tuple) else (answer, None)
    return (
        batch.id,
        batch.reminder_ids,
        batch.useful_until,
        batch.repeatable_until,
        batch.unrepeatable is None,
        wait,
    )


def _look_there_first(connection: Any, _record: object) -> None:
    """Find the pretended clock's functions before PostgreSQL's own."""
    path = "SET search_path TO pretended, pg_catalog, public"
    connection.run_async(lambda driver: driver.execute(path))


async def _pretend(database: Database, at: datetime) -> None:
    columns = {
        "session_reminder_emails": ("created_at", "updated_at"),
        "unconfirmed_plans": ("planned_at",),
    }
    async with database.transaction() as connection:
        for statement in (
            "CREATE SCHEMA pretended",
            "CREATE TABLE pretended.clock AS SELECT CAST(NULL AS timestamptz) AS at",
            *(
                f"CREATE FUNCTION pretended.{name}() RETURNS timestamptz LANGUAGE sql STABLE"
                " AS 'SELECT at FROM pretended.clock'"
                for name in ("now", "clock_timestamp")
            ),
            *(
                f"ALTER TABLE {table} ALTER {column} SET DEFAULT pretended.now()"
                for table, names in columns.items()
                for column in names
            ),
        ):
            await connection.execute(text(statement))
        await connection.execute(text("UPDATE pretended.clock SET at = :at"), {"at": at})


_ROWS = """
SELECT id, email_status, status_reason, due_at, starts_at, sent_at, attempts, last_error,
       resend_email_id, batch_id, run_id, plan_version
  FROM session_reminder_emails ORDER BY id
"""
_BATCHES = """
SELECT id, state, body, split_part(owner, ':', 1), lease_until, delivery_mode
  FROM email_batches ORDER BY id
"""
_PACE = """
SELECT held_until, CASE WHEN held_until IS NOT NULL THEN held_because END,
       CASE WHEN held_until IS NOT NULL THEN held_sender END FROM provider_pace
"""
_UNCONFIRMED = """
SELECT session_id, user_id, version, planned_at FROM unconfirmed_plans ORDER BY 1, 2
"""
