"""Some schedules of the simulation, those that once went wrong, and faults that it must find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import mutants, sql_mutants
from tests.simulation.invariants import INVARIANTS
from tests.simulation.real import real_composer
from tests.simulation.runner import judge, play
from tests.simulation.story import NOTICED, WILDER, story
from tests.simulation.world import quiet

pytestmark = pytest.mark.proof

CHUNK = 100
"""Schedules of one test."""


@pytest.mark.parametrize("first", range(0, 600, CHUNK))
def test_every_invariant_holds_in_hundreds_of_schedules(first: int) -> None:
    """Whatever happens, and in which order: `python3 dev.py simulate --seed N` tells one."""
    assert [] == play(range(first, first + CHUNK)).failures


@pytest.mark.parametrize("first", range(NOTICED, NOTICED + 300, CHUNK))
def test_every_invariant_holds_where_people_are_told_of_changes(first: int) -> None:
    """The same stories, where notices are on."""
    assert [] == play(range(first, first + CHUNK)).failures


@pytest.mark.parametrize("first", [0, NOTICED])
def test_schedules_with_real_mails(first: int) -> None:
    """With the real composer and its templates it is the same."""
    assert [] == play(range(first, first + 6), composer=real_composer).failures


@pytest.mark.parametrize("first", range(WILDER, WILDER + 200, CHUNK))
def test_every_invariant_holds_in_wilder_schedules(first: int) -> None:
    """With more that must come together closely, and bursts of news."""
    assert [] == play(range(first, first + CHUNK)).failures


def test_a_seed_is_always_the_same_story() -> None:
    """Told twice, in two processes, it is the same to the last line."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "42"]
    told = [subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2)]
    assert told[0].stdout == told[1].stdout
    assert "accepted" in told[0].stdout or "enroll" in told[0].stdout


ONCE_WRONG = (
    963, 660, 1886, 1000079, 1000930, 1002885, 2001208, 2003294, 2004848, 2007548, 2008013, 2010057,
    2011639, 2014490, 2018819, 2020942, 2021008, 2100358, 2101774, 2103049, 2202644, 3000087,
    3000129, 3000134, 3000263, 3000324, 3000694, 3001407, 3001871, 3001940, 3002536, 3003055, 3004545, 3004800,
    3101152, 3101429, 3103890, 3201396, 3201724, 7000087,
)  # fmt: skip
"""Schedules in which something did not hold, whether code, model or invariant was to blame."""


def test_what_was_once_wrong_is_right() -> None:
    """Each of them, on its own."""
    assert [] == play(ONCE_WRONG).failures


@pytest.mark.parametrize("name", [m.name for m in mutants.MUTANTS])
def test_a_fault_is_found(name: str) -> None:
    """By the schedule that is noted for it, and not without the fault."""
    seed = mutants.found().get(name)
    assert seed is not None, "nothing finds it: python3 dev.py simulate --mutants"
    of = story(seed)
    with quiet():
        with mutants.applied(name):
            _, found = judge(of)
        assert found, "its schedule does not find it any more: python3 dev.py simulate --mutants"
        assert [] == judge(of)[1]


def test_the_page_quotes_the_invariants_and_counts_the_faults() -> None:
    """Word by word, and all of them."""
    page = (Path(__file__).parents[2] / "docs/proof.md").read_text(encoding="utf-8")
    faults = len(mutants.MUTANTS), len(sql_mutants.MUTANTS)
    assert (
        "`mutants.py` ({}, in code) and `sql_mutants.py` ({}, in statements)".format(*faults)
        in page
    )
    for invariant in INVARIANTS:
        sentence = (invariant.__doc__ or "").splitlines()[0]
        assert f"- {sentence}\n" in page
