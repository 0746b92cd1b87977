"""Reminders that come before they are due: they wait together, and are let go at one instant.

One timer for all of them. A timer each would wake thousands of tasks before the first e-mail goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from uuid import UUID

from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import DeliverReminderInput
from reminders.domain.decide import Send, decide
from reminders.domain.delivery_errors import NotDueYetError
from reminders.domain.model import DeliveryFacts, Message
from reminders.domain.ports import Clock, Composer, Waiting

A_MOMENT = timedelta(milliseconds=100)
"""Clocks that differ by less make no lead-in."""
_LOOK = timedelta(milliseconds=100)
"""How often it is looked for those who have come since."""
_NAP = timedelta(seconds=5)
"""No wait is longer: the clock is corrected now and then, and plans change."""
_ASKED_AT_ONCE = 1_000
"""Reminders in one look at what has changed."""

Prepare = Callable[[Sequence[UUID], datetime], Awaitable[None]]
"""Makes reminders ready that are due at an instant."""
Overtaken = Callable[[Collection[Waiting]], Awaitable[Collection[Waiting]]]
"""Those of some reminders that are not due any more when they were; see `DeliveryLedger.overtaken`."""
Warm = Callable[[int], Awaitable[None]]
"""Opens so many connections to the provider."""


@dataclass(slots=True)
class _Instant:
    """Who waits for it."""

    due_at: datetime
    gates: dict[asyncio.Future[None], UUID] = field(default_factory=dict)
    opening: asyncio.Task[None] | None = None


class EarlyArrivals:
    """Lets calls wait for the instants at which their reminders are due."""

    def __init__(
        self,
        clock: Clock,
        policy: DeliveryPolicy,
        *,
        overtaken: Overtaken,
        prepare: Prepare,
        warm: Warm,
    ) -> None:
        """Nobody waits.

        Args:
            clock: Says when an instant is reached.
            policy: How early reminders may come, and how many.
            overtaken: Asked now and then about those that wait: a newer plan may have something
                for their people that is due before it, such as that the session is cancelled.
            prepare: Called for some of those that wait, shortly before their instant. Whatever it
                raises is no matter here: what goes wrong goes wrong again when they are due.
            warm: Called before that: a request that makes its connection first is late.
        """
        self._clock = clock
        self._policy = policy
        self._overtaken = overtaken
        self._prepare = prepare
        self._warm = warm
        self._instants: dict[datetime, _Instant] = {}
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, reminder: DeliverReminderInput) -> timedelta:
        """Wait until a reminder is due, unless that is further away than it may come early.

        It waits no longer than until it is not due at that instant any more.

        Returns:
            For how long it waited.

        Raises:
            NotDueYetError: Too many wait here already; it is to come again when it is due.
        """
        came_at = self._clock.now()
        early = reminder.due_at - came_at
        if not timedelta() < early <= self._policy.early:
            return timedelta()
        if early > A_MOMENT and self._waiting >= self._policy.early_at_once:
            raise NotDueYetError("many wait already", retry_after=early)
        gate = asyncio.get_running_loop().create_future()
        instant = self._instants.setdefault(reminder.due_at, _Instant(reminder.due_at))
        instant.gates[gate] = reminder.reminder_id
        if instant.opening is None:
            instant.opening = asyncio.create_task(self._open(instant))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._let_overtaken_go())
        self._waiting += 1
        try:
            await gate
        finally:
            self._waiting -= 1
            instant.gates.pop(gate, None)
        return self._clock.now() - came_at

    def is_due_before(self, instant: datetime) -> bool:
        """Whether somebody waits for an earlier instant than this one."""
        return any(due_at < instant for due_at in self._instants)

    def end(self) -> None:
        """Let nobody wait any longer."""
        for task in (self._looking, *(instant.opening for instant in self._instants.values())):
            if task is not None:
                task.cancel()

    async def _open(self, instant: _Instant) -> None:
        """Have those ready who come in time, and let all go; the first before the last have woken."""
        due_at, preparing = instant.due_at, None
        try:
            await self._reached(due_at - self._policy.prepare_before)
            preparing = asyncio.create_task(self._prepared(instant))
            await self._reached(due_at)
        finally:
            del self._instants[due_at]
            while gates := list(islice(instant.gates, self._policy.at_once)):
                for gate in gates:
                    del instant.gates[gate]
                    if not gate.done():
                        gate.set_result(None)
                await asyncio.sleep(self._policy.linger.total_seconds() / 5)
            if preparing is not None:  # it ends by itself, and breaks nothing off
                await preparing

    async def _reached(self, at: datetime) -> None:
        """Wait for an instant, unless the clock was put back by more than anybody may be early."""
        while timedelta() < (left := at - self._clock.now()) <= self._policy.early:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(min(left, _NAP).total_seconds())

    async def _let_overtaken_go(self) -> None:
        """As long as anybody waits, let those go on for whom it is of no use any more.

        They get the ledger's answer. All are asked for together: people who were told of a move one
        after the other have as many instants.
        """
        while self._instants:
            await asyncio.sleep(_NAP.total_seconds())
            soon = self._clock.now() + _NAP
            waiting = [
                (gate, (reminder_id, due_at))
                for due_at, instant in self._instants.items()
                for gate, reminder_id in instant.gates.items()
                if due_at > soon
            ]
            for first in range(0, len(waiting), _ASKED_AT_ONCE):
                page = waiting[first : first + _ASKED_AT_ONCE]
                try:
                    gone = await self._overtaken([one for _, one in page])
                except Exception:  # noqa: BLE001 - it is looked again, and everything is read when it is due
                    break
                for gate, one in page:
                    if one in gone and not gate.done():
                        gate.set_result(None)

    async def _prepared(self, instant: _Instant) -> None:
        """Make as many ready as can go at once, batch after batch, while there is time."""
        requests = -(-min(len(instant.gates), self._policy.at_once) // self._policy.batch_size)
        await asyncio.gather(self._warm(requests), self._composed(instant))

    async def _composed(self, instant: _Instant) -> None:
        ready: set[UUID] = set()
        while (left := instant.due_at - self._clock.now()) > self._policy.linger:
            fresh = [i for i in instant.gates.values() if i not in ready][: self._policy.batch_size]
            if not fresh:
                await asyncio.sleep(min(left, _LOOK).total_seconds())
                continue
            try:
                await self._prepare(fresh, instant.due_at)
            except Exception:  # noqa: BLE001 - as it says where it is given
                return
            ready.update(fresh)
            if len(ready) >= self._policy.at_once:
                return


_LASTS = timedelta(seconds=5)
"""For so long "in 30 minutes" is still said of the instant that a draft was composed for."""

_Draft = tuple[DeliveryFacts, datetime, Message]


class Drafts:
    """A `Composer` that has some e-mails ready a moment before they are due.

    Composing is most of the work of an instant at which a crowd is due. What counts is still read
    at the instant itself: a draft is used only if all that was read then is the same.
    """

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._drafts: dict[UUID, _Draft] = {}

    def prepare(self, facts: Sequence[DeliveryFacts], *, due_at: datetime) -> None:
        """Compose what is to be sent at an instant, as things are; drafts of before are dropped."""
        self._drafts = {
            i: draft for i, draft in self._drafts.items() if draft[1] >= due_at - _LASTS
        }
        for fact in facts:
            with suppress(Exception):  # whatever it is, it is told when the reminder is due
                if isinstance(decide(fact, now=due_at), Send):
                    message = self._composer.compose(fact, now=due_at)
                    self._drafts[fact.reminder.id] = fact, due_at, message

    def compose(self, facts: DeliveryFacts, *, now: datetime) -> Message:
        """See `Composer.compose`."""
        draft = self._drafts.pop(facts.reminder.id, None)
        if draft is not None:
            of, due_at, message = draft
            if of == facts and timedelta() <= now - due_at < _LASTS:
                return message
        return self._composer.compose(facts, now=now)
