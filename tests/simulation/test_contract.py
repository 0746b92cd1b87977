"""The ledger in memory does what PostgreSQL does."""

from __future__ import annotations

from random import Random

import pytest

from reminders.db.engine import Database
from tests.simulation.contract import Pair
from tests.simulation.sql_mutants import MUTANTS, StatementMutant

pytestmark = pytest.mark.proof

OPERATIONS = 150
"""Of one run."""


@pytest.mark.parametrize("seed", range(4))
async def test_the_model_answers_as_postgresql(database: Database, seed: int) -> None:
    """Whatever is asked of both, in any order, comes out the same, and leaves the same rows."""
    random = Random(seed)
    pair = await Pair.made(database, random)
    await pair.play(random, OPERATIONS)
    assert pair.batches


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.seed is not None], ids=lambda m: m.name)
async def test_a_fault_in_a_statement_is_found(database: Database, mutant: StatementMutant) -> None:
    """By the operations that are noted for it: the two ledgers do not answer the same any more."""
    assert mutant.seed is not None
    random = Random(mutant.seed)
    pair = await Pair.made(database, random)
    with mutant.made(), pytest.raises(AssertionError):
        await pair.play(random, 200)
