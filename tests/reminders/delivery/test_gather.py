"""Gathering: the most urgent first, a crowd together, one person at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from reminders.delivery.gather import Gatherer, Ticket
from reminders.delivery.policy import DeliveryPolicy
from reminders.domain.contracts import DeliverReminderInput
from tests.builders import NOW

MS = timedelta(milliseconds=1)


def a_ticket(starts_in: timedelta = timedelta(minutes=30)) -> Ticket:
    """A reminder of a session that starts so long from now."""
    reminder = DeliverReminderInput(reminder_id=uuid4(), due_at=NOW, starts_at=NOW + starts_in)
    return Ticket(reminder, "run", asyncio.get_running_loop().create_future())


async def test_a_batch_is_no_larger_than_allowed() -> None:
    """Of 25 that wait, ten and ten go at once, and the rest when nobody joins any more."""
    gatherer = Gatherer(DeliveryPolicy(batch_size=10, linger=1 * MS, quiet=5 * MS))
    for _ in range(25):
        gatherer.put(a_ticket())
    assert [10, 10, 5] == [len(await gatherer.next_batch()) for _ in range(3)]
    assert 0 == len(gatherer)


async def test_the_nearest_start_goes_first_and_starts_are_not_mixed() -> None:
    """Reminders of two sessions that start at different instants are two batches, in order."""
    gatherer = Gatherer(DeliveryPolicy(batch_size=3))
    later = [a_ticket(timedelta(hours=24)) for _ in range(3)]
    sooner = [a_ticket(timedelta(minutes=30)) for _ in range(3)]
    for ticket in later + sooner:
        gatherer.put(ticket)
    assert [sooner, later] == [await gatherer.next_batch(), await gatherer.next_batch()]


async def test_a_few_are_not_kept_waiting_by_a_crowd() -> None:
    """Sessions take turns: whoever comes into the middle of a large one is next."""
    gatherer = Gatherer(DeliveryPolicy(batch_size=3))
    crowd = [a_ticket(timedelta(minutes=30)) for _ in range(30)]
    for ticket in crowd:
        gatherer.put(ticket)
    served = [await gatherer.next_batch() for _ in range(5)]
    few = [a_ticket(timedelta(minutes=31)) for _ in range(3)]
    for ticket in few:
        gatherer.put(ticket)
    served += [await gatherer.next_batch() for _ in range(3)]
    assert few == served[5]
    assert crowd[:15] == [ticket for batch in served[:5] for ticket in batch]


async def test_a_crowd_is_not_kept_waiting_by_one_after_the_other() -> None:
    """However many sessions come, whoever waits longer is not behind them."""
    gatherer = Gatherer(DeliveryPolicy(batch_size=3))
    crowd = [a_ticket() for _ in range(30)]
    for ticket in crowd:
        gatherer.put(ticket)
    served = [await gatherer.next_batch()]
    for minutes in range(31, 39):
        for _ in range(3):
            gatherer.put(a_ticket(timedelta(minutes=minutes)))
        served.append(await gatherer.next_batch())
    turns = [n for n, batch in enumerate(served) if batch[0] in crowd]
    assert [0, 2, 5] == turns, "one of as many as wait by then"


async def test_who_was_here_before_the_instant_waits_for_nobody() -> None:
    """All who were made ready have come by then."""
    policy = DeliveryPolicy()
    gatherer = Gatherer(policy)
    for _ in range(50):
        ticket = a_ticket()
        ticket.was_early = True
        gatherer.put(ticket)
    ((starts_at, group),) = gatherer._groups.items()
    assert gatherer._ready_at(starts_at, group) - group.last_at < policy.linger.total_seconds()


@pytest.mark.parametrize(
    ("arrivals", "least", "most"),
    [(1, 0, 1), (5, 4, 6), (100, 39, 41)],
    ids=["alone", "a-few", "a-crowd"],
)
async def test_the_more_have_come_the_longer_it_waits_for_more(
    arrivals: int, least: int, most: int
) -> None:
    """One waits a linger, a few a linger each, a crowd the longest quiet."""
    policy = DeliveryPolicy(batch_size=1000)
    gatherer = Gatherer(policy)
    for _ in range(arrivals):
        gatherer.put(a_ticket())
    ((starts_at, group),) = gatherer._groups.items()
    waits = (gatherer._ready_at(starts_at, group) - group.last_at) / policy.linger.total_seconds()
    assert least < waits + 0.001
    assert waits < most + 0.001


async def test_a_batch_that_keeps_growing_goes_in_the_end() -> None:
    """A trickle that never pauses cannot hold a batch back for longer than a bound."""
    policy = DeliveryPolicy()
    gatherer = Gatherer(policy)
    gatherer.put(a_ticket())
    ((starts_at, group),) = gatherer._groups.items()
    group.last_at = group.first_at + 10
    assert (
        gatherer._ready_at(starts_at, group)
        <= group.first_at + policy.longest_linger.total_seconds()
    )


async def test_what_is_withdrawn_is_not_handed_out() -> None:
    """Withdrawing works until the batch has left, and not after."""
    gatherer = Gatherer(DeliveryPolicy(linger=1 * MS))
    stays, leaves = a_ticket(), a_ticket()
    gatherer.put(stays)
    gatherer.put(leaves)
    assert gatherer.withdraw(leaves)
    assert [stays] == await gatherer.next_batch()
    assert not gatherer.withdraw(stays)


async def test_stragglers_of_a_crowd_are_waited_for() -> None:
    """After a full batch one late reminder waits for the others, as a crowd would."""
    policy = DeliveryPolicy(batch_size=10)
    gatherer = Gatherer(policy)
    for _ in range(11):
        gatherer.put(a_ticket())
    await gatherer.next_batch()
    ((starts_at, group),) = gatherer._groups.items()
    assert 1 == len(group.tickets)
    assert gatherer._ready_at(starts_at, group) == group.last_at + policy.quiet.total_seconds()
