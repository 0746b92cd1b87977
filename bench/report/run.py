"""The report: run the suite, keep what it finds, write docs/performance.md from that.

Each part is run as you would run it, and may be measured again alone:
`python3 dev.py bench report --form full --only herd,enroll`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from bench.report import document, results
from bench.report.results import ENTRIES, FORMS, Entry, Result


def main(arguments: list[str]) -> int:
    """Measure what is asked for, then write the documents.

    Returns:
        Exit code: 0, or 1 if a part could not be measured, or lost or doubled something.
    """
    names = [entry.name for entry in ENTRIES]
    parser = argparse.ArgumentParser(prog="bench report", description=__doc__)
    add = parser.add_argument
    add("--form", choices=FORMS, default="quick", help="how large (default quick)")
    add("--only", default="", help=f"parts, of: {', '.join(names)}")
    add("--missing", action="store_true", help="leave out what was measured in this form before")
    add("--write", action="store_true", help="measure nothing, only write the documents anew")
    given = parser.parse_args(arguments)
    wanted = list(filter(None, given.only.split(","))) or names
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"--only: there is no {unknown[0]!r}, only {', '.join(names)}")
    failed = []
    for entry in [] if given.write else [entry for entry in ENTRIES if entry.name in wanted]:
        known = results.read().get(entry.name)
        if given.missing and known is not None and known.form == given.form:
            continue
        if not _measured(entry, given.form):
            failed.append(entry.name)
    for name in document.write():
        print(f"written: {name}", file=sys.stderr)
    if failed:
        print(f"report: something is wrong with: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _measured(entry: Entry, form: str) -> bool:
    """Run a part and keep what it found; whether all was well."""
    command = entry.command(form)
    print(f"report: {entry.name}: bench {command}", file=sys.stderr)
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *command.split()],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(ran.stdout, flush=True)
    print(f"report: {entry.name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    found = _last_line(ran.stdout)
    if found is not None:
        # Some are small anyway: measured like that they are measured in full.
        measured_in = "full" if command == entry.full else form
        results.keep(entry.name, Result.of(command, measured_in, found))
    return ran.returncode == 0


def _last_line(text: str) -> dict[str, Any] | None:
    """The JSON at the end; none if the benchmark did not get that far."""
    lines = text.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    return found
