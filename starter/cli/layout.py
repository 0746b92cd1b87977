"""What printed answers are made of: named lines, tables, sentences.

Text that other people typed is shown as it is, never as markup, and without what would steer a
terminal. How a table fits is in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from starter.cli import tables

_WIDTH_OF_FILES = 1000
"""Columns where the output is no terminal, so that nothing is cut off."""


def lines(**values: str | None) -> None:
    """One line a value, its name before it; those that are absent are left out."""
    console = _console()
    for name, value in values.items():
        if value is not None:
            console.print(Text(f"{name:<10} {shown(value)}"), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str | datetime | None]]) -> None:
    """A table.

    Args:
        columns: Their names.
        rows: Cells, as many as there are columns; `None` is an empty one.
    """
    tables.shown(_console(), columns, [[shown(cell) for cell in row] for row in rows])


def sentence(text: str) -> None:
    """A line of its own, wrapped by the terminal alone."""
    _console().print(Text(shown(text)), soft_wrap=True)


def more(cursor: str | None) -> None:
    """Where a list goes on, if it does."""
    if cursor:
        lines(more=f"--cursor {cursor}")


def shown(value: str | datetime | None) -> str:
    """A value for a terminal: instants to the second, no control characters."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "".join(c if c.isprintable() else " " for c in value or "")


def _console() -> Console:
    """Made anew: standard output may have been redirected since."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)
