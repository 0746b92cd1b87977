"""One budget for waiting: how long a request waits, in all, for a part that does not answer.

Each call to PostgreSQL or Temporal has a time-out of its own, which suits a worker. Somebody who
waits for an answer meets several such calls one after the other; they share what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from time import monotonic

PATIENCE = {"PostgreSQL": 5.0, "Temporal": 5.0}
"""Seconds, by part."""
_LEAST = 0.1
"""Seconds for one more try of a part that has been silent all the time."""

_silent_since: ContextVar[dict[str, float | None] | None] = ContextVar("silent_since", default=None)
"""When each part fell silent for this request, by the monotonic clock; parts without a budget are absent."""


@contextmanager
def one_budget(*parts: str) -> Iterator[None]:
    """Let everything in this block, and the tasks that it starts, share one budget.

    Args:
        parts: For these; by default for every part.
    """
    token = _silent_since.set(dict.fromkeys(parts or PATIENCE))
    try:
        yield
    finally:
        _silent_since.reset(token)


@asynccontextmanager
async def answer_of(part: str) -> AsyncIterator[None]:
    """Wait for a part as long as the budget allows, which begins anew whenever the part answers.

    Args:
        part: Its name, as in `PATIENCE`.

    Raises:
        TimeoutError: If it does not answer in time.
    """
    silent_since = _silent_since.get()
    if silent_since is None or part not in silent_since:
        yield
        return
    began = silent_since[part] or monotonic()
    silent_since[part] = began
    left = began + PATIENCE[part] - monotonic()
    try:
        async with asyncio.timeout(max(left, _LEAST)):
            yield
    except TimeoutError:
        raise
    except BaseException:  # whatever else it is, it is no silence
        silent_since[part] = None
        raise
    silent_since[part] = None
