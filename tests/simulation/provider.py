"""Resend's rules, in virtual time: what it accepts, under which key, and what it answers.

Every refusal is a status, a name and a message in Resend's own words, read by the product's own
`reminders.mail.resend_errors`. What was accepted is known here for certain, whoever got to know it.

Source:
    Resend's pages on idempotency keys (a key is kept 24 h; same bytes, same answer; other bytes,
    409), rate limits (ten in any one second window) and errors.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

from reminders.domain.delivery_errors import (
    DeliveryError,
    MailNotConfiguredError,
    MailUnavailableError,
)
from reminders.domain.model import DeliveryFacts, Message
from reminders.domain.pace import Quota, Usage
from reminders.domain.ports import Accepted, Clock, Receipt, Refused
from reminders.mail.resend_errors import refusal, speaks_of_sender
from reminders.mail.wording import true_until
from tests.simulation.virtual import Process, VirtualLoop

KEY_KEPT = timedelta(hours=24)
PATIENCE = 10.0
"""Seconds that a worker waits for an answer."""
RATE = 10
"""Requests in a window of one second."""
SINK = "tester@platform.example"


class Weather(StrEnum):
    """How the provider, or the way to it, is for a while."""

    FINE = "fine"
    DOWN = "answers 503, and has accepted half of it"
    SILENT = "does not answer, and has accepted half of it"
    UNREACHABLE = "no connection"
    SLOW_DOWN = "429 for everything"
    HOUR = "429 with a retry-after of an hour, to one in three"
    QUOTA = "the day's quota is used up"
    REFUSES_KEY = "401 for the old key"
    REFUSES_SENDER = "refuses the sender, in the words of a field"
    FIREWALL = "403 in a firewall's words, for requests with one person in them"
    REFUSES_ONE = "422 for the whole request, for one person's sake"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that arrived."""

    at: datetime
    key: str
    body: bytes
    worker: str
    mode: str
    """Of the worker that posted it."""
    starts: frozenset[datetime]
    people: frozenset[str]
    is_too_soon: bool
    """It was told to come back in a second, which is no attempt."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An e-mail that was accepted, and will reach whom it is addressed to."""

    at: datetime
    key: str
    reminder_id: UUID
    email_id: str
    to: str
    person: str
    """Whose reminder it is."""
    tells: datetime
    """The start that it tells."""
    worker: str
    moved_from: datetime | None = None
    """The start that it tells of before."""


@dataclass(slots=True)
class _Known:
    """What is kept of a key."""

    body: bytes
    at: datetime
    answer: tuple[Receipt, ...] | None
    """Absent while the first request is still under way."""


