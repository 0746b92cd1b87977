"""docs/performance.md and its pictures, from what was measured: no figure is typed in by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.measure import number
from bench.peers.catalogue import INSTALL, PEERS
from bench.report import extrapolation, results
from bench.report.goals import GOALS
from bench.report.results import Result, subjects
from bench.report.sections import SECTIONS, Section

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = "docs/performance.md"
BUSY = 2
"""Load for each core above which figures are not to be believed; the suite itself makes 1 or so."""

Found = Mapping[str, Result]

HEAD = """\
<!-- Written by `python3 dev.py bench report` from bench/results/: change bench/report/, or measure anew. -->

# Performance

How fast the system is, on one small machine, beside what else one could take.
Every figure is measured by `python3 dev.py bench`, and any of them you can measure yourself.
"""

DOUBTS = """
> **Not to be quoted yet.** {doubts}
> Counts hold; seconds and rates do not.
"""

ADDS_UP = """\
## What it adds up to

Arithmetic from the figures above, for cores like these; nobody has run this.

"""

METHOD = """\
## How it was measured

{machines}

- Everything runs on that machine at once: the worker, Temporal's dev server on a SQLite file, PostgreSQL with
  durable settings, the platform that enrolls, and a stand-in for Resend. That takes 20 ms for a request and,
  where a limit is named, refuses what exceeds it in a second of the clock, as Resend does.
- Ours and the others take turns in the same run, each on servers of its own. Of several runs, the medians are shown.
- *Lag* is from the due instant to the acceptance by the provider, which is what it says itself.
  *CPU* is that of worker, Temporal and PostgreSQL (or Redis). Memory counts once what processes share (PSS).
- The others are written as their documentation has it, with its usual retries (`bench/peers/`), and send one e-mail
  a request, except the hand-written poller. They only send: no plan to look at, nothing to move or cancel.
  Their libraries come with `{install}`.
- The cron job polls every 15 minutes; here, where a command says nothing else, every 15 seconds.

| part | measured on | runs | command |
| --- | --- | --- | --- |
{commands}
## What is not measured

- **Temporal on a cluster of servers with PostgreSQL or Cassandra, or Temporal Cloud.** The dev server is one process.
  Events, bytes and billable actions stay what they are; how many workflows wake in a second does not.
- **Networks.** All is on one machine: add your own round trips.
- **Resend itself.** The stand-in has its documented limits, not its latency.
- **Other machines.** Ratios travel, seconds do not.
"""


def documents() -> dict[str, str]:
    """What is generated, by its path in the checkout."""
    found = results.read()
    parts = [_head(found), _promises(found)]
    parts += [_told(section, found[section.part]) for section in SECTIONS if section.part in found]
    parts += [ADDS_UP + table(("", "figure", "from"), extrapolation.rows(found)), _method(found)]
    return {DOCUMENT: "\n".join(parts), **_pictures(found)}


def write() -> list[str]:
    """Write what is outdated; its names."""
    made = documents()
    names = outdated()
    for name in names:
        (ROOT / name).write_text(made[name], encoding="utf-8")
    return names


def outdated() -> list[str]:
    """The documents that are not as they would be written."""
    return [
        name
        for name, text in documents().items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != text
    ]


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    named = list(headings)
    lines = [named, ["---"] * len(named), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _head(found: Found) -> str:
    """What this is, and how far it is to be believed."""
    small = [name for name, result in found.items() if result.form == "quick"]
    busy = [n for n, r in found.items() if r.load > BUSY * int(r.machine["cores"])]
    doubts = [
        f"{what}: {'everything' if len(names) == len(found) else ', '.join(names)}."
        for what, names in (
            ("Measured small, only to see that it works", small),
            ("Measured while the machine was busy with other things", busy),
        )
        if names
    ]
    return HEAD + (DOUBTS.format(doubts="\n> ".join(doubts)) if doubts else "")


def _promises(found: Found) -> str:
    """Each goal, and whether it is reached."""
    reached = {True: "yes", False: "**no**", None: ""}
    rows = []
    for goal in GOALS:
        told, is_enough = goal.measured(found)
        is_small = goal.part in found and found[goal.part].form == "quick"
        judged = "too small to tell" if is_small else reached[is_enough]
        rows.append((goal.what, goal.wanted, told, judged))
    return "## At a glance\n\n" + table(("", "goal", "measured", "reached"), rows)


def _told(section: Section, result: Result) -> str:
    """A section: words, picture, table, and who the others are."""
    line = result.found
    parts = [f"## {section.title}\n"] if section.title else []
    parts.append(section.text.format(**{**line, **section.more(line)}) + "\n")
    if section.picture is not None:
        title = section.picture.title.format(**line)
        parts.append(f"![{title}](images/bench-{section.picture.name}.svg)\n")
    rows = [
        [name, *(number(numbers.get(key)) for key in section.columns)]
        for name, numbers in subjects(line).items()
    ]
    parts.append(table(("", *section.columns.values()), rows))
    others = [f"- *{name}*: {PEERS[name].what}\n" for name in subjects(line) if name in PEERS]
    return "\n".join([*parts, "".join(others)] if others else parts)


def _method(found: Found) -> str:
    """How, and how not."""
    machine = "{processor}, {cores} cores, {memory_gb} GB, {system}, Python {python}, Temporal SDK {temporalio}."
    machines = dict.fromkeys(machine.format(**result.machine) for result in found.values())
    commands = [
        f"| {name} | {r.measured_on} | {r.found['runs']} | `python3 dev.py bench {r.command}` |\n"
        for name, r in found.items()
    ]
    return METHOD.format(machines="\n".join(machines), commands="".join(commands), install=INSTALL)


def _pictures(found: Found) -> dict[str, str]:
    """The pictures for which there is something to show, by their paths."""
    return {
        f"docs/images/bench-{section.picture.name}.svg": section.picture.svg(
            found[section.part].found
        )
        for section in SECTIONS
        if section.picture is not None and section.part in found
    }
