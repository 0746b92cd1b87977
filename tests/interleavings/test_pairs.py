"""Every two operations at once, and some three, statement by statement, on PostgreSQL.

Without `--slow` each pair is played once from some of the states, in an order drawn from the pair's
name, and those of the delivery in all orders; with it, all orders of all pairs from all states, and
many of the triples. To go on where it stopped: `-k` takes the name of an operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import combinations_with_replacement
from zlib import crc32

import pytest

from tests.interleavings import operations as ops
from tests.interleavings.explore import explore, sample
from tests.interleavings.operations import OPERATIONS, Operation
from tests.interleavings.stage import STATES, Stage, waiting
from tests.simulation.sql_mutants import MUTANTS, StatementMutant

pytestmark = pytest.mark.proof

PART = 4
"""One in so many pairs from one state is played without `--slow`."""
CLOSELY: tuple[tuple[Operation, Operation], ...] = (
    (ops.deliver, ops.deliver),
    (ops.deliver, ops.close),
    (ops.deliver, ops.end_hold),
    (ops.recover, ops.recover),
    (ops.deliver, ops.recover),
)
"""Few statements each: all their orders are played, always."""
TRIPLES: tuple[tuple[Operation, Operation, Operation], ...] = (
    (ops.deliver, ops.hold, ops.end_hold),
    (ops.deliver, ops.close, ops.recover),
    (ops.deliver, ops.recover, ops.delivered),
    (ops.deliver, ops.move_session, ops.recover),
    (ops.deliver, ops.cancel_session, ops.restore_session),
    (ops.deliver, ops.unenroll, ops.enroll),
    (ops.deliver, ops.send_now, ops.unenroll),
    (ops.deliver, ops.opt_out, ops.opt_in),
    (ops.deliver_refused, ops.deliver, ops.close),
    (ops.unenroll, ops.enroll, ops.repair),
    (ops.renew, ops.close, ops.deliver),
    (ops.resend, ops.deliver, ops.complained),
)
"""What is likely to meet: a delivery, what undoes it, and what undoes that."""
ORDERS = 60
"""Of a triple from one state, with `--slow`."""


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """A database of this test's own."""
    stage = Stage.made(database_url)
    yield stage
    await stage.aclose()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.__name__)
@pytest.mark.timeout(300)
async def test_two_at_once(stage: Stage, operation: Operation) -> None:
    """Whatever the order of their statements, the invariants hold, and none waits for ever."""
    for first, second in combinations_with_replacement(OPERATIONS, 2):
        for state in STATES:
            name = f"{first.__name__} {second.__name__} {state.__name__}"
            if first is operation and crc32(name.encode()) % PART == 0:
                async with asyncio.timeout(30):
                    await sample(stage, state, (first, second), "pairs")


@pytest.mark.parametrize("pair", CLOSELY, ids=lambda p: f"{p[0].__name__}-{p[1].__name__}")
@pytest.mark.timeout(300)
async def test_all_orders_of_two_deliveries(
    stage: Stage, pair: tuple[Operation, Operation]
) -> None:
    """Few statements, and every order of them."""
    for state in STATES[:3]:
        assert await explore(stage, state, pair, most=40) > 1 or state is not waiting


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda t: "-".join(op.__name__ for op in t))
@pytest.mark.timeout(600)
async def test_three_at_once(
    database_url: str,
    triple: tuple[Operation, Operation, Operation],
    request: pytest.FixtureRequest,
) -> None:
    """Three can wait for each other in a ring, and two can undo what the third has read."""
    stage = Stage.made(database_url, actors=3)
    try:
        for state in STATES:
            for order in range(ORDERS if request.config.getoption("--slow") else 1):
                async with asyncio.timeout(30):
                    await sample(stage, state, triple, f"triples {order}")
    finally:
        await stage.aclose()


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.seed is None], ids=lambda m: m.name)
async def test_a_fault_between_statements_is_found(stage: Stage, mutant: StatementMutant) -> None:
    """One that answers as it should as long as nothing else happens."""
    with mutant.made(), pytest.raises(AssertionError):
        await _closely(stage)


async def _closely(stage: Stage) -> None:
    for pair in CLOSELY:
        await explore(stage, waiting, pair, most=40)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("state", STATES, ids=lambda s: s.__name__)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: op.__name__)
async def test_all_orders(stage: Stage, operation: Operation, state: object) -> None:
    """Of all pairs."""
    for second in OPERATIONS[OPERATIONS.index(operation) :]:
        await explore(stage, state, (operation, second))  # type: ignore[arg-type]
