"""Asks for anything, at any moment, as a platform and its operators do; from a seed."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
from sqlalchemy import insert, text
from temporalio.client import Client
from temporalio.service import RPCError

from devstack.stack import LocalStack
from reminders.db.engine import Database
from reminders.db.tables import UserRow
from reminders.domain.keys import session_reminder_workflow_id
from tests.e2e.driving.journal import Call, Journal, Subject

API_KEY = "platform-0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {API_KEY}"}
STARTS = "%Y%m%dT%H%M%SZ"
"""How a title tells its session's start, so that every e-mail does."""

RULES: dict[str, tuple[int, ...]] = {"first": (5, 6, 7), "second": (2, 3), "last": (1,)}
"""Types, and of how many minutes their leads may be."""
DEFAULT_RULES = ("24h", "2h", "1h", "30min")
KILL = "kill -9 of the worker"
NOTICES = ("cancelled", "moved", "confirmed")

WIDE = 0.6
"""The part of a round in which sessions and rules change too."""
FEW = 6
"""People who are asked for as often as all others together."""
PATIENCE = 30.0
"""Seconds that a client waits for an answer."""

Weighted = tuple[int, Callable[[], Call | Awaitable[Call | None]]]
"""How often it is asked for, and what."""

_OF_MANY = ("session", "rule")


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """How long and how much."""

    rounds: int
    """Each ends with a look at whether all agree."""
    lasts: timedelta
    """One round."""
    clients: int
    per_second: float
    """Of all clients together."""
    enrolled: int
    """At the beginning."""
    between_kills: tuple[float, float]
    """Seconds, at the least and at the most."""
    settles_within: timedelta
    people: int = 200
    sessions: int = 5


