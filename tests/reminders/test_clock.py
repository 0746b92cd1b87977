"""The clock that processes share: PostgreSQL's, as each has last heard it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

import pytest

from reminders.clock import SharedClock
from reminders.domain.errors import DatabaseUnavailableError
from tests.builders import NOW

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class Machine:
    """A machine whose clock is wrong; the true time is what a test says."""

    def __init__(self, wrong_by: timedelta) -> None:
        """At some moment."""
        self.wrong_by = wrong_by
        self.seconds = 50.0

    def ticks(self) -> float:
        """Seconds since it was started."""
        return self.seconds

    def true(self) -> datetime:
        """What PostgreSQL's clock says."""
        return NOW + timedelta(seconds=self.seconds)

    def now(self) -> datetime:
        """What this machine's says."""
        return self.true() + self.wrong_by


def heard(machine: Machine, *, on_the_way: tuple[float, float] = (0.0, 0.0)) -> SharedClock:
    """A clock that has been heard once, by an answer that took so long to come and go."""
    clock = SharedClock(machine, machine.ticks)
    hear(clock, machine, on_the_way=on_the_way)
    return clock


def hear(clock: SharedClock, machine: Machine, *, on_the_way: tuple[float, float]) -> None:
    """Have it heard, by a question and an answer that take so many seconds."""
    asked = machine.seconds
    machine.seconds += on_the_way[0]
    there = machine.true()
    machine.seconds += on_the_way[1]
    clock.hear(there, asked=asked)


@pytest.mark.parametrize("wrong_by", [HOUR, -HOUR, 3 * SECOND, timedelta()])
def test_a_machines_own_clock_does_not_count(wrong_by: timedelta) -> None:
    """Nor what becomes of it later; until PostgreSQL's was heard there is no other."""
    machine = Machine(wrong_by)
    assert machine.now() == SharedClock(machine, machine.ticks).now()
    clock = heard(machine)
    machine.seconds += 5
    machine.wrong_by += HOUR
    assert machine.true() == clock.now()


def test_it_is_never_ahead_and_keeps_the_quickest_answer() -> None:
    """It lags by the way of an answer at the most, and a slow one does not make it worse."""
    machine = Machine(HOUR)
    clock = heard(machine, on_the_way=(0.0, 0.5))
    assert 0.5 * SECOND == machine.true() - clock.now()
    hear(clock, machine, on_the_way=(0.01, 0.02))
    assert 0.02 * SECOND == machine.true() - clock.now()
    hear(clock, machine, on_the_way=(0.9, 0.3))
    assert 0.02 * SECOND == machine.true() - clock.now()


@pytest.mark.parametrize("by", [HOUR, -HOUR, 0.2 * SECOND, -0.2 * SECOND])
def test_it_follows_when_postgresqls_clock_is_another(by: timedelta) -> None:
    """After a fail-over, or when the machine's oscillator is off: at the next hearing."""
    machine = Machine(HOUR)
    clock = heard(machine)
    machine.seconds += 10
    clock.hear(machine.true() + by, asked=machine.seconds)
    assert machine.true() + by == clock.now()


def test_a_wrong_clock_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """By how much, and which counts; again only after it was right."""
    machine = Machine(-HOUR)
    clock = heard(machine)
    hear(clock, machine, on_the_way=(0.0, 0.0))
    assert ["this machine's clock is 3600 s behind PostgreSQL's"] == said(caplog)
    machine.wrong_by = SECOND
    hear(clock, machine, on_the_way=(0.0, 0.0))
    machine.wrong_by = 3 * SECOND
    hear(clock, machine, on_the_way=(0.0, 0.0))
    assert "this machine's clock is 3 s ahead of PostgreSQL's" == said(caplog)[-1]
    assert 2 == len(said(caplog))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings, without what to do."""
    levels = [r for r in caplog.records if r.levelno == logging.WARNING]
    return [record.getMessage().partition(",")[0] for record in levels]


async def test_it_listens_as_long_as_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The block begins with an answer; who does not answer, or makes no sense, is asked again."""
    monkeypatch.setattr("reminders.clock.HEARD_EVERY", timedelta())
    machine, answers = Machine(HOUR), iter([None, DatabaseUnavailableError(), TypeError(), None])
    enough = asyncio.Event()

    async def ask() -> datetime:
        answer = next(answers, enough)
        if isinstance(answer, Exception):
            raise answer
        if answer is enough:
            enough.set()
        return machine.true()

    clock = SharedClock(machine, machine.ticks)
    async with clock.listening(ask):
        assert machine.true() == clock.now()
        await enough.wait()
    enough.clear()
    await asyncio.sleep(0.01)
    assert not enough.is_set()
