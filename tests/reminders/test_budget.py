"""Calls of one request share what they wait for a part; whoever has no budget waits as before."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from reminders import budget


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that a test can wait for."""
    monkeypatch.setattr(budget, "PATIENCE", dict.fromkeys(budget.PATIENCE, 1.0))
    monkeypatch.setattr(budget, "_LEAST", 0.01)


async def silence(part: str) -> None:
    """A call that gets no answer."""
    async with budget.answer_of(part):
        await asyncio.Event().wait()


async def test_several_calls_share_one_budget() -> None:
    """The second one does not wait as long again; another part has a budget of its own."""
    with budget.one_budget():
        with pytest.raises(TimeoutError):
            await silence("PostgreSQL")
        began = monotonic()
        with pytest.raises(TimeoutError):
            await silence("PostgreSQL")
        assert monotonic() - began < 0.9
        began = monotonic()
        with pytest.raises(TimeoutError):
            await silence("Temporal")
        assert monotonic() - began > 0.9


async def test_a_part_without_a_budget_is_waited_for() -> None:
    """A command bounds Temporal, and lets PostgreSQL work."""
    with budget.one_budget("Temporal"):
        with pytest.raises(TimeoutError):
            await silence("Temporal")
        async with budget.answer_of("PostgreSQL"):
            await asyncio.sleep(1.2)


async def test_an_answer_renews_it() -> None:
    """A request that makes many calls may take long, as long as each is answered."""
    with budget.one_budget():
        for _ in range(4):
            async with budget.answer_of("PostgreSQL"):
                await asyncio.sleep(0.4)


async def test_calls_at_the_same_time_do_not_add_up() -> None:
    """What counts is how long somebody has waited."""
    began = monotonic()
    with budget.one_budget():
        await asyncio.gather(*(silence("Temporal") for _ in range(20)), return_exceptions=True)
    assert monotonic() - began < 15


async def test_without_a_budget_nothing_is_cut_off() -> None:
    """A worker has time-outs of its own."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await silence("Temporal")
