"""Plays one story: workers with the real pipeline, on models of what is around them.

One event loop, one thread, no real time. What is random is drawn from the story's seed, so a seed
is played the same way every time. `Evidence` is what is left when all is over.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

from activities.delivery import DeliveryActivities
from reminders.clock import SharedClock
from reminders.delivery.doubt import Doubts
from reminders.delivery.pipeline import DeliveryPipeline
from reminders.delivery.policy import DeliveryPolicy
from reminders.delivery.waking import Waking
from reminders.delivery.watching import Watches
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import DatabaseUnavailableError, NotFoundError, ServiceUnavailableError
from reminders.domain.model import (
    Attendee,
    EnrollmentStatus,
    Notice,
    ProviderEvent,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
)
from reminders.domain.pace import Pace
from reminders.domain.ports import Composer, Destination, Enrollment
from starter.services.handover import HandedOver
from tests.simulation.parts import Services
from tests.simulation.planner import ModelPlanner
from tests.simulation.provider import (
    SINK,
    CheapComposer,
    Provider,
    SimulatedMailer,
    Weather,
)
from tests.simulation.store import ModelLedger, Row, Store
from tests.simulation.story import Story
from tests.simulation.temporal import ModelWorkflows, TemporalServer, Worker, installed
from tests.simulation.virtual import EPOCH, Process, SkewedClock, VirtualLoop

_T = TypeVar("_T")
_HEARD = timedelta(milliseconds=20)
"""How long PostgreSQL's answer about the time is under way."""
_LONG_ENOUGH = 240.0
"""Seconds in which a run that is cancelled by hand ends, if some worker lives."""
_REPEATED = 30
"""Times that a client repeats a call until it is answered."""
_MISSED = 15.0
"""Seconds until an activity whose worker is dead is tried again."""
SETTLING = 420.0
"""Seconds after a story in which everything comes to rest."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Somebody was told that these are called off."""

    at: datetime
    what: str
    reminder_ids: frozenset[UUID]


@dataclass(slots=True)
class Evidence:
    """What is left of a schedule; see `invariants`."""

    story: Story
    store: Store
    provider: Provider
    temporal: TemporalServer
    receipts: list[Receipt]
    confirmations: dict[tuple[UUID, UUID], list[tuple[datetime, datetime]]]
    """When a call, or a sweep, that had read the ledger was sure that the run follows it."""
    by_hand: list[tuple[datetime, tuple[UUID, UUID], bool]]
    """Whose run an operator cancelled, or who was enrolled by a call, which ends that."""
    ended_by_hand: list[tuple[datetime, tuple[UUID, UUID], bool]]
    """The same, from when on the run has ended as Canceled: that is the receipt."""
    sure: list[tuple[datetime, tuple[UUID, UUID], int | None]]
    """Calls that asked whether there is a newer plan, when, and which was handed over in the end;
    none if they were not sure of any."""
    ill: list[tuple[datetime, datetime]]
    """When something was not well."""
    troubles: list[tuple[datetime, datetime, Weather]]
    before_events: dict[UUID, ReminderStatus]
    """Rows with the provider's id, before it told by events what became of its e-mails."""
    webhooks: set[str]
    """Ids of e-mails of which an event was taken in."""
    steps: int
    seconds: float
    failures: list[str]
    settled_at: datetime


