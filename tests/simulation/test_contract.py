"""The ledger in memory does what PostgreSQL does."""

from __future__ import annotations

from random import Random

import pytest

from reminders.db.engine import Database
from tests.simulation.contract import Pair

OPERATIONS = 150
"""Of one run."""


@pytest.mark.parametrize("seed", range(4))
async def test_the_model_answers_as_postgresql(database: Database, seed: int) -> None:
    """Whatever is asked of both, in any order, comes out the same, and leaves the same rows."""
    random = Random(seed)
    pair = await Pair.made(database, random)
    for _ in range(OPERATIONS):
        await pair.step(random)
    await pair.compare()
    assert pair.batches
