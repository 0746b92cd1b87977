"""The connection dies at every statement of every operation, before it or with its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from zlib import crc32

import pytest

from reminders.domain.errors import DatabaseUnavailableError
from tests.interleavings.actors import DONE, Actor, Halting
from tests.interleavings.operations import OPERATIONS, Operation, Parts
from tests.interleavings.stage import STATES, Stage
from tests.interleavings.wire import Cut, Wire

pytestmark = pytest.mark.proof

PART = 3
"""One in so many is played without `--slow`."""
MOST_STEPS = 40
AGAIN = 3
"""How often a call is repeated that was cut off: once does it, on a new connection."""


@pytest.fixture
async def wire(database_url: str) -> AsyncIterator[Wire]:
    """Between an operation and its database."""
    async with Wire(database_url) as wire:
        yield wire


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """A database of this test's own, looked at directly."""
    stage = Stage.made(database_url, actors=0)
    yield stage
    await stage.aclose()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.__name__)
async def test_a_call_that_is_cut_off_is_completed_by_the_same_call(
    stage: Stage, wire: Wire, operation: Operation, request: pytest.FixtureRequest
) -> None:
    """At whichever statement the wire breaks: repeated, it leaves what must hold."""
    is_all = request.config.getoption("--slow")
    for state in STATES:
        for step in range(MOST_STEPS):
            is_over = False
            for how in Cut:
                name = f"{operation.__name__} {state.__name__} {step} {how.name}"
                if is_all or crc32(name.encode()) % PART == 0 or step == 0:
                    await stage.set(state)
                    is_over = await _cut(stage, wire, operation, step, how)
                    found = await stage.violations()
                    assert [] == found, f"{name}: {found}"
            if is_over:
                break


async def _cut(stage: Stage, wire: Wire, operation: Operation, step: int, how: Cut) -> bool:
    """Break at one step, then repeat the call; true if there are no so many steps."""
    database = Halting(wire.url, pool_size=3)
    try:
        actor = Actor(operation.__name__, database)
        parts = Parts(database, stage.outside)
        await actor.begin(lambda: operation(parts))
        while actor.steps < step and actor.at != DONE:
            actor.release()
            await actor.arrived(30)
        if actor.at == DONE:
            return True
        wire.cut(how)
        await actor.finish()
        for _ in range(AGAIN):
            if not isinstance(actor.error, DatabaseUnavailableError):
                break
            await actor.begin(lambda: operation(parts))
            await actor.finish()
        assert not isinstance(actor.error, DatabaseUnavailableError)
    finally:
        await database.aclose()
    return False
