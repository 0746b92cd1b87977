"""Gathers single reminders into batches: sessions take turns, and wait for company a little."""

from __future__ import annotations

import asyncio
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from reminders.delivery.calm import Calm
from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import DeliverReminderInput, DeliveryOutcome

_CROWD_STAYS = timedelta(seconds=10)
"""How long after a full batch more of the same session are expected."""


@dataclass(eq=False, slots=True)
class Ticket:
    """One reminder on its way through the pipeline, and who waits for it."""

    reminder: DeliverReminderInput
    run_id: str
    outcome: asyncio.Future[DeliveryOutcome]
    callers: int = 1
    """Calls of `deliver` that wait for the outcome; the second is a retry of the first."""
    context: Context = field(default_factory=copy_context)
    """Of the first call: a batch goes on in its first reminder's, so that a trace does, too."""

    came_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """When it was due and here, by `loop.time()`."""
    parked: int = 0
    """How often it was left to wait for a request in doubt: whoever had it before is done with it."""

    was_early: bool = False
    """Whether it was here before it was due."""
    calm: Calm | None = None
    """Says when the callers may be told, if not at once."""
    is_resolved: bool = False

    def resolve(self, outcome: DeliveryOutcome) -> None:
        """Tell the callers what became of it, once."""
        self.is_resolved = True
        if self.calm is None:
            self._tell(outcome)
        else:
            self.calm.wait(partial(self._tell, outcome))

    def _tell(self, outcome: DeliveryOutcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    @property
    def is_open(self) -> bool:
        """Whether nobody has said what became of it."""
        return not self.is_resolved and not self.outcome.done()

    def fail(self, error: BaseException) -> None:
        """Tell the callers that nothing became of it this time, unless it is resolved."""
        if self.is_open:
            self.outcome.set_exception(error)
            self.outcome.exception()  # the callers may be gone; then nobody else retrieves it


@dataclass(slots=True)
class _Group:
    """Reminders of sessions that start at the same instant; `loop.time()` of first and last."""

    first_at: float
    last_at: float
    turn: int
    """The round in which it has its next turn."""
    tickets: dict[UUID, Ticket] = field(default_factory=dict)


class Gatherer:
    """A queue of reminders that hands out batches.

    A batch never mixes starts: the reminders in it are equally urgent, and its request stops
    being useful at one instant. The queue is bounded by the worker's activity slots.
    """

    def __init__(self, policy: DeliveryPolicy) -> None:
        self._policy = policy
        self._groups: dict[datetime, _Group] = {}
        self._crowds: dict[datetime, float] = {}
        """When a full batch last left, by `loop.time()`."""
        self._round = 0
        self._last: datetime | None = None
        """Whose turn it was, in which round."""
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        """How many reminders wait."""
        return sum(len(group.tickets) for group in self._groups.values())

    def put(self, ticket: Ticket) -> None:
        """Queue a reminder."""
        now = asyncio.get_running_loop().time()
        group = self._groups.get(ticket.reminder.starts_at)
        if group is None:
            # Before the rest of a crowd that has just had its turn; but not before those who wait for
            # theirs, however many sessions come one after the other.
            turn = self._round if self._last in self._groups else self._round + 1
            group = self._groups[ticket.reminder.starts_at] = _Group(now, now, turn)
        group.tickets[ticket.reminder.reminder_id] = ticket
        group.last_at = now
        self._arrived.set()

    def withdraw(self, ticket: Ticket) -> bool:
        """Take a reminder back; false if it has left the queue already."""
        group = self._groups.get(ticket.reminder.starts_at)
        if group is None or group.tickets.pop(ticket.reminder.reminder_id, None) is None:
            return False
        if not group.tickets:
            del self._groups[ticket.reminder.starts_at]
        return True

    async def next_batch(self) -> list[Ticket]:
        """The next batch, as soon as one is worth sending; never empty.

        Sessions take turns, the most urgent first: ten people are not kept waiting by ten thousand.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._arrived.clear()
            now = loop.time()
            self._crowds = {
                s: at for s, at in self._crowds.items() if now - at < _CROWD_STAYS.total_seconds()
            }
            ready_at = {s: self._ready_at(s, group) for s, group in self._groups.items()}
            ready = [starts_at for starts_at, instant in ready_at.items() if instant <= now]
            if ready:
                return self._take(min(ready, key=lambda s: (self._groups[s].turn, s)))
            timeout = min(ready_at.values()) - now if ready_at else None
            try:
                await asyncio.wait_for(self._arrived.wait(), timeout)
            except TimeoutError:
                continue

    def _ready_at(self, starts_at: datetime, group: _Group) -> float:
        """When a group is worth sending, by the loop's clock."""
        policy, size = self._policy, len(group.tickets)
        if size >= policy.batch_size:
            return group.first_at
        # The more have come, the more are likely to come: a crowd is worth waiting for, and one
        # person is not kept waiting. Stragglers of a crowd are waited for as for a crowd.
        straggling = starts_at in self._crowds
        quiet = policy.quiet if straggling else min(policy.linger * size, policy.quiet)
        if all(ticket.was_early for ticket in group.tickets.values()):
            quiet = policy.linger / 4  # they were here before they were due, and so were the others
        return min(
            group.last_at + quiet.total_seconds(),
            group.first_at + policy.longest_linger.total_seconds(),
        )

    def _take(self, starts_at: datetime) -> list[Ticket]:
        group, self._last = self._groups[starts_at], starts_at
        self._round = group.turn
        group.turn += 1
        if len(group.tickets) >= self._policy.batch_size > 1:
            self._crowds[starts_at] = asyncio.get_running_loop().time()
        taken = list(group.tickets)[: self._policy.batch_size]
        tickets = [group.tickets.pop(reminder_id) for reminder_id in taken]
        if group.tickets:  # what stays behind has lingered as long as its newest arrival
            group.first_at = group.last_at
        else:
            del self._groups[starts_at]
        return tickets
