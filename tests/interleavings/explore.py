"""All interleavings of a pair, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.interleavings.actors import Played
from tests.interleavings.operations import Operation
from tests.interleavings.stage import Stage

MOST = 400
"""Interleavings of one pair from one state that are played one after the other."""


async def explore(
    stage: Stage, state: Callable[[Stage], Any], operations: tuple[Operation, ...], most: int = MOST
) -> int:
    """Play all interleavings of some operations from a state; how many there were.

    Raises:
        AssertionError: With the script of the one after which something does not hold.
    """
    choices: list[int] | None = []
    count = 0
    while choices is not None and count < most:
        played, found = await stage.play(state, operations, choices)
        _check(state, operations, played, found)
        count += 1
        choices = played.next
    return count


async def sample(
    stage: Stage, state: Callable[[Stage], Any], operations: tuple[Operation, ...], seed: str
) -> None:
    """Play one interleaving of some operations, drawn from a seed.

    Raises:
        AssertionError: With its script, if something does not hold after it.
    """
    choose = Random(f"{seed} {state.__name__} {[op.__name__ for op in operations]}").choice
    played, found = await stage.play(state, operations, choose=choose)
    _check(state, operations, played, found)


def _check(
    state: Callable[[Stage], Any],
    operations: tuple[Operation, ...],
    played: Played,
    found: list[str],
) -> None:
    if found:
        names = ", ".join(op.__name__ for op in operations)
        head = f"{names} from {state.__name__}, choices {played.choices}:"
        raise AssertionError("\n".join([head, *played.script, "", *found]))