class Driver:
    """A platform of so many people and sessions."""

    def __init__(
        self, form: Form, seed: int, *, stack: LocalStack, client: Client, database: Database
    ) -> None:
        """Drive this stack.

        Args:
            form: How long and how much.
            seed: Of everything that is left to chance.
            stack: Runs.
            client: Of its Temporal server.
            database: Its own.
        """
        self.form = form
        self.journal = Journal()
        self.violations: list[str] = []
        """Answers that nobody should get."""
        self._stack = stack
        self._client = client
        self._database = database
        self._seed = seed
        chance = random.Random(seed)
        self.sessions = [UUID(int=chance.getrandbits(128), version=4) for _ in range(form.sessions)]
        self.people = [UUID(int=chance.getrandbits(128), version=4) for _ in range(form.people)]
        self._starts: dict[UUID, list[datetime]] = defaultdict(list)
        """Of each session, the last one last."""
        self._usual = 0.1
        """Seconds that an answer takes; a client may hang up at any moment of that."""

    # ------------------------------------------------------------ the beginning

    async def prepare(self) -> None:
        """Rules of minutes, people, sessions, and some who are enrolled."""
        chance = random.Random(f"{self._seed} beginning")
        async with self._http() as http:
            for kind in DEFAULT_RULES:
                await self._ask(
                    http,
                    self._rule_call("switch off", kind, None, {"is_enabled": False}),
                )
            for kind, minutes in RULES.items():
                body = {
                    "reminder_type": kind,
                    "minutes_before": minutes[0],
                    "email_subject_template": f"{kind}: {{session_title}}",
                }
                call = self.journal.begin(
                    "add rule",
                    ("rule", kind),
                    method="POST",
                    path="/v1/reminder-configurations",
                    body=body,
                )
                await self._ask(http, call)
            async with self._database.transaction() as connection:
                await connection.execute(
                    insert(UserRow),
                    [
                        {"id": user, "email": address(user), "full_name": "Ana Ruiz",
                         "locale": "en_GB"}
                        for user in self.people
                    ],
                )  # fmt: skip
            for session in self.sessions:
                await self._ask(http, self._move(chance, session, status="scheduled"))
            pairs = [(s, u) for s in self.sessions for u in self.people]
            for session, user in chance.sample(pairs, self.form.enrolled):
                await self._ask(http, self._enroll(chance, session, user))

    # ------------------------------------------------------------ the ride

    async def round(self, number: int) -> None:
        """Let all clients ask, and kill the worker now and then, until the time is over.

        A change of a session or a rule has everybody planned anew, and so mends what others left
        undone. So for the last part of a round nobody asks for one.
        """
        began_at = datetime.now(UTC)
        await self._ride(f"{number} wide", began_at + WIDE * self.form.lasts, is_wide=True)
        await self._repeat(c for c in self.journal.unanswered() if c.about[0] in _OF_MANY)
        await self._ride(f"{number} narrow", began_at + self.form.lasts, is_wide=False)
        await self._repeat(self.journal.unanswered())

    async def _ride(self, name: str, until: datetime, *, is_wide: bool) -> None:
        until = max(until, datetime.now(UTC) + timedelta(seconds=10))
        await asyncio.gather(
            self._killing(name, until),
            *(
                self._client_of_its_own(f"{name} {n}", until, is_wide=is_wide)
                for n in range(self.form.clients)
            ),
        )

    async def _repeat(self, calls: Iterable[Call]) -> None:
        """Repeat each of these once, as clients do that got no answer."""
        by_subject: dict[Subject, list[Call]] = defaultdict(list)
        for call in calls:
            by_subject[call.about].append(call)
        limit = asyncio.Semaphore(self.form.clients)
        async with self._http() as http:

            async def one_after_the_other(calls: list[Call]) -> None:
                for call in calls:
                    async with limit:
                        await self._once_again(http, call)

            await asyncio.gather(*map(one_after_the_other, by_subject.values()))

    async def _once_again(self, http: httpx2.AsyncClient, call: Call) -> None:
        for _ in range(3):  # "repeat the same call" is an answer that asks for it
            repeated = self.journal.begin(
                call.verb,
                call.about,
                session_id=call.session_id,
                user_id=call.user_id,
                method=call.method,
                path=call.path,
                body=call.body,
                repeats=call.number,
            )
            await self._ask(http, repeated)
            if repeated.is_answered:
                return
        self.violations.append(f"never answered: {repeated}")

    async def _client_of_its_own(self, name: str, until: datetime, *, is_wide: bool) -> None:
        chance = random.Random(f"{self._seed} {name}")
        pace = self.form.per_second / self.form.clients
        async with self._http() as http:
            while datetime.now(UTC) < until:
                await asyncio.sleep(chance.expovariate(pace))
                await self._something(chance, http, is_wide=is_wide)

    async def _killing(self, name: str, until: datetime) -> None:
        chance = random.Random(f"{self._seed} kills {name}")
        while True:
            await asyncio.sleep(chance.uniform(*self.form.between_kills))
            if datetime.now(UTC) > until:
                return
            call = self.journal.begin(KILL, ("worker",))
            await asyncio.to_thread(self._stack.worker.kill)
            await asyncio.sleep(chance.uniform(0, 6))
            self._stack.worker.launch()
            await asyncio.to_thread(self._stack.worker.wait_until_ready)
            call.end("started again", is_answered=True)

    async def _something(
        self, chance: random.Random, http: httpx2.AsyncClient, *, is_wide: bool
    ) -> None:
        """One call; or several about the same enrollment, nearly at once."""
        session = chance.choice(self.sessions)
        # A few people are asked for half of the time: what happens at once, happens to one of them.
        user = chance.choice(self.people[:FEW] if chance.random() < 0.5 else self.people)
        together = chance.choices((1, 2, 3), (6, 3, 1))[0]
        calls = self._of_one(chance, session, user)
        if is_wide:
            calls += self._of_many(chance, session)
        await asyncio.gather(*(self._a_call(chance, http, calls, nth) for nth in range(together)))

    def _of_one(self, chance: random.Random, session: UUID, user: UUID) -> list[Weighted]:
        return [
            (30, lambda: self._enroll(chance, session, user)),
            (18, lambda: self._unenroll(session, user)),
            (8, lambda: self._prefer(chance, session, user)),
            (6, lambda: self._once_more(chance, user)),
            (10, lambda: self._cancel_by_hand(session, user)),
        ]

    def _of_many(self, chance: random.Random, session: UUID) -> list[Weighted]:
        return [
            (8, lambda: self._move(chance, session)),
            (5, lambda: self._session_call(chance, "cancel", session)),
            (7, lambda: self._session_call(chance, "restore", session)),
            (4, lambda: self._rule_change(chance, session)),
        ]

    async def _a_call(
        self, chance: random.Random, http: httpx2.AsyncClient, calls: list[Weighted], nth: int
    ) -> None:
        await asyncio.sleep(nth * chance.uniform(0, 2) * self._usual)
        (make,) = chance.choices([make for _, make in calls], [weight for weight, _ in calls])
        hangs_up_after = chance.uniform(0, 2) * self._usual if chance.random() < 0.2 else None
        made = make()
        call = made if isinstance(made, Call) else await made
        if call is not None:
            await self._ask(http, call, hangs_up_after=hangs_up_after)

    # ------------------------------------------------------------ what can be asked

    def _enroll(self, chance: random.Random, session: UUID, user: UUID) -> Call:
        body = {"session_id": str(session), "user_id": str(user)}
        if chance.random() < 0.05:
            body["status"] = "pending"
        return self.journal.begin(
            "enroll", _enrollment(session, user), session_id=session, user_id=user,
            method="POST", path="/v1/enrollments", body=body,
        )  # fmt: skip

    def _unenroll(self, session: UUID, user: UUID) -> Call:
        return self.journal.begin(
            "unenroll", _enrollment(session, user), session_id=session, user_id=user,
            method="DELETE", path=f"/v1/enrollments/{session}/{user}",
        )  # fmt: skip

    def _move(self, chance: random.Random, session: UUID, status: str | None = None) -> Call:
        """To a start minutes away, so that e-mails go out, or hours away, so that rows wait.

        Or by five minutes, or back; and now and then nobody is to be told.
        """
        seconds = chance.uniform(65, 240) if chance.random() < 0.6 else chance.uniform(1200, 9000)
        now = datetime.now(UTC)
        starts_at = (now + timedelta(seconds=seconds)).replace(microsecond=0)
        known = self._starts[session]
        nearby = [s + chance.choice((-1, 1)) * timedelta(minutes=5) for s in known[-1:]]
        again = chance.choice([*known[-2:-1], *nearby, starts_at])
        if chance.random() < 0.4 and again > now + timedelta(seconds=65):
            starts_at = again
        known.append(starts_at)
        quietly = "?tell_nobody=true" if chance.random() < 0.15 else ""
        body = {
            "title": f"Cardiology {starts_at:{STARTS}}",
            "start_time": starts_at.isoformat(),
            "status": status or chance.choices(["scheduled", "cancelled"], [9, 1])[0],
        }
        return self.journal.begin(
            "move", ("session", str(session)), session_id=session,
            method="PUT", path=f"/v1/sessions/{session}{quietly}", body=body,
        )  # fmt: skip

    def _session_call(self, chance: random.Random, verb: str, session: UUID) -> Call:
        return self.journal.begin(
            verb, ("session", str(session)), session_id=session,
            method="POST", path=f"/v1/sessions/{session}/{verb}",
            body={"tell_nobody": chance.random() < 0.15},
        )  # fmt: skip

    def _rule_change(self, chance: random.Random, session: UUID) -> Call:
        of = session if chance.random() < 0.6 else None
        if chance.random() < 0.2:
            change: dict[str, Any] = {"is_enabled": chance.random() < 0.8}
            return self._rule_call("change rule", chance.choice(NOTICES), of, change)
        kind = chance.choice(list(RULES))
        if of is not None and chance.random() < 0.25:
            return self.journal.begin(
                "delete rule", ("rule", kind, str(of)), session_id=of,
                method="DELETE", path=f"/v1/reminder-configurations/{kind}?session_id={of}",
            )  # fmt: skip
        minutes = chance.choice(RULES[kind])
        change = {"is_enabled": chance.random() < 0.75, "minutes_before": minutes}
        return self._rule_call("change rule", kind, of, change)

    def _rule_call(
        self, verb: str, kind: str, session: UUID | None, change: dict[str, Any]
    ) -> Call:
        query = f"?session_id={session}" if session else ""
        return self.journal.begin(
            verb, ("rule", kind, str(session)), session_id=session,
            method="PATCH", path=f"/v1/reminder-configurations/{kind}{query}", body=change,
        )  # fmt: skip

    def _prefer(self, chance: random.Random, session: UUID, user: UUID) -> Call:
        scopes: list[dict[str, str]] = [
            {},
            {"session_id": str(session)},
            {"reminder_type": chance.choice([*RULES, *NOTICES])},
        ]
        opt_outs = [] if chance.random() < 0.6 else [chance.choice(scopes)]
        return self.journal.begin(
            "prefer", ("person", str(user)), user_id=user,
            method="PUT", path=f"/v1/users/{user}/preferences", body={"opt_outs": opt_outs},
        )  # fmt: skip

    async def _once_more(self, chance: random.Random, user: UUID) -> Call | None:
        """An operator's "resend" or "send now", of a reminder that somebody has."""
        query = text(
            "SELECT id, session_id, user_id, email_status FROM session_reminder_emails"
            " WHERE user_id = :user ORDER BY updated_at DESC LIMIT 5"
        )
        async with self._database.autocommit() as connection:
            rows = (await connection.execute(query, {"user": user})).all()
        if not rows:
            return None
        row = chance.choice(rows)
        verb = "send-now" if row.email_status == "scheduled" else "resend"
        return self.journal.begin(
            verb, _enrollment(row.session_id, row.user_id),
            session_id=row.session_id, user_id=row.user_id,
            method="POST", path=f"/v1/reminders/{row.id}/{verb}", body={"reason": "they asked"},
        )  # fmt: skip

    async def _cancel_by_hand(self, session: UUID, user: UUID) -> None:
        """`temporal workflow cancel`: about the enrollment only if there is something to cancel."""
        handle = self._client.get_workflow_handle(session_reminder_workflow_id(session, user))
        call = self.journal.begin(
            "temporal workflow cancel", ("worker",), session_id=session, user_id=user
        )
        try:
            await handle.cancel()
        except RPCError as error:
            call.end(f"refused: {error.status.name}", is_answered=True)
        else:
            call.about = _enrollment(session, user)
            call.end("asked for", is_answered=True)

    # ------------------------------------------------------------ asking

    def _http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            base_url=self._stack.api_url, headers=HEADERS, timeout=PATIENCE, trust_env=False,
            verify=False,
        )  # fmt: skip

    async def _ask(
        self, http: httpx2.AsyncClient, call: Call, *, hangs_up_after: float | None = None
    ) -> None:
        call.began_at = datetime.now(UTC)
        try:
            async with asyncio.timeout(hangs_up_after):
                answer = await http.request(call.method, call.path, json=call.body)
        except (TimeoutError, httpx2.HTTPError) as error:
            kind = "hung up" if isinstance(error, TimeoutError) else type(error).__name__
            call.end(kind, is_answered=False)
            return
        call.end(str(answer.status_code), is_answered=answer.status_code != 503)
        took = (datetime.now(UTC) - call.began_at).total_seconds()
        self._usual = 0.9 * self._usual + 0.1 * min(took, 1.0)
        if answer.status_code not in (200, 201, 202, 404, 409, 503):
            self.violations.append(f"{call}: {answer.text[:300]}")


def address(user: UUID) -> str:
    """A person's."""
    return f"{user.hex}@hospital.example"


def _enrollment(session: UUID, user: UUID) -> Subject:
    return "enrollment", str(session), str(user)
