"""Python's collector waits for moments in which nothing is due."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from reminders import collector


@pytest.fixture
def full() -> Iterator[list[None]]:
    """Every full collection since the test began."""
    seen: list[None] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == 2:
            seen.append(None)

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


async def test_a_full_collection_waits_until_nothing_is_due(
    full: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again and again while something is under way, and done as soon as nothing is."""
    monkeypatch.setattr(collector, "_LEAST", 0.0)
    monkeypatch.setattr(collector, "_SHARE", 0)
    monkeypatch.setattr(collector, "_POLL", 0.001)
    asked: list[int] = []
    collected = asyncio.Event()

    def is_calm(within: timedelta) -> bool:
        assert within == collector.SOON
        asked.append(len(full))
        if full:
            collected.set()
        return len(asked) > 3

    collecting = asyncio.create_task(collector.collect_between(is_calm))
    await asyncio.wait_for(collected.wait(), 30)
    collecting.cancel()
    assert [0, 0, 0, 0, 1] == asked[:5]


async def test_it_does_not_wait_for_ever(full: list[None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is never idle gives its memory back all the same."""
    monkeypatch.setattr(collector, "_LEAST", 0.0)
    monkeypatch.setattr(collector, "_SHARE", 0)
    monkeypatch.setattr(collector, "_POLL", 0.001)
    monkeypatch.setattr(collector, "_PATIENCE", 0.01)
    collecting = asyncio.create_task(collector.collect_between(lambda _: False))
    async with asyncio.timeout(30):
        while not full:  # noqa: ASYNC110 - a callback of the interpreter, which wakes nobody
            await asyncio.sleep(0.001)
    collecting.cancel()
