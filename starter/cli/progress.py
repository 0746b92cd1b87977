"""How far long work is, for somebody at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from starter.cli.options import ask

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from rich.progress import Progress, TaskID

    from starter.assembly import Parts
    from starter.services.receipts import ChangeReceipt

LOOK_EVERY = timedelta(seconds=0.5)
"""How often somebody at a terminal sees how far it is."""
STILL = timedelta(minutes=2)
"""Nobody is kept waiting longer while nothing moves: there may be no worker."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar that is shown, or pretends to be."""

    _progress: Progress
    _task: TaskID

    def advance(self, count: int) -> None:
        """This many more are done."""
        self._progress.update(self._task, advance=count)

    def at(self, done: int, total: int | None) -> None:
        """This many are done in all; `total` may only now be known."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def bar(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Bar]:
    """A bar on standard error while something takes long; nothing where that is no terminal.

    Args:
        what: What is counted.
        total: How many in all; `None` while that is not known.
        quiet: Show nothing: a program reads what is printed.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    is_hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=is_hidden, transient=True) as progress:
        yield Bar(progress, progress.add_task(what, total=total))


def waited_for(
    change: Callable[[Parts], Awaitable[ChangeReceipt]], session_id: UUID, *, quiet: bool
) -> ChangeReceipt:
    """What a session's change did; a big one is followed with a bar where somebody looks on.

    Args:
        change: Starts it, and waits a little.
        session_id: The session's.
        quiet: Do not wait longer: a program asks.

    Returns:
        The receipt, perhaps of a change that is still under way.
    """

    async def done(parts: Parts) -> ChangeReceipt:
        receipt = await change(parts)
        if quiet or not sys.stderr.isatty():
            return receipt
        return await followed(parts, session_id, receipt)

    return ask(done)


async def followed(parts: Parts, session_id: UUID, change: ChangeReceipt) -> ChangeReceipt:
    """A change when it is done, with a bar until then; as it was, if nothing moves for long."""
    seen, moved_at = None, parts.clock.now()
    with bar("enrollments confirmed; Ctrl-C stops only the waiting") as shown:
        while not change.is_done and change.workflow_id is not None:
            run = await parts.sweeps.run(change.workflow_id, change.run_id)
            if run is None or run.status != "running":
                break
            confirmed = run.so_far.get("enrollments", 0) if run.so_far else 0
            if confirmed != seen:
                seen, moved_at = confirmed, parts.clock.now()
            elif parts.clock.now() - moved_at > STILL:
                break
            shown.at(confirmed, await parts.browser.taking_part(session_id))
            change = await parts.gateway.changes.counted(change, wait=LOOK_EVERY)
    return await parts.gateway.changes.counted(change, wait=LOOK_EVERY)
