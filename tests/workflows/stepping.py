"""Calls that are broken off, or overtaken, at any of their awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Stepped(Generic[_T]):
    """A call that does something else first when it is about to wait for the n-th time."""

    def __init__(
        self, call: Coroutine[Any, Any, _T], n: int, meanwhile: Callable[[], Awaitable[Any]]
    ) -> None:
        """Await this as you would the call."""
        self._call = call
        self._n = n
        self._meanwhile = meanwhile
        self.is_reached = False

    def __await__(self) -> Generator[Any, Any, _T]:
        """Drive the call from one await to the next."""
        waits = 0
        step: Callable[[], Any] = lambda: self._call.send(None)  # noqa: E731
        while True:
            try:
                future = step()
            except StopIteration as done:
                result: _T = done.value
                return result
            waits += 1
            if waits == self._n:
                self.is_reached = True
                yield from self._meanwhile().__await__()
            try:
                yield future
            except BaseException as error:  # noqa: BLE001 - the call's to handle
                step = lambda error=error: self._call.throw(error)  # type: ignore[misc]  # noqa: E731
            else:
                step = lambda: self._call.send(None)  # noqa: E731


async def broken_off(call: Coroutine[Any, Any, Any], at: int) -> bool:
    """Cancel a call when it waits for the n-th time; false if it does not wait so often."""

    async def hang_up() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    stepped = Stepped(call, at, hang_up)

    async def calling() -> None:
        await stepped

    task = asyncio.create_task(calling())
    with suppress(asyncio.CancelledError):
        await task
    return stepped.is_reached


async def overtaken(
    call: Coroutine[Any, Any, Any], at: int, by: Callable[[], Coroutine[Any, Any, Any]]
) -> bool:
    """Let another call overtake this one at its n-th wait; false if it does not wait so often.

    One that has to wait for what this one holds does not overtake, and ends after it.
    """
    others: list[asyncio.Task[Any]] = []

    async def overtake() -> None:
        others.append(asyncio.create_task(by()))
        await asyncio.wait(others, timeout=1)

    stepped = Stepped(call, at, overtake)
    await stepped
    await asyncio.gather(*others)
    return stepped.is_reached
