"""What all benchmarks measure with: percentiles, medians over runs, CPU, tables."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

Numbers = Mapping[str, float | int | None]
"""What one run measured, by name; None is what could not be measured here."""

_UTIME = 11
"""Where /proc/PID/stat has the four CPU times, counted behind the program's name (proc(5))."""
_PARENT = 1


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


# ---------------------------------------------------------------- the report


def load() -> float:
    """Processes that ran or wanted to during the last minute; above the cores, numbers suffer."""
    return os.getloadavg()[0]


def report(title: str, runs: Sequence[Numbers], constants: Mapping[str, object]) -> None:
    """Print a table for people, then one JSON line.

    Args:
        title: Of the table.
        runs: What each run measured; the same names in each.
        constants: What is the same in all of them; goes into the JSON only.
    """
    middle = medians(runs)
    console = Console(highlight=False)
    console.print(f"\n[bold]{title}[/]")
    table = Table()
    table.add_column("")
    for number in range(1, len(runs) + 1):
        table.add_column(f"run {number}", justify="right", style="dim" if len(runs) > 1 else "")
    if len(runs) > 1:
        table.add_column("median", justify="right", style="bold")
    for name in runs[0]:
        columns = [run.get(name) for run in runs] + ([middle[name]] if len(runs) > 1 else [])
        table.add_row(name, *(_number(value) for value in columns))
    console.print(table)
    rounded = {name: None if v is None else round(v, 4) for name, v in middle.items()}
    print(
        json.dumps({**constants, "cores": os.cpu_count(), "runs": len(runs), **rounded}), flush=True
    )


def _number(value: float | None) -> str:
    """A number for people: three digits that matter, none invented."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
