"""Whatever can happen to a session and its people, and a small model of what they must then get.

`Truth` is the model: it knows nothing of rows, generations and workflows, only what is true now
and what each person was told last. `World` does the same things to the real system, and compares.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert

from reminders.db.tables import (
    EnrollmentRow,
    ReminderConfigurationRow,
    SessionRow,
    UserRow,
)
from reminders.domain.model import Reminder, Session, SessionStatus
from tests.stage import Handle, Stage, eventually, is_running

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PATIENCE = timedelta(seconds=60)
"""For a change's receipt."""
THRESHOLD = HOUR
"""`RESCHEDULE_RESEND_THRESHOLD`."""
GREY = 45 * timedelta(seconds=1)
"""Nothing is done so short before a due instant: whether it is early or late would be chance."""
RULES = {"24h": DAY, "2h": 2 * HOUR, "30min": 30 * MINUTE}
PEOPLE = 2

Person = int
"""A small number; the world knows who it is."""
Told = Literal["call", "sweep", "nobody"]
"""Whether we are told of a change, or the platform writes its tables and a sweep comes by, or none.

What only makes e-mails fewer or later holds though nobody told: each is judged when it is due.
"""
Mail = tuple[Person, str, datetime]
"""Who got a reminder, of which type, for which start."""
Step = tuple[Any, ...]
"""A verb of `World` and its arguments."""


@dataclass
class Truth:
    """What is true now, and what everybody was told last."""

    starts_at: datetime
    is_held: bool = True
    leads: dict[str, timedelta] = field(default_factory=lambda: dict(RULES))
    off: set[str] = field(default_factory=set)
    enrolled: set[Person] = field(default_factory=set)
    stopped: set[Person] = field(default_factory=set)
    """Whose workflow was cancelled by hand; only an enrollment revives them."""
    told: dict[tuple[Person, str], datetime] = field(default_factory=dict)

    def due(self, reminder_type: str) -> datetime:
        """When a reminder is due, if anybody is to get it."""
        return self.starts_at - self.leads[reminder_type]

    def live(self, now: datetime) -> dict[tuple[Person, str], datetime]:
        """Every reminder that is still to go out, and its instant: all the system may wait for."""
        if not self.is_held:
            return {}
        return {
            (person, kind): self.due(kind)
            for person in self.enrolled - self.stopped
            for kind in self.leads
            if kind not in self.off and self.due(kind) > now and not self._knows(person, kind)
        }

    def _knows(self, person: Person, kind: str) -> bool:
        """Whether a person was told of this start, or of one that is hardly another."""
        told = self.told.get((person, kind))
        return told is not None and abs(told - self.starts_at) <= THRESHOLD


