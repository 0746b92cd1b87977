"""`python3 dev.py bench [NAME] [ARGUMENTS]`: a table for people, then one JSON line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence

from bench import admin, herd, render

BENCHMARKS: Mapping[str, tuple[str, Callable[[list[str]], int]]] = {
    "admin": ("every admin page, with 10,000 sessions and 100,000 reminders", admin.main),
    "herd": ("every enrollment of one session, all due in the same second", herd.main),
    "crash": (
        "the same, and the only worker killed when 30 % are out",
        lambda arguments: herd.main(["--n", "1000", "--kill-at", "30", *arguments]),
    ),
    "render": ("composing e-mails: subject, HTML, text, on one core", render.main),
}
"""By name: what it measures, and what runs it."""

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark, or list them.

    Returns:
        Exit code: the benchmark's, 0 after the list, 2 for a name there is not.
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
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