@dataclass(slots=True)
class Provider:
    """The provider: one for all workers."""

    loop: VirtualLoop
    random: Random
    weather: Weather = Weather.FINE
    bad_address: str | None = None
    """Refused alone, by permissive validation."""
    disliked: str | None = None
    """A person because of whom a request is refused, in some weathers."""
    old_key: str = "old"
    accepted: list[Acceptance] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    _known: dict[str, _Known] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    """Keys of requests whose answer was lost."""
    _window: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _ids: int = 0

    def receive(
        self, process: Process, mode: str, key_of_worker: str, body: bytes, key: str
    ) -> tuple[Receipt, ...] | _Answer | None:
        """What comes back of a request: receipts, a refusal, or nothing at all."""
        now = self.loop.now()
        mails = json.loads(body)
        people = frozenset(m["person"] for m in mails)
        refused = self._refused(key_of_worker, people)
        self.requests.append(
            Request(
                now,
                key,
                body,
                process.name,
                mode,
                frozenset(datetime.fromisoformat(m["tells"]) for m in mails),
                people,
                refused is not None and refused.headers.get("retry-after") == "1",
            )
        )
        if refused is not None:
            return refused
        known = self._known.get(key)
        if known is not None and now - known.at >= KEY_KEPT:
            known = None
        if known is not None:
            if known.body != body:
                return _Answer(409, "invalid_idempotent_request", "the body was modified")
            if known.answer is None:
                return _Answer(409, "concurrent_idempotent_requests", "still running")
            return known.answer
        return self._judge(mails, people, key, body, process.name)

    def _judge(
        self,
        mails: list[dict[str, Any]],
        people: frozenset[str],
        key: str,
        body: bytes,
        worker: str,
    ) -> tuple[Receipt, ...] | _Answer | None:
        """What comes back of a request whose key is new."""
        if self.weather is Weather.REFUSES_ONE and self.disliked in people:
            return _Answer(422, "validation_error", "The `subject` field is too long.")
        chance = self.random.random()
        if self.weather is Weather.DOWN and chance < 0.5:
            return _Answer(503, "service_unavailable", "away")
        if self.weather is Weather.SILENT and chance < 0.5:
            return None
        receipts = tuple(self._take(mail, key, worker) for mail in mails)
        self._known[key] = _Known(body, self.loop.now(), receipts)
        if self.weather is Weather.DOWN:
            return _Answer(503, "service_unavailable", "away")
        if self.weather is Weather.SILENT:
            return None
        return receipts

    def _refused(self, key_of_worker: str, people: frozenset[str]) -> _Answer | None:
        """What is refused before anything is looked up; what an e-mail says is judged later."""
        window = int(self.loop.time())
        self._window[window] += 1
        weather = self.weather
        if self._window[window] > RATE or weather is Weather.SLOW_DOWN:
            return _Answer(429, "rate_limit_exceeded", "too fast", {"retry-after": "1"})
        if weather is Weather.HOUR and self.random.random() < 0.33:
            return _Answer(429, "rate_limit_exceeded", "too fast", {"retry-after": "3600"})
        if weather is Weather.QUOTA:
            return _Answer(429, "daily_quota_exceeded", "used up")
        if weather is Weather.REFUSES_KEY and key_of_worker == self.old_key:
            return _Answer(401, "invalid_api_key", "revoked")
        if weather is Weather.REFUSES_SENDER:
            return _Answer(422, "validation_error", "The `from` field is not verified.")
        if weather is Weather.FIREWALL and self.disliked in people:
            return _Answer(403, "", "<html>Request blocked</html>")
        return None

    def _take(self, mail: dict[str, Any], key: str, worker: str) -> Receipt:
        if mail["to"] == self.bad_address:
            return Refused("Invalid `to` field.")
        self._ids += 1
        email_id = f"e-{self._ids}"
        self.accepted.append(
            Acceptance(
                self.loop.now(),
                key,
                UUID(mail["reminder_id"]),
                email_id,
                mail["to"],
                mail["person"],
                datetime.fromisoformat(mail["tells"]),
                worker,
                datetime.fromisoformat(mail["moved_from"]) if "moved_from" in mail else None,
            )
        )
        return Accepted(email_id)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A refusal."""

    status: int
    name: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


class CheapComposer:
    """`Composer` in microseconds: says what matters of an e-mail, and no word more."""

    def __init__(self, mode: str) -> None:
        """Address as this mode demands."""
        self._mode = mode

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """See `Composer.compose`."""
        assert facts.session
        assert facts.attendee
        tells = facts.session.starts_at
        until = true_until(tells, now=now, zone=tells.tzinfo)  # type: ignore[arg-type]
        return Message(
            reminder_id=facts.reminder.id,
            sender="us",
            to=facts.attendee.email if self._mode == "live" else SINK,
            subject=facts.attendee.email,
            html=self._mode,
            text=told(facts),
            true_until=until if facts.reminder.notice is None else None,
        )


def told(facts: DeliveryFacts) -> str:
    """The start that an e-mail tells, and the one before."""
    assert facts.session
    return " ".join(i.isoformat() for i in (facts.session.starts_at, facts.moved_from) if i)


class SimulatedMailer:
    """`Mailer` to the `Provider`, over a way that takes time."""

    def __init__(
        self,
        provider: Provider,
        process: Process,
        random: Random,
        clock: Clock,
        *,
        mode: str,
        api_key: str,
    ) -> None:
        """Post as this process."""
        self._provider = provider
        self._process = process
        self._random = random
        self._clock = clock
        self._mode = mode
        self._api_key = api_key

    def encode(self, messages: Sequence[Message]) -> bytes:
        """See `Mailer.encode`."""
        return json.dumps(
            [
                {
                    "reminder_id": str(m.reminder_id),
                    "to": m.to,
                    "person": m.subject,
                    "mode": m.html,
                    **dict(zip(("tells", "moved_from"), m.text.split(), strict=False)),
                }
                for m in messages
            ]
        ).encode()

    async def post(self, body: bytes, *, idempotency_key: str) -> tuple[Receipt, ...]:
        """See `Mailer.post`."""
        loop, provider = self._provider.loop, self._provider
        answered = loop.create_future()
        there = self._random.random() * 0.2
        if provider.weather is Weather.UNREACHABLE:
            loop.outside(there, _give, answered, _Answer(0, "", "no connection"))
        else:

            def arrive() -> None:
                answer = provider.receive(
                    self._process, self._mode, self._api_key, body, idempotency_key
                )
                back = 0.05 if self._random.random() < 0.9 else self._random.random() * 14
                if answer is None or back > PATIENCE - there:
                    back, answer = PATIENCE - there, None
                    provider.unanswered.add(idempotency_key)
                loop.outside(back, _give, answered, answer)

            loop.outside(there, arrive)
        answer = await answered
        if answer is None:
            raise MailUnavailableError("no answer within 10 s", outcome_unknown=True)
        if isinstance(answer, tuple):
            said = [r.message for r in answer if isinstance(r, Refused)]
            if len(said) == len(answer) and any(map(speaks_of_sender, said)):
                raise MailNotConfiguredError(said[0])
            return answer
        raise self._error(answer)

    def _error(self, answer: _Answer) -> DeliveryError:
        if not answer.status:
            return MailUnavailableError("no connection", outcome_unknown=False)
        return refusal(
            answer.status, answer.name, answer.message, answer.headers, now=self._clock.now()
        )

    async def warm(self, connections: int) -> None:
        """See `Mailer.warm`; here all connections are."""

    async def usage(self) -> Usage | None:
        """See `Mailer.usage`."""
        if self._provider.weather is not Weather.QUOTA:
            return None
        resets_at = self._clock.now() + timedelta(hours=6)
        quota = Quota(used=100, limit=100, resets_at=resets_at)
        return Usage(daily=quota, monthly=Quota(used=100, limit=None, resets_at=resets_at))


def _give(future: Any, answer: object) -> None:
    if not future.done():
        future.set_result(answer)
