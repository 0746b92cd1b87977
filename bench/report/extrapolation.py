"""From the cost of one enrollment to that of many: arithmetic, with what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench.report.results import Result
from reminders.domain.lead_in import APART, COUNTED

MONTHLY = 1_000_000
"""Enrollments a month."""
REMINDERS = 3
"""Of each."""
CROWD = 50_000
"""Enrolled in one session."""
BATCH = 100
"""E-mails in a request."""
PACE = 10.0
"""Requests a second that Resend takes."""
HOURS_A_MONTH = 730

_MONTH = f"{MONTHLY:,} enrollments a month"
_SESSION = f"A session of {CROWD:,}"

Row = tuple[str, str, str]
"""What it is, the figure, and what it comes from."""


def rows(found: Mapping[str, Result]) -> list[Row]:
    """All that can be told of what was measured."""
    return [row for part, told in _TOLD.items() if part in found for row in told(found[part].found)]


def _work(unlimited: Mapping[str, Any]) -> Iterator[Row]:
    """CPU of a month, and how long the largest session takes."""
    each = unlimited["cpu_ms_per_reminder"]
    if each is not None:
        hours = each * REMINDERS * MONTHLY / 1000 / 3600
        yield (
            f"{_MONTH}: CPU of worker, Temporal and PostgreSQL",
            f"{hours:,.0f} core hours, {hours / HOURS_A_MONTH:.2g} cores on average",
            f"{each:.3g} ms for enrolling and one reminder, taken three times",
        )
    requests, pace = CROWD / BATCH, PACE
    posting = requests / pace
    yield (
        f"{_SESSION}: the provider's part",
        f"{posting:.0f} s",
        f"{requests:,.0f} requests, {pace:g} a second",
    )
    rate = unlimited.get("floor_per_second")
    if rate is not None:
        before = min(CROWD, COUNTED) * APART.total_seconds()
        waking = CROWD / rate - before
        yield (
            f"{_SESSION}: the last e-mail after",
            f"{max(posting, waking):,.0f} s",
            f"{rate:.0f} workflows a second, from {before:.0f} s before",
        )


def _bill(history: Mapping[str, Any]) -> Iterator[Row]:
    actions = history["billable_actions"]
    yield (
        f"{_MONTH}: billable actions of Temporal Cloud",
        f"{actions * MONTHLY / 1e6:g} million",
        f"{actions} each",
    )


def _stored(sleep: Mapping[str, Any]) -> Iterator[Row]:
    *_, most = sleep["subjects"].values()
    for name, whose in (("postgresql", "PostgreSQL"), ("temporal", "Temporal's file")):
        each = most[f"{name}_bytes_each"]
        yield (
            f"{_MONTH}, all asleep at once: {whose}",
            f"{each * MONTHLY / 1e9:.2g} GB",
            f"{each:,.0f} bytes each",
        )


def _moved(change: Mapping[str, Any]) -> Iterator[Row]:
    rate = change["moved_per_second"]
    yield f"{_SESSION}: moved in", f"{CROWD / rate / 60:.2g} min", f"{rate:.0f} a second"


def _enrolled(enroll: Mapping[str, Any]) -> Iterator[Row]:
    rate = enroll["subjects"]["gateway"]["per_second"]
    yield f"{_SESSION}: enrolled in", f"{CROWD / rate / 60:.2g} min", f"{rate:.0f} a second"


_TOLD: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Row]]] = {
    "unlimited": _work,
    "history": _bill,
    "sleep": _stored,
    "enroll": _enrolled,
    "change": _moved,
}
"""By the part that it comes from."""
