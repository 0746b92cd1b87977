"""`python3 dev.py simulate`: thousands of schedules of the delivery, in virtual time."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import count

from tests.simulation import mutants
from tests.simulation.real import real_composer
from tests.simulation.runner import Failure, Tally, judge, play
from tests.simulation.story import story
from tests.simulation.world import quiet

SHOWN = 10
"""Failures that are told one by one."""


def main(arguments: list[str]) -> int:
    """Play what was asked for; the exit code is 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="dev.py simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, help="how many schedules (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, help="as many as fit into so many minutes")
    parser.add_argument("--seed", type=int, help="only this one, with its trace")
    parser.add_argument("--mutant", help="with this fault in the code")
    parser.add_argument(
        "--mutants", action="store_true", help="which faults are found, and by what"
    )
    asked = parser.parse_args(arguments)
    if asked.mutants:
        return mutants.table(schedules=asked.seeds or mutants.SCHEDULES)
    with mutants.applied(asked.mutant):
        if asked.seed is not None:
            return _one(asked.seed)
        return _many(asked.first, asked.seeds, asked.minutes)


def _one(seed: int) -> int:
    """Tell a schedule step by step, then what did not hold."""
    of = story(seed)
    print(of, *of.events, "", sep="\n")
    with quiet():
        _, found = judge(of, trace=print)
    print()
    for invariant, seen in found:
        print(f"DOES NOT HOLD  {invariant}: {seen}")
    print("" if found else "all holds")
    return 1 if found else 0


def _many(first: int, seeds: int | None, minutes: float | None) -> int:
    began, cpu = time.monotonic(), time.process_time()
    if seeds is None:
        seeds = 1000 if minutes is None else sys.maxsize - first
    until = began + (minutes * 60 if minutes is not None else float("inf"))
    # Once a run everything is rendered in earnest: what is cheap otherwise is still the same.
    with_mails = play(range(first, first + 3), composer=real_composer)
    tally = play(
        range(first, first + seeds) if minutes is None else count(first),
        enough=lambda t: t.schedules >= seeds or time.monotonic() > until,
    )
    tally.failures += with_mails.failures
    for failure in tally.failures[:SHOWN]:
        _tell(failure)
    _sum_up(tally, time.monotonic() - began, time.process_time() - cpu)
    return 1 if tally.failures else 0


def _tell(failure: Failure) -> None:
    print(f"seed {failure.seed}: {failure.invariant}: {failure.seen}")
    print(f"    python3 dev.py simulate --seed {failure.seed}")


def _sum_up(tally: Tally, seconds: float, cpu: float) -> None:
    print(
        f"{tally.schedules} schedules in {seconds:.1f} s ({cpu:.1f} s of CPU):"
        f" {tally.hours:.0f} hours of virtual time, {tally.steps} steps,"
        f" {tally.accepted} e-mails accepted"
    )
    for invariant, n in Counter(f.invariant for f in tally.failures).most_common():
        print(f"    {invariant}: did not hold {n} times")
    if not tally.failures:
        print("    every invariant held in all of them")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
