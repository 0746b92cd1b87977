"""Many calls at once, but not too many, and their counts added up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

AT_ONCE = 20
"""Calls in flight: they mostly wait, but share a pool of connections with everything else."""


async def fan_out(
    call: Callable[[_Item], Awaitable[_Answer]], items: Iterable[_Item], *, at_once: int = AT_ONCE
) -> list[_Answer]:
    """Call for every item, a bounded number at a time.

    Returns:
        The answers, in the order of the items.

    Raises:
        Exception: The first that a call raises; no other call is left running behind it.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(item: _Item) -> _Answer:
        async with slots:
            return await call(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


_Tally = TypeVar("_Tally", bound="DataclassInstance")


def total(first: _Tally, *others: _Tally) -> _Tally:
    """Every `int` field summed over all of them; every other field is the first's."""
    names = [field.name for field in fields(first) if field.type in (int, "int")]
    sums = {name: sum(getattr(tally, name) for tally in (first, *others)) for name in names}
    return replace(first, **sums)
