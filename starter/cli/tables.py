"""What printed answers are made of: named lines, sentences, and tables of which nothing is cut off.

A table that does not fit wraps its sentences; where ids and instants alone are wider than the
terminal, each row becomes a block of lines, so that an id can always be copied. Text that other
people typed is shown as it is, never as markup, and without what would steer a terminal.

rich is imported by what prints: `--help` and shell completion answer without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_OF_FILES = 1000
"""Columns where the output is no terminal, so that nothing is cut off."""
_NARROW = 24
"""Characters; what is longer and has words that are not is a sentence, and may be wrapped."""
_LEAST = 16
"""Characters of a wrapped column at least."""
_FRAME = 3
"""Characters of a column's padding and border; one more closes the row."""


def lines(**values: str | None) -> None:
    """Print one line for each value, its name before it; those that are absent are left out."""
    for name, value in values.items():
        if value is not None:
            sentence(f"{name:<10} {plain(value)}")


def table(rows: Iterable[Mapping[str, object]]) -> None:
    """Print a table of rows: cells by the name of their column, the same in each; `None` is empty."""
    found = [{name: plain(cell) for name, cell in row.items()} for row in rows]
    columns = list(found[0]) if found else []
    print_rows(_console(), columns, [list(row.values()) for row in found])


def row(cells: Mapping[str, object]) -> None:
    """Print a table of this one row."""
    table([cells])


def sentence(text: str) -> None:
    """Print a line of its own, wrapped by the terminal alone."""
    from rich.text import Text

    _console().print(Text(plain(text)), soft_wrap=True)


def more(cursor: str | None) -> None:
    """Say where a list goes on, if it does."""
    if cursor:
        lines(more=f"--cursor {cursor}")


def plain(value: object) -> str:
    """A value for a terminal: instants to the second, no control characters, nothing for `None`."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "".join(c if c.isprintable() else " " for c in ("" if value is None else str(value)))


def _console() -> Console:
    """Made anew: standard output may have been redirected since."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def print_rows(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows, in the widest form that fits.

    Args:
        console: Where to.
        columns: Their names, in as many words as they take.
        rows: Cells without control characters, as many as there are columns.
    """
    from rich.cells import cell_len

    if not rows:
        console.print("nothing to show")
        return
    natural = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    if _framed(natural) <= console.width:
        console.print(_table(columns, rows, [None] * len(columns)))
        return
    kept = [n for n in range(len(columns)) if any(row[n] for row in rows)]
    columns, rows = [columns[n] for n in kept], [[row[n] for n in kept] for row in rows]
    widths = [_width(name, cells) for name, *cells in zip(columns, *rows, strict=True)]
    if _framed([least for least, _ in widths]) <= console.width:
        console.print(_table(columns, rows, [w if fixed else None for w, fixed in widths]))
        return
    _blocks(console, columns, rows)


def _framed(widths: Sequence[int]) -> int:
    return sum(widths) + _FRAME * len(widths) + 1


def _width(name: str, cells: Sequence[str]) -> tuple[int, bool]:
    """How wide a column is at least, and whether that is what it is."""
    from rich.cells import cell_len

    longest = max(map(cell_len, cells))
    words = max(cell_len(word) for cell in (name, *cells) for word in cell.split() or [""])
    if longest > _NARROW and words <= _NARROW:
        return max(words, _LEAST), False
    return max(longest, max(map(len, name.split()), default=0)), True


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None]
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, width in zip(columns, widths, strict=True):
        table.add_column(Text(name), width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line for each cell, and an empty line around each row."""
    from rich.text import Text

    margin = max(map(len, columns)) + 2
    for row in rows:
        console.print()
        for name, cell in zip(columns, row, strict=True):
            if cell:
                line = Text(f"{name:<{margin}}", style="bold") + Text(cell, style="not bold")
                console.print(line, soft_wrap=True)
    console.print()