class World:
    """The real system, what is true of it, and verbs that change both."""

    def __init__(self, stage: Stage, session: Session, people: list[UUID]) -> None:
        """See `begun`."""
        self.stage = stage
        self.session = session
        self.people = people
        self.truth = Truth(session.starts_at)
        self._is_untold = False
        """Whether ledger and workflows may lag behind the truth, until the next sweep."""
        self._mails_seen = 0
        self._rows: dict[UUID, Reminder] = {}

    @classmethod
    async def begun(cls, stage: Stage) -> World:
        """A session in 26 hours, two people, the rules of `RULES`; nothing is left of a world before."""
        await stage.provider.reset()
        stage.clock.ahead = timedelta()
        rules = update(ReminderConfigurationRow)
        await _write(stage, rules.values(is_enabled=False))
        for kind, lead in RULES.items():
            minutes = int(lead / MINUTE)
            await _write(stage, _rule(kind).values(minutes_before=minutes, is_enabled=True))
        session = await stage.session(starts_in=26 * HOUR, time_zone="UTC")
        people = [await stage.attendee(time_zone="UTC") for _ in range(PEOPLE)]
        return cls(stage, session, people)

    async def end(self) -> None:
        """Leave nothing that a sweep of the next world would find."""
        for person in range(PEOPLE):
            if await is_running(self.handle(person)):
                await self.handle(person).terminate()
        await _write(self.stage, delete(SessionRow), delete(UserRow))

    async def play(self, *steps: Step) -> None:
        """Take steps, and look after each."""
        for verb, *arguments in steps:
            await getattr(self, verb)(*arguments)

    def handle(self, person: Person) -> Handle:
        """A person's workflow."""
        return self.stage.handle(self.session, self.people[person])

    # ------------------------------------------------------------ verbs

    async def enroll(self, person: Person, told: Told = "call") -> None:
        """They enroll, for the first time or again."""
        await self._leave_the_grey()
        self.truth.enrolled.add(person)
        if told == "call":
            self.truth.stopped.discard(person)
            await self.stage.gateway.enroll(self.session.id, self.people[person])
        else:
            await self._host_says(person, "confirmed", told)
        await self.look()

    async def unenroll(self, person: Person, told: Told = "call") -> None:
        """They leave."""
        if person not in self.truth.enrolled:
            return
        await self._leave_the_grey()
        self.truth.enrolled.discard(person)
        if told == "call":
            await self.stage.gateway.unenroll(self.session.id, self.people[person])
        else:
            await self._host_says(person, "cancelled", told)
        await self.look()

    async def cancel_by_hand(self, person: Person) -> None:
        """An operator cancels a workflow in the Temporal UI."""
        await self._leave_the_grey()
        if not await is_running(self.handle(person)):
            return
        self.truth.stopped.add(person)
        await self.handle(person).cancel()
        await self.look()

    async def move(self, by: timedelta, told: Told = "call") -> None:
        """The session moves."""
        await self._leave_the_grey()
        starts_at = self._beside_the_grey(self.truth.starts_at + by)
        await self._set_session(told, starts_at=starts_at)

    async def move_to(self, from_now: timedelta, told: Told = "call") -> None:
        """The session moves to an instant in the future, or in the past."""
        await self._leave_the_grey()
        starts_at = (self.stage.clock.now() + from_now).replace(second=0, microsecond=0)
        await self._set_session(told, starts_at=self._beside_the_grey(starts_at))

    async def cancel(self, told: Told = "call") -> None:
        """The session is cancelled."""
        await self._leave_the_grey()
        await self._set_session(told, status=SessionStatus.CANCELLED)

    async def restore(self, told: Told = "call") -> None:
        """The session is held after all."""
        await self._leave_the_grey()
        await self._set_session(told, status=SessionStatus.SCHEDULED)

    async def change_rule(self, kind: str, lead: timedelta | None, told: Told = "call") -> None:
        """A rule gets another lead, and is on from now on; `None` switches it off."""
        await self._leave_the_grey()
        values: dict[str, Any] = {"is_enabled": lead is not None}
        if lead is None:
            self.truth.off.add(kind)
        else:
            now = self.stage.clock.now()
            while _is_grey(self.truth.starts_at - lead, now):
                lead += 5 * MINUTE
            self.truth.off.discard(kind)
            self.truth.leads[kind] = lead
            values["minutes_before"] = int(lead / MINUTE)
        await _write(self.stage, _rule(kind).values(**values))
        if told == "call":
            await self.stage.gateway.session_changed(self.session.id, wait=PATIENCE)
        else:
            await self._swept(told)
        await self.look()

    async def sweep(self) -> None:
        """The sweep runs, and finds all as it should be; at once, or the second time."""
        await self._leave_the_grey()
        if self._is_untold:
            await self._swept("sweep")
            await self.look()
        result = await self.stage.sweep()
        assert (0, 0) == (result.total_reminders, result.total_failed), result
        await self.look()

    async def restart_worker(self) -> None:
        """Every worker goes, and comes back."""
        await self.stage.stop_worker()
        await self.stage.start_worker()
        await self.look()

    async def advance(self, nth: int, side: Literal["before", "at", "after"]) -> None:
        """Time passes until about the nth of the instants that lie ahead."""
        ahead = sorted(set(self.truth.live(self.stage.clock.now()).values()))
        if not ahead:
            return
        offset = {"before": -2 * MINUTE, "at": timedelta(), "after": 2 * MINUTE}[side]
        await self._wind_to(ahead[min(nth, len(ahead) - 1)] + offset)

    async def pass_by(self, duration: timedelta) -> None:
        """Time passes."""
        await self._wind_to(self.stage.clock.now() + duration)

    # ------------------------------------------------------------ what must hold

    async def look(self) -> None:
        """Let everybody come to rest, then compare all that can be seen with the truth."""
        await self.stage.wind_to(self.stage.clock.now(), *self._handles())
        await self._check_mails([])
        await self._check_ledger()
        await self._check_workflows()

    async def _check_mails(self, expected: list[Mail]) -> None:
        """Exactly these were accepted since last time, each at its instant, telling its start."""
        wanted = len(expected)

        async def arrived() -> bool:
            return len(await self.stage.provider.accepted()) >= self._mails_seen + wanted

        await eventually(arrived)
        mails = (await self.stage.provider.accepted(bodies=True))[self._mails_seen :]
        self._mails_seen += len(mails)
        self._rows = {r.id: r for r in await self.stage.ledger(self.session)}
        got: list[Mail] = []
        for mail in mails:
            row = self._rows[UUID(mail["tags"]["reminder_id"])]
            got.append((self.people.index(row.user_id), row.reminder_type, row.starts_at))
            assert f"{row.starts_at:%H:%M}" in mail["text"], "it tells another start"
            await eventually(lambda row=row: self._is_settled(row.id))  # type: ignore[misc]
            sent = self._rows[row.id].sent_at
            assert sent is not None
            assert sent >= row.due_at, f"{row.reminder_type} was accepted before its instant"
        assert sorted(expected) == sorted(got)

    async def _is_settled(self, reminder_id: UUID) -> bool:
        self._rows = {r.id: r for r in await self.stage.ledger(self.session)}
        return self._rows[reminder_id].sent_at is not None

    async def _check_ledger(self) -> None:
        """What waits is what is live, for the newest start, at its instant; nothing is in doubt."""
        rows = await self.stage.ledger(self.session)
        waiting = {}
        for row in rows:
            assert row.status != "sending", f"{row.reminder_type} is in doubt"
            if row.status.is_pending and not self._is_untold:
                key = self.people.index(row.user_id), row.reminder_type
                assert key not in waiting, f"two generations of {key} wait"
                assert row.starts_at == self.truth.starts_at
                waiting[key] = row.due_at
        if not self._is_untold:
            assert self.truth.live(self.stage.clock.now()) == waiting, _told(rows)

    async def _check_workflows(self) -> None:
        """Whoever has a live reminder has a workflow that waits for it; all others have ended."""
        live = self.truth.live(self.stage.clock.now())
        for person in range(PEOPLE) if not self._is_untold else ():
            mine = {kind: due for (who, kind), due in live.items() if who == person}
            handle = self.handle(person)
            assert bool(mine) == await is_running(handle), (person, mine)
            if mine:
                plan = await self.stage.plan(handle)
                pending = {r.reminder_type: r.due_at for r in plan.reminders if r.status.is_pending}
                assert mine == pending
                assert self.truth.starts_at == plan.starts_at

    # ------------------------------------------------------------ how

    def _handles(self) -> list[Handle]:
        return [self.handle(person) for person in range(PEOPLE)]

    async def _wind_to(self, until: datetime) -> None:
        """Let time pass, one due instant after the other."""
        while True:
            live = self.truth.live(self.stage.clock.now())
            due = min((d for d in live.values() if d <= until), default=None)
            if due is None:
                break
            await self.stage.wind_to(due, *self._handles())
            now = [key for key, instant in live.items() if instant == due]
            self.truth.told.update(dict.fromkeys(now, self.truth.starts_at))
            await self._check_mails([(who, kind, self.truth.starts_at) for who, kind in now])
            await self._check_ledger()
        await self.stage.wind_to(until, *self._handles())
        await self.look()

    async def _leave_the_grey(self) -> None:
        """Step over an instant that is about to come."""
        now = self.stage.clock.now()
        near = [d for d in map(self.truth.due, self.truth.leads) if now < d < now + GREY]
        near += [self.truth.starts_at] * (now < self.truth.starts_at < now + GREY)
        if near:
            await self._wind_to(max(near) + timedelta(seconds=1))

    def _beside_the_grey(self, starts_at: datetime) -> datetime:
        """A start of which no reminder is due just now."""
        now = self.stage.clock.now()
        while any(
            _is_grey(starts_at - lead, now) for lead in (*self.truth.leads.values(), 0 * DAY)
        ):
            starts_at += 5 * MINUTE
        return starts_at

    async def _set_session(self, told: Told, **changed: Any) -> None:
        now = self.stage.clock.now()
        before = set(self.truth.live(now))
        self.session = replace(self.session, **changed)
        self.truth.starts_at = self.session.starts_at
        self.truth.is_held = self.session.status is SessionStatus.SCHEDULED
        if told == "nobody" and set(self.truth.live(now)) - before:
            told = "sweep"  # there is one e-mail more, which nobody has planned
        if told == "call":
            _, receipt = await self.stage.gateway.put_session(self.session, wait=PATIENCE)
            assert receipt.is_done
            assert receipt.unconfirmed == 0
        else:
            columns = {"start_time": self.session.starts_at, "status": self.session.status}
            row = update(SessionRow).where(SessionRow.id == self.session.id)
            await _write(self.stage, row.values(**columns))
            await self._swept(told)
        await self.look()

    async def _swept(self, told: Told) -> None:
        """A sweep comes by after the platform wrote its tables, or none does."""
        self._is_untold = told == "nobody"
        if not self._is_untold:
            await self.stage.sweep()

    async def _host_says(self, person: Person, status: str, told: Told) -> None:
        """The platform writes its own table."""
        row = {"session_id": self.session.id, "user_id": self.people[person], "status": status}
        written = insert(EnrollmentRow).values(**row)
        await _write(
            self.stage,
            written.on_conflict_do_update(
                index_elements=["session_id", "user_id"], set_={"status": status}
            ),
        )
        await self._swept(told)


async def _write(stage: Stage, *statements: Any) -> None:
    async with stage.database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)


def _rule(kind: str) -> Any:
    return update(ReminderConfigurationRow).where(ReminderConfigurationRow.reminder_type == kind)


def _is_grey(instant: datetime, now: datetime) -> bool:
    return abs(instant - now) < 2 * MINUTE


def _told(rows: list[Reminder]) -> str:
    """The ledger, for whoever has to find out."""
    return "\n".join(
        f"{r.user_id.hex[:4]} {r.reminder_type} gen {r.generation} due {r.due_at} "
        f"start {r.starts_at} {r.status} {r.reason}"
        for r in sorted(rows, key=lambda r: (r.user_id, r.reminder_type, r.generation))
    )
