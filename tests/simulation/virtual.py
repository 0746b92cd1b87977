"""An event loop without waiting: its clock jumps to the next timer when nothing is ready.

Everything in a schedule runs on it, in one thread, so that the same choices give the same story to
the last callback. Work belongs to a `Process`, by context: one that is dead is never resumed, at
whatever `await` it stood, and one that is paused goes on later, as after SIGSTOP.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from itertools import count
from types import CodeType
from typing import Any, TypeVar

_T = TypeVar("_T")

EPOCH = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
"""Second 0 of every schedule."""
MOST_STEPS = 400_000
"""Callbacks of a schedule: more is a loop that does not end."""


class EndlessError(Exception):
    """A schedule that does not come to an end."""


class Process:
    """What dies, and stands still, as a whole."""

    def __init__(self, name: str) -> None:
        """Be alive."""
        self.name = name
        self.is_dead = False
        self.paused: list[asyncio.Handle] | None = None
        self.context = copy_context()
        self.context.run(PROCESS.set, self)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    _ready: deque[asyncio.Handle]

    def __init__(self, *, keepers: frozenset[CodeType] = frozenset()) -> None:
        """Begin at second 0.

        Args:
            keepers: Code of coroutines that only look now and then whether there is something to
                do. Time does not stop for them while `is_quiet`: they come late, as on a busy
                machine, which keeps a quiet day cheap.
        """
        super().__init__()
        self.is_quiet: Callable[[], bool] = bool
        self.steps = 0
        self._seconds = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._looks: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = count()
        self._keepers = keepers
        self._keeping: set[asyncio.Task[Any]] = set()
        self._made: list[asyncio.Task[Any]] = []
        self.failures: list[str] = []
        self.set_exception_handler(self._note_failure)

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._seconds

    def now(self) -> datetime:
        """The true time."""
        return EPOCH + timedelta(seconds=self._seconds)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, _T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        """See `asyncio.loop.create_task`."""
        task: asyncio.Task[_T] = asyncio.Task(coro, loop=self, context=context)
        self._made.append(task)
        if getattr(coro, "cr_code", None) in self._keepers:
            self._keeping.add(task)
        return task

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_at`."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        is_look = bool(self._keeping) and asyncio.current_task(self) in self._keeping
        heapq.heappush(self._looks if is_look else self._timers, (when, next(self._count), handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """See `asyncio.loop.call_later`."""
        return self.call_at(self._seconds + delay, callback, *args, context=context)

    def outside(self, delay: float, callback: Callable[..., object], *args: object) -> None:
        """Do something after so many seconds that no process has to be alive for."""
        self.call_at(self._seconds + delay, callback, *args, context=_OUTSIDE.copy())

    def resume(self, process: Process) -> None:
        """Let a paused process go on."""
        held, process.paused = process.paused or [], None
        self._ready.extend(held)

    def errors(self) -> list[str]:
        """Of tasks that nobody awaits: what would otherwise be seen by no one."""
        nobodys = (t for t in self._made if t.done() and t._log_traceback)
        return [f"nobody expects {task.exception()!r}" for task in nobodys]

    def end(self) -> None:
        """Forget everything, silently: nothing that cleans up has any effect now."""
        self._ready.clear()
        for task in self._made:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(RuntimeError):  # it awaits something while it is being closed
                task.get_coro().close()
        self._made.clear()
        self._keeping.clear()
        self._timers.clear()
        self._looks.clear()
        self.close()

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
            if process is not None:
                if process.is_dead:
                    continue
                if process.paused is not None:
                    process.paused.append(handle)
                    continue
            self.steps += 1
            handle._run()
        if self.steps > MOST_STEPS:
            raise EndlessError(f"more than {MOST_STEPS} steps by second {self._seconds:.0f}")

    def _advance(self) -> None:
        """Jump to the next timer, and make all ready that are due then."""
        for heap in (self._timers, self._looks):
            while heap and heap[0][2]._cancelled:
                heapq.heappop(heap)
        if self._timers and (not self._looks or self.is_quiet()):
            when = self._timers[0][0]
        elif self._timers:
            when = min(self._timers[0][0], self._looks[0][0])
        elif self._looks:
            when = self._looks[0][0]
        else:
            raise EndlessError("nothing will ever happen again")
        self._seconds = max(self._seconds, when)
        for heap in (self._timers, self._looks):
            while heap and heap[0][0] <= self._seconds:
                self._ready.append(heapq.heappop(heap)[2])

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to count: cancelled ones are dropped when their time comes."""

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There are no threads."""

    def _note_failure(self, _loop: events.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None:
            self.failures.append(f"{context['message']}: {error!r}")


_OUTSIDE = Context()


class SkewedClock:
    """The clock of one machine: `ahead` of the true time, or behind."""

    def __init__(self, loop: VirtualLoop, ahead: timedelta = timedelta()) -> None:
        """Tell the loop's time."""
        self._loop = loop
        self.ahead = ahead

    def now(self) -> datetime:
        """See `Clock.now`."""
        return EPOCH + timedelta(seconds=self._loop._seconds) + self.ahead
