"""How far long work is, for somebody at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar that is shown, or pretends to be."""

    _progress: Progress
    _task: TaskID

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._progress.update(self._task, advance=count)

    def at(self, done: int, total: int | None) -> None:
        """So many are done in all; `total` may only now be known."""
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def bar(what: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Bar]:
    """A bar on standard error while something takes long; nothing where that is no terminal.

    Args:
        what: Of what there are so many.
        total: How many in all; `None` while that is not known.
        quiet: Show nothing: a program reads what is printed.
    """
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