class _Way:
    """A process's way to the database: takes time, and loses some calls before or after."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name

    async def ask(self, name: str, work: Callable[[], _T]) -> _T:
        """See `store.Link.ask`."""
        world = self._world
        loop, r = world.loop, world.random
        answered: asyncio.Future[_T] = loop.create_future()

        def arrive() -> None:
            lost = world.is_database_away or (world.loses and r.random() < world.loses)
            if lost and (world.is_database_away or r.random() < 0.5):
                world.note(self._name, "{}: lost on the way there", name)
                loop.outside(0.001, _fail, answered, DatabaseUnavailableError())
                return
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it is the caller's
                loop.outside(0.001, _fail, answered, error)
                return
            if world.trace is not None:
                world.note(self._name, "{} -> {}", name, _short(result))
            if lost:
                world.note(self._name, "{}: its answer is lost", name)
                loop.outside(0.001, _fail, answered, DatabaseUnavailableError())
            elif r.random() < 0.4:
                loop.outside(r.random() * 0.02, _give, answered, result)
            else:
                _give(answered, result)

        chance = r.random()
        loop.outside(chance * 0.01 if chance < 0.97 else r.random() * 2.5, arrive)
        return await answered


class World:
    """See the module."""

    def __init__(
        self,
        story: Story,
        *,
        trace: Callable[[str], None] | None = None,
        composer: Callable[[str], Composer] = CheapComposer,
    ) -> None:
        """Prepare a story.

        Args:
            story: What happens.
            trace: Takes every line of what happens.
            composer: Makes the composer of a delivery mode.
        """
        self.story = story
        self.trace = trace
        self.random = Random(story.seed ^ 0x5EED)
        self.composer = composer
        self.loop = VirtualLoop(keepers=_keepers())
        self.is_database_away = False
        self.loses = story.loses
        self.store = Store(now=self.loop.now)
        self.store.lead_in = timedelta(seconds=story.lead_in) if story.lead_in else None
        self.provider = Provider(self.loop, Random(story.seed ^ 0xFACE))
        self.temporal = TemporalServer(self.loop, Random(story.seed ^ 0x7E3), self.note)
        self.loop.is_quiet = lambda: self.store.in_doubt == 0
        self.sessions = [UUID(int=0x5E5510 << 100 | n) for n in range(len(story.starts))]
        self.people = [UUID(int=0xA77E << 108 | n) for n in range(story.people)]
        self.workers: dict[int, Worker] = {}
        self.receipts: list[Receipt] = []
        self.confirmations: dict[tuple[UUID, UUID], list[tuple[datetime, datetime]]] = {}
        self.by_hand: list[tuple[datetime, tuple[UUID, UUID], bool]] = []
        self.ended_by_hand: list[tuple[datetime, tuple[UUID, UUID], bool]] = []
        self.sure: list[tuple[datetime, tuple[UUID, UUID], int | None]] = []
        self.ill: list[tuple[datetime, datetime]] = []
        self.troubles: list[tuple[datetime, datetime, Weather]] = []
        self.before_events: dict[UUID, ReminderStatus] = {}
        self.webhooks: set[str] = set()
        self._ill_since: dict[str, datetime] = {}
        self._weather_since = EPOCH
        self._calls = count()
        self._seen = 0
        for n, starts in enumerate(story.starts):
            at = EPOCH + timedelta(seconds=starts)
            self.store.set_session(Session(id=self.sessions[n], title=f"session {n}", starts_at=at))
        for n, user in enumerate(self.people):
            self.store.users[user] = Attendee(user_id=user, email=f"p{n}@hospital.example")
        for kind, minutes in story.leads:
            self.store.rules[kind] = ReminderRule(
                reminder_type=kind,
                lead=timedelta(minutes=minutes),
                is_enabled=True,
                subject_template="Reminder: {session_title}",
                display_name=kind,
                sort_order=1,
            )
        for notice in Notice if story.has_notices else ():
            self.store.rules[notice.value] = replace(
                self.store.rules[story.leads[0][0]],
                reminder_type=notice.value,
                lead=timedelta(),
                is_enabled=notice is not Notice.CONFIRMED or story.confirms,
            )
        if story.bad_person is not None:
            self.provider.bad_address = f"p{story.bad_person}@hospital.example"
        if story.dislikes is not None:
            self.provider.disliked = f"p{story.dislikes}@hospital.example"
        self._services = self._made_services("sweep")

    # ------------------------------------------------------------ playing

    def play(self) -> Evidence:
        """Play it to the end.

        Raises:
            EndlessError: If it has none.
        """
        ids = Random(self.story.seed ^ 0x1D5)
        seeded = SimpleNamespace(urandom=ids.randbytes)
        jitter = SimpleNamespace(uniform=self.random.uniform)
        with (
            installed(),
            patch.object(uuid, "os", seeded),
            patch("activities.failures.random", jitter),
            patch("reminders.delivery.posting.ticks", self.loop.time),
        ):
            try:
                self.loop.run_until_complete(self.loop.create_task(self._play()))
                return self._evidence()
            finally:
                self.loop.end()

    async def _play(self) -> None:
        story = self.story
        for n in range(story.workers):
            self._revive(n, "live")
        self._look_at_health()
        for event in story.events:
            await self._until(event.at)
            self.note("story", "{} {}", event.verb, " ".join(str(a) for a in event.arguments))
            getattr(self, "_" + event.verb.replace(" ", "_"))(*event.arguments)
            self._look_at_health()
        await self._until(self.loop.time() + 61)
        await self._swept()
        last = max(s.starts_at for s in self.store.sessions.values())
        await self._until(max(self.loop.time(), (last - EPOCH).total_seconds() + 90))
        self.note("story", "all is well from now on")
        self.provider.weather = Weather.FINE
        self.is_database_away = self.temporal.is_away = False
        self.loses = 0.0
        for n in range(story.workers):
            process = self.workers[n].process
            if process.paused is not None:
                self.loop.resume(process)
            process.is_dead = True
        self._revive(0, "live")
        self.temporal.poll()
        await self._until(self.loop.time() + SETTLING / 2)
        await self._swept()
        await self._until(self.loop.time() + SETTLING / 2)
        await self._swept()
        self.before_events = {
            row.id: row.status for row in self.store.rows.values() if row.resend_email_id
        }
        self._deliver_webhooks()
        await self._until(self.loop.time() + 65)

    async def _until(self, second: float) -> None:
        left = second - self.loop.time()
        if left > 0:
            await asyncio.sleep(left)

    def note(self, who: str, what: str, *details: object) -> None:
        """Tell the trace."""
        if self.trace is not None:
            self.trace(f"{self.loop.time():10.3f}  {who:9}  {what.format(*details)}")

    def _evidence(self) -> Evidence:
        self._weather(Weather.FINE)
        self._ill_ends("all")
        return Evidence(
            story=self.story,
            store=self.store,
            provider=self.provider,
            temporal=self.temporal,
            receipts=self.receipts,
            confirmations=self.confirmations,
            by_hand=self.by_hand,
            ended_by_hand=self.ended_by_hand,
            sure=self.sure,
            ill=self.ill,
            troubles=self.troubles,
            before_events=self.before_events,
            webhooks=self.webhooks,
            steps=self.loop.steps,
            seconds=self.loop.time(),
            failures=[*self.loop.failures, *self.loop.errors(), *self.temporal.failures],
            settled_at=self.loop.now(),
        )

    # ------------------------------------------------------------ workers

    def _revive(self, n: int, mode: str) -> None:
        """Start a worker, in the place of one that is dead."""
        story, old = self.story, self.workers.get(n)
        if old is not None:
            if old in self.temporal.workers:
                self.temporal.workers.remove(old)
            old.process.is_dead = True
        process = Process(f"worker {n}")
        # Whoever has a connection has heard PostgreSQL's clock, and lags by the answer's way.
        clock = SharedClock(
            SkewedClock(self.loop, timedelta(seconds=story.skews[n])), self.loop.time
        )
        clock.hear(self.loop.now() - _HEARD, asked=self.loop.time() - _HEARD.total_seconds())
        key = self.provider.old_key if story.old_keys[n] else "new"
        pipeline = DeliveryPipeline(
            ledger=ModelLedger(
                self.store,
                _Way(self, process.name),
                clock,
                owner=f"w{n}-{self.loop.steps}",
                pace=Pace.of(8),
                destination=Destination.of(mode, SINK),
                sender=key,
            ),
            composer=self.composer(mode),
            mailer=SimulatedMailer(
                self.provider, process, self.random, clock, mode=mode, api_key=key
            ),
            clock=clock,
            policy=DeliveryPolicy(batch_size=story.batch_size),
        )
        worker = self.workers[n] = Worker(process, DeliveryActivities(pipeline), mode)

        async def live() -> None:
            async with pipeline.running():
                await self.loop.create_future()

        self.loop.create_task(live(), context=process.context.copy())
        self.temporal.workers.append(worker)
        self.temporal.poll()

    def _die(self, n: int) -> None:
        self.workers[n].process.is_dead = True

    def _pause(self, n: int) -> None:
        if self.workers[n].is_polling:
            self.workers[n].process.paused = []

    def _go_on(self, n: int) -> None:
        if self.workers[n].process.paused is not None:
            self.loop.resume(self.workers[n].process)
            self.temporal.poll()

    def _database(self, is_there: bool) -> None:
        self.is_database_away = not is_there

    def _temporal(self, is_there: bool) -> None:
        self.temporal.is_away = not is_there

    def _lose_answers(self, part: float) -> None:
        self.loses = part

    def _weather(self, weather: Weather) -> None:
        now, was = self.loop.now(), self.provider.weather
        if was is not Weather.FINE:
            self.troubles.append((self._weather_since, now, was))
        self.provider.weather, self._weather_since = weather, now

    def _look_at_health(self) -> None:
        """Note since when something is not well, so that nothing is expected of that time."""
        story = self.story
        able = [
            n
            for n, w in self.workers.items()
            if w.is_polling
            and w.mode == "live"  # what was frozen in this mode waits for it
            and not story.old_keys[n]
        ]
        self._is_ill("worker", is_so=not able)
        self._is_ill("database", is_so=self.is_database_away or self.loses > 0)
        self._is_ill("temporal", is_so=self.temporal.is_away)
        # Who is refused for one person's sake, or for an old key, keeps nobody else.
        alone = (Weather.FINE, Weather.FIREWALL, Weather.REFUSES_ONE, Weather.REFUSES_KEY)
        self._is_ill("provider", is_so=self.provider.weather not in alone)

    def _is_ill(self, what: str, *, is_so: bool) -> None:
        if is_so:
            self._ill_since.setdefault(what, self.loop.now())
        elif (since := self._ill_since.pop(what, None)) is not None:
            self.ill.append((since, self.loop.now()))

    def _ill_ends(self, _what: str) -> None:
        for since in self._ill_since.values():
            self.ill.append((since, self.loop.now()))

    # ------------------------------------------------------------ people and the platform

    def _made_services(self, name: str) -> Services:
        way = _Way(self, name)
        clock = SkewedClock(self.loop)
        planner = ModelPlanner(self.store, way, clock, enrolled=self._enrolled)
        workflows = ModelWorkflows(self.temporal, self.random, loses=lambda: self.loses)
        return Services(planner, workflows)

    async def _enrolled(
        self, session_id: UUID, *, after: UUID | None = None, limit: int = 1000
    ) -> list[UUID]:
        """See `Catalogue.enrolled`."""
        return sorted(
            user
            for (session, user), status in self.store.enrollments.items()
            if session == session_id and status is not EnrollmentStatus.CANCELLED
        )

    def _call(self, work: Callable[[Services], Any], told: str = "call") -> None:
        """Somebody calls us; their process may die on the way, and repeats if it is told no."""
        process = Process(f"call {next(self._calls)}")

        async def calling() -> None:
            services = self._made_services(process.name)
            for _ in range(_REPEATED):
                try:
                    await work(services)
                except ServiceUnavailableError as error:
                    self.note(process.name, "{}", type(error).__name__)
                    await asyncio.sleep(self.random.choice((0.5, 3.0, 10.0)))
                except NotFoundError:
                    return
                else:
                    return

        self.loop.create_task(calling(), context=process.context.copy())
        if told == "call and die":
            self.loop.outside(self.random.random() * 0.15, setattr, process, "is_dead", True)

    def _key(self, person: int, session: int) -> tuple[UUID, UUID]:
        return self.sessions[session % len(self.sessions)], self.people[person]

    def _enroll(self, person: int, session: int, told: str = "call") -> None:
        key = self._key(person, session)
        if told == "sweep":
            self._platform(lambda: self.store.set_enrollment(key, EnrollmentStatus.CONFIRMED))
            return

        def meant() -> None:
            self.by_hand.append((self.loop.now(), key, False))
            self.ended_by_hand.append((self.loop.now(), key, False))

        async def work(services: Services) -> None:
            planned = await services.planner.enroll(*key, meant=meant)
            began = self.loop.now()
            handed = await services.handover.hand_over(planned, enrolling=True)
            self._handed_over(services, key, handed)
            if handed.is_confirmed:
                self._confirmed(key, began)

        self._call(work, told)

    def _wait_list(self, person: int, session: int) -> None:
        key = self._key(person, session)

        async def work(services: Services) -> None:
            planned = await services.planner.enroll(
                *key, status=EnrollmentStatus.PENDING, meant=lambda: None
            )
            await services.handover.hand_over(planned, enrolling=True)

        self._call(work)

    def _unenroll(self, person: int, session: int, told: str) -> None:
        key = self._key(person, session)
        if self.store.enrollments.get(key) is None:
            return
        if told == "sweep":
            self._platform(lambda: self.store.set_enrollment(key, EnrollmentStatus.CANCELLED))
            return

        async def work(services: Services) -> None:
            planned, _ = await services.planner.unenroll(*key)
            ids = frozenset(r.id for r in planned.reminders if r.status is ReminderStatus.CANCELLED)
            self.receipts.append(Receipt(self.loop.now(), f"unenroll {person}", ids))
            handed = await services.handover.hand_over(planned)
            self._handed_over(services, key, handed)

        self._call(work, told)

    def _handed_over(self, services: Services, key: tuple[UUID, UUID], handed: HandedOver) -> None:
        version = handed.planned.version if handed.is_confirmed else None
        self.sure.append((services.planner.asked_at or self.loop.now(), key, version))

    def _move(self, session: int, by: float, told: str) -> None:
        found = self.store.sessions[self.sessions[session % len(self.sessions)]]
        self._change(replace(found, starts_at=found.starts_at + timedelta(seconds=by)), told)

    def _cancel(self, session: int, told: str) -> None:
        found = self.store.sessions[self.sessions[session]]
        self._change(replace(found, status=SessionStatus.CANCELLED), told)

    def _restore(self, session: int, told: str) -> None:
        found = self.store.sessions[self.sessions[session]]
        self._change(replace(found, status=SessionStatus.SCHEDULED), told)

    def _rule_off(self, kind: str, told: str) -> None:
        rules = self.store.rules

        def work() -> None:
            rules[kind] = replace(rules[kind], is_enabled=False)
            self.store.timeline.append((self.loop.now(), "rule", kind, False))

        self._platform(work)
        if told != "sweep":
            for session_id in self.sessions:
                self._pass_on(session_id)

    def _opt_out(self, person: int) -> None:
        user = self.people[person]

        def work() -> None:
            self.store.preferences.add((user, None, None, "opted_out"))
            self.store.timeline.append((self.loop.now(), "stopped", user, True))

        self._platform(work)

    def _cancel_by_hand(self, person: int, session: int) -> None:
        key = self._key(person, session)
        run = self.temporal.newest(f"session-reminder:{key[0]}:{key[1]}")
        if run is not None and run.is_running and not run.cancel_requested:
            self.by_hand.append((self.loop.now(), key, True))
            run.request_cancel("")
            asked = self.loop.now()

            def ended(_: object) -> None:
                revived = any(
                    k == key and at > asked and not is_so for at, k, is_so in self.by_hand
                )
                if run.status == "canceled" and not revived:
                    self.ended_by_hand.append((self.loop.now(), key, True))

            run.ended.add_done_callback(ended, context=Context())
            self.loop.outside(_LONG_ENOUGH, lambda: self._should_have_ended(key, asked))

    def _should_have_ended(self, key: tuple[UUID, UUID], asked: datetime) -> None:
        """Whatever happened since: what was cancelled by hand so long ago is not wanted any more."""
        if not any(k == key and at > asked for at, k, _ in self.ended_by_hand):
            self.ended_by_hand.append((self.loop.now(), key, True))

    def _change(self, session: Session, told: str) -> None:
        """The platform changes a session, and tells us by a call or not at all.

        By the call nobody is told of it, if it is quiet.
        """

        async def work(services: Services) -> None:
            await services.planner.of_platform(
                "put session",
                lambda: self.store.set_session(session, tell_nobody=told == "quiet"),
            )
            self._pass_on(session.id, dies=told == "call, and who passes it on dies")

        if told == "sweep":
            self._platform(lambda: self.store.set_session(session))
        else:
            self._call(work, told)

    def _platform(self, work: Callable[[], None]) -> None:
        """The platform writes its own tables, which is not lost."""
        self.loop.outside(0.001, work)

    def _pass_on(self, session_id: UUID, *, dies: bool = False) -> None:
        """`SessionChangeWorkflow`: goes on until all are planned anew, whatever happens."""
        process = Process("change")

        async def passing_on() -> None:
            began = self.loop.now()
            services = self._made_services("change")
            while True:
                try:
                    page = await services.replanner.replan_page(
                        session_id, after=None, limit=100, since=began
                    )
                except ServiceUnavailableError:
                    await asyncio.sleep(2)
                else:
                    break
            if page.counts.unconfirmed == 0:
                for user in await self._enrolled(session_id):
                    self._confirmed((session_id, user), began)

        def go(context: Context) -> None:
            self.loop.create_task(passing_on(), context=context)

        if dies:
            self.loop.outside(0.01, go, process.context.copy())
            self.loop.outside(0.01 + self.random.random() * 0.4, setattr, process, "is_dead", True)
            self.loop.outside(_MISSED, go, Context())
        else:
            self.loop.outside(0.01, lambda: self.loop.create_task(passing_on()))

    def _confirmed(self, key: tuple[UUID, UUID], began: datetime) -> None:
        self.confirmations.setdefault(key, []).append((began, self.loop.now()))

    # ------------------------------------------------------------ the sweep

    def _sweep(self) -> None:
        self.loop.create_task(self._swept())

    async def _swept(self) -> None:
        """One run of the sweep: the real repair of whoever a look at the tables finds."""
        began = self.loop.now()
        is_complete = True
        for kind, key in list(self._suspects()):
            try:
                await self._services.reconciler.repair(Enrollment(*key), kind)
            except ServiceUnavailableError:
                is_complete = False
        if is_complete:
            for key in self.store.enrollments:
                self._confirmed(key, began)

    def _suspects(self) -> Iterator[tuple[SweepKind, tuple[UUID, UUID]]]:
        """What the queries of `reminders.db.sweep` find, in the sweep's order."""
        store, now = self.store, self.loop.now()
        for key, (_, planned_at) in list(store.unconfirmed.items()):
            if planned_at < now - timedelta(minutes=1):
                yield SweepKind.UNCONFIRMED, key
        for key in list(store.enrollments):
            if self._has_drifted(key):
                yield SweepKind.DRIFTED, key
        for key, rows in list(store.of_enrollment.items()):
            waiting = [r for r in rows if r.status is ReminderStatus.SCHEDULED]
            if any(r.due_at < now - timedelta(minutes=2) for r in waiting):
                yield SweepKind.OVERDUE, key
            elif any(r.due_at < now + timedelta(minutes=35) for r in waiting):
                run = self.temporal.newest(f"session-reminder:{key[0]}:{key[1]}")
                if run is None or not run.is_running:
                    yield SweepKind.MISSING, key

    def _has_drifted(self, key: tuple[UUID, UUID]) -> bool:
        """Whether a plan made now would change something."""
        before = self.store.plan_version
        planner = ModelPlanner(_Dry(self.store), _NoWay(), SkewedClock(self.loop))  # type: ignore[arg-type]
        session = self.store.sessions[key[0]]
        planned = planner._plan(session, key[1], planner._recorded(key), planner._situation(key))
        self.store.plan_version = before
        return planned.is_changed

    # ------------------------------------------------------------ webhooks

    def _deliver_webhooks(self) -> None:
        """Events of most of what was accepted, some of them twice, in any order."""
        told = [a for a in self.provider.accepted if self.random.random() < 0.7]
        told += [a for a in told if self.random.random() < 0.2]
        self.random.shuffle(told)
        for accepted in told:
            event = ProviderEvent(
                svix_id=f"msg_{accepted.email_id}",
                type="email.delivered",
                occurred_at=self.loop.now(),
                email_id=accepted.email_id,
                reminder_id=accepted.reminder_id,
                accepted_at=accepted.at,
                status=ReminderStatus.DELIVERED,
            )
            self.webhooks.add(accepted.email_id)
            self.loop.outside(self.random.random() * 30, self.store.record, event)


class _NoWay:
    """Nothing is asked."""


class _Dry:
    """A store that is read and not written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def add(self, _row: Row) -> None:
        """Not really."""

    def touch(self, _row: Row, _status: object = None, **_values: object) -> None:
        """Not really."""

    unconfirmed: dict[Any, Any] = {}  # noqa: RUF012 - never kept


def _keepers() -> frozenset[Any]:
    """Loops that only look: taken as they are now, so that a mutant's are known too."""
    return frozenset(
        function.__code__
        for function in (
            DeliveryPipeline._recover,
            Watches.quota,
            Watches.stranded,
            Waking.watch,
            Doubts.watch,
        )
    )


def _give(future: asyncio.Future[Any], answer: object) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()


def _short(result: object) -> str:
    text = repr(result)
    return text if len(text) < 100 else text[:97] + "..."


@contextmanager
def quiet() -> Iterator[None]:
    """Neither logs nor the collector get in the way; what is dead may be forgotten loudly."""
    logging.disable(logging.CRITICAL)
    import sys  # noqa: PLC0415

    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)
