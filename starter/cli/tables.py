"""Tables in a terminal: nothing is cut off, however narrow it is.

A table that does not fit wraps its sentences; where ids and instants alone are wider than the
terminal, each row becomes a block of lines, so that an id can always be copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NARROW = 24
"""Characters; what is longer and has words that are not is a sentence, and may be wrapped."""
_LEAST = 16
"""Characters of a wrapped column at least."""
_FRAME = 3
"""Characters of a column's padding and border; one more closes the row."""


def shown(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows, in the widest form that fits.

    Args:
        console: Where to.
        columns: Their names, in as many words as they take.
        rows: Cells without control characters, as many as there are columns.
    """
    if not rows:
        console.print("nothing to show")
        return
    natural = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    if _framed(natural) <= console.width:
        console.print(_table(columns, rows, [None] * len(columns)))
        return
    columns, rows = _without_empty(columns, rows)
    widths = [_width(name, cells) for name, *cells in zip(columns, *rows, strict=True)]
    if _framed([least for least, _ in widths]) <= console.width:
        console.print(_table(columns, rows, [w if fixed else None for w, fixed in widths]))
        return
    _blocks(console, columns, rows)


def _framed(widths: Sequence[int]) -> int:
    return sum(widths) + _FRAME * len(widths) + 1


def _without_empty(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Only the columns in which something stands."""
    kept = [n for n in range(len(columns)) if any(row[n] for row in rows)]
    return [columns[n] for n in kept], [[row[n] for n in kept] for row in rows]


def _width(name: str, cells: Sequence[str]) -> tuple[int, bool]:
    """How wide a column is at least, and whether that is what it is."""
    longest = max(map(cell_len, cells))
    words = max(cell_len(word) for cell in (name, *cells) for word in cell.split() or [""])
    if longest > _NARROW and words <= _NARROW:
        return max(words, _LEAST), False
    return max(longest, max(map(len, name.split()), default=0)), True


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None]
) -> Table:
    table = Table()
    for name, width in zip(columns, widths, strict=True):
        table.add_column(Text(name), width=width, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _blocks(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line a cell, and an empty line around each row."""
    margin = max(map(len, columns)) + 2
    for row in rows:
        console.print()
        for name, cell in zip(columns, row, strict=True):
            if cell:
                line = Text(f"{name:<{margin}}", style="bold") + Text(cell, style="not bold")
                console.print(line, soft_wrap=True)
    console.print()
