"""`python3 dev.py bench [NAME] [ARGUMENTS]`: a table for people, then one JSON line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from bench import (
    admin,
    change,
    enroll,
    herd,
    history,
    lag,
    notices,
    render,
    sleep,
    sweep,
    told,
)
from bench.measure import MeasurementError
from bench.report import run as report
from devstack.process import EmbeddedServerError

BENCHMARKS: Mapping[str, tuple[str, Callable[[list[str]], int]]] = {
    "herd": ("every enrollment of one session, all due in the same second", herd.main),
    "crash": (
        "the same, and the only worker killed when 30 % are out",
        lambda arguments: herd.main(["--n", "1000", "--kill-at", "30", *arguments]),
    ),
    "enroll": ("durable enrollments a second, beside bare workflow starts", enroll.main),
    "lag": ("from due to accepted, when idle", lag.main),
    "told": ("from a commit in the platform's tables to the plan, by NOTIFY", told.main),
    "sleep": ("what sleeping enrollments cost: memory, bytes, idle CPU", sleep.main),
    "change": ("moving and cancelling a whole session", change.main),
    "notices": ("telling everybody that their session was cancelled", notices.main),
    "sweep": ("a sweep over 100,000 enrollments of which ten need work", sweep.main),
    "history": ("events, bytes and billable actions of three reminders", history.main),
    "admin": ("every admin page, with 10,000 sessions and 100,000 reminders", admin.main),
    "render": ("composing e-mails: subject, HTML, text, on one core", render.main),
    "report": ("all of these, and docs/performance.md from what they found", report.main),
}
"""By name: what it measures, and what runs it."""

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark, or list them.

    Returns:
        Exit code: the benchmark's, 0 after the list, 1 if it could not measure, 2 for a name there
        is not.
    """
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or [""]
    if name not in BENCHMARKS:
        for known, (what, _) in BENCHMARKS.items():
            print(f"{known:8} {what}")
        print("\n`python3 dev.py bench NAME --help` has the options.")
        return 0 if name in ("", "-h", "--help") else USAGE_ERROR
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return BENCHMARKS[name][1](rest)
    except (MeasurementError, EmbeddedServerError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
