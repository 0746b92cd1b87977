"""What all benchmarks measure with: percentiles, medians over runs, CPU, tables."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

Numbers = Mapping[str, float | int | None]
"""What one run measured, by name; None is what could not be measured here."""

WIDE = 160
"""Characters of a line that no terminal limits."""

_UTIME = 11
"""Where /proc/PID/stat has the four CPU times, counted behind the program's name (proc(5))."""
_PARENT = 1


class MeasurementError(Exception):
    """What was to be measured did not happen."""


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that so many per cent of all values do not exceed (nearest rank).

    Args:
        values: At least one, in any order.
        percent: Above 0, at most 100.

    Raises:
        ValueError: If there are no values, or the share is none.
    """
    ascending = sorted(values)
    if not ascending or not 0 < percent <= 100:
        message = "a percentile needs values, and a share above 0 and up to 100"
        raise ValueError(message)
    return ascending[math.ceil(percent / 100 * len(ascending)) - 1]


def medians(runs: Sequence[Numbers]) -> dict[str, float | int | None]:
    """The median of each number over all runs; None where a run has none."""
    found: dict[str, float | int | None] = {}
    for name in runs[0]:
        values = [value for run in runs if (value := run.get(name)) is not None]
        found[name] = _exact(statistics.median(values)) if len(values) == len(runs) else None
    return found


def _exact(number: float) -> float | int:
    """A whole number as one: counts stay counts."""
    return int(number) if number == int(number) else number


def repeats(things: Iterable[Hashable]) -> int:
    """How many of these are repetitions of another."""
    return sum(count - 1 for count in Counter(things).values())


# ---------------------------------------------------------------- processes


@dataclass(frozen=True, slots=True)
class Processes:
    """Parent and CPU seconds of every process, at one instant; empty where there is no /proc."""

    parents: Mapping[int, int]
    seconds: Mapping[int, float]

    @classmethod
    def now(cls) -> Processes:
        """As they are."""
        stats = (_stat(int(p.name)) for p in Path("/proc").glob("[0-9]*"))
        found = {pid: fields for pid, fields in stats if fields}
        tick = os.sysconf("SC_CLK_TCK")
        return cls(
            parents={pid: int(fields[_PARENT]) for pid, fields in found.items()},
            # With what children used that have ended and were waited for.
            seconds={
                pid: sum(map(int, fields[_UTIME : _UTIME + 4])) / tick
                for pid, fields in found.items()
            },
        )

    def tree(self, root: int) -> float:
        """CPU seconds of a process and everything below it."""
        below = [pid for pid, parent in self.parents.items() if parent == root]
        return self.seconds.get(root, 0.0) + sum(self.tree(pid) for pid in below)


def _stat(pid: int) -> tuple[int, list[str]]:
    """Pid, and the fields behind its program's name; none if it has ended."""
    try:
        text = Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return pid, []
    return pid, text.rpartition(")")[2].split()


def cpu_used(pids: Mapping[str, int | None]) -> dict[str, float]:
    """CPU seconds so far of the process trees below these pids, by name; none without /proc."""
    if not Path("/proc/self/stat").exists():
        return {}
    processes = Processes.now()
    return {name: processes.tree(pid) for name, pid in pids.items() if pid is not None}


def cpu_ms(before: Mapping[str, float], after: Mapping[str, float], per: int) -> float | None:
    """CPU milliseconds used between two calls of `cpu_used`, for each of so many things.

    Returns:
        None if one of the names is not known both times.
    """
    if not before or not before.keys() <= after.keys():
        return None
    return sum(after[name] - used for name, used in before.items()) * 1000 / per


def memory_mb(pid: int | None) -> float | None:
    """Memory of a process tree, what is shared counted once (PSS), in MB.

    Returns:
        None where there is no /proc, or it may not be read.
    """
    if pid is None or not Path("/proc/self/smaps_rollup").exists():
        return None
    parents = Processes.now().parents
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    try:
        return sum(map(_pss_kb, tree)) / 1000
    except PermissionError:
        return None


def _pss_kb(pid: int) -> int:
    """Of one process; none if it has ended."""
    try:
        text = Path("/proc", str(pid), "smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


# ---------------------------------------------------------------- the report


def load() -> float:
    """Processes that ran or wanted to during the last minute; above the cores, numbers suffer."""
    return os.getloadavg()[0]


def report(title: str, runs: Sequence[Numbers], constants: Mapping[str, object]) -> None:
    """Print a table of the runs for people, then one JSON line of their medians.

    Args:
        title: Of the table.
        runs: What each run measured; the same names in each.
        constants: What is the same in all of them; goes into the JSON only.
    """
    middle = medians(runs)
    columns = {f"run {number}": run for number, run in enumerate(runs, 1)}
    _table(title, {**columns, "median": middle} if len(runs) > 1 else columns)
    _line({**constants, "runs": len(runs), **_rounded(middle)})


def compare(
    title: str, subjects: Mapping[str, Sequence[Numbers]], constants: Mapping[str, object]
) -> None:
    """Print a table of several subjects' medians for people, then one JSON line of the same.

    Args:
        title: Of the table.
        subjects: What each of them was measured at, by name, ours first; at least one.
        constants: What is the same for all; goes into the JSON only.
    """
    middle = {name: medians(runs) for name, runs in subjects.items()}
    _table(title, middle)
    _line(
        {
            **constants,
            "runs": max(map(len, subjects.values())),
            "subjects": {name: _rounded(numbers) for name, numbers in middle.items()},
        }
    )


def _table(title: str, columns: Mapping[str, Numbers]) -> None:
    """A row for each number that any column has; the last column is what counts."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(f"\n[bold]{title}[/]")
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", style="bold" if name == "median" else "")
    for row in dict.fromkeys(name for numbers in columns.values() for name in numbers):
        table.add_row(row, *(number(numbers.get(row)) for numbers in columns.values()))
    console.print(table)


def _line(content: Mapping[str, object]) -> None:
    print(json.dumps({**content, "cores": os.cpu_count()}), flush=True)


def _rounded(numbers: Numbers) -> dict[str, float | int | None]:
    return {name: None if v is None else round(v, 4) for name, v in numbers.items()}


def number(value: float | None) -> str:
    """A number for people: three digits that matter, none invented."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
