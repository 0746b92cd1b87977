"""What the suite measures for the report, and what it has measured: `bench/results/*.json`."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from bench.herd import OURS
from bench.measure import Numbers
from reminders.clock import SystemClock

FOLDER = Path(__file__).parents[1] / "results"

FORMS = ("quick", "full")


@dataclass(frozen=True, slots=True)
class Entry:
    """A part of the report: a benchmark with its arguments, in two sizes."""

    name: str
    quick: str
    """To see that everything works."""
    full: str
    """To be believed, on a machine that does nothing else."""

    def command(self, form: str) -> str:
        """Name and arguments for `python -m bench`."""
        return str(getattr(self, form))


ENTRIES = (
    Entry(
        "herd",
        "herd --n 60 --rate 10 --peers poller",
        "herd --n 2000 --rate 10 --peers poller --runs 3",
    ),
    Entry(
        "hundreds",
        "herd --n 30 --rate 10 --peers poller",
        "herd --n 500 --rate 10 --peers poller --runs 3",
    ),
    Entry(
        "thousands",
        "herd --n 60 --rate 10 --workers 2 --small 5",
        "herd --n 10000 --rate 10 --workers 2 --small 10",
    ),
    Entry(
        "single",
        "herd --n 60 --rate 10 --small 5",
        "herd --n 10000 --rate 10 --small 10",
    ),
    Entry(
        "peers",
        "herd --n 30 --rate 10 --peers all --patience 60",
        "herd --n 2000 --rate 10 --peers all --patience 240",
    ),
    Entry("unlimited", "herd --n 60 --floor", "herd --n 300 --floor --runs 3"),
    Entry("crash", "crash --n 60 --rate 10", "crash --n 1000 --rate 10"),
    Entry("enroll", "enroll --n 60", "enroll --n 500 --runs 3"),
    Entry("lag", "lag --n 10", "lag --n 100"),
    Entry("sleep", "sleep --n 100 --then 200", "sleep --n 1000 --then 10000 50000"),
    Entry("change", "change --n 100", "change --n 10000"),
    Entry("sweep", "sweep --n 1000", "sweep --n 100000"),
    Entry("history", "history", "history"),
    Entry("admin", "admin --times 3", "admin --times 20"),
    Entry("render", "render --n 500 --runs 1", "render --n 5000 --runs 3"),
)
"""In the order of the report."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one entry found, where and when."""

    command: str
    form: str
    measured_on: str
    """Date, in UTC."""
    machine: Mapping[str, Any]
    found: Mapping[str, Any]
    """The benchmark's JSON line."""

    @classmethod
    def of(cls, command: str, form: str, found: Mapping[str, Any]) -> Self:
        """Of a benchmark that has just run here."""
        return cls(
            command=command,
            form=form,
            measured_on=f"{SystemClock().now():%Y-%m-%d}",
            machine=this_machine(),
            found=found,
        )

    @property
    def load(self) -> float:
        """The highest load among what was measured; 0 if it was not noted."""
        return max(float(numbers.get("load") or 0) for numbers in subjects(self.found).values())


def subjects(line: Mapping[str, Any]) -> Mapping[str, Numbers]:
    """Everything that a part compares; ourselves alone where it compares nothing."""
    found: Mapping[str, Numbers] = line.get("subjects", {OURS: line})
    return found


def read() -> dict[str, Result]:
    """All that was kept, by entry."""
    files = {entry.name: FOLDER / f"{entry.name}.json" for entry in ENTRIES}
    return {
        name: Result(**json.loads(file.read_text(encoding="utf-8")))
        for name, file in files.items()
        if file.is_file()
    }


def keep(name: str, result: Result) -> None:
    """Keep what an entry found, in place of what it found before."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(asdict(result), indent=1) + "\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


def this_machine() -> dict[str, Any]:
    """What figures depend on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
    }


def _processor() -> str:
    """Its name, where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    return names[0].strip() if names else platform.machine()
