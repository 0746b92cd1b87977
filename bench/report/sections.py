"""What docs/performance.md says about each part: its words, its numbers, its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.herd import OURS
from bench.report.plots import bars
from bench.report.results import subjects


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """Bars, one for each subject."""

    name: str
    """Of the file, behind `bench-`."""
    title: str
    key: str
    """The number that is shown."""
    unit: str
    ours: str = OURS

    def svg(self, line: Mapping[str, Any]) -> str:
        """The picture."""
        values: dict[str, float] = {}
        for name, numbers in subjects(line).items():
            # Who loses the rest is soon done: the bar alone would praise it.
            label = f"{name}, {numbers['lost']} lost" if numbers.get("lost") else name
            if (value := numbers.get(self.key)) is not None:
                values[label] = value
        return bars(self.title.format(**line), values, unit=self.unit, ours=self.ours)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """What is said about one part of the report."""

    part: str
    """Which of `bench.report.results.ENTRIES` it tells about."""
    title: str = ""
    """Its heading; without one it goes on under the heading before."""
    text: str
    """May name what is in the part's JSON line, and `more`."""
    columns: Mapping[str, str]
    """Headings of the table by the names of numbers."""
    picture: Picture | None = None
    more: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(default=lambda _: {})
    """What the text names besides."""


_HERD = {
    "last_lag_s": "last accepted after, s",
    "p50_lag_s": "lag p50, s",
    "p99_lag_s": "lag p99, s",
    "emails_per_second": "e-mails/s",
    "requests": "requests",
    "lost": "lost",
    "duplicates": "duplicates",
    "cpu_ms_per_reminder": "CPU per reminder, ms",
}

_WHERE = {
    "herd_cpu_ms_temporal": "of it in the herd: Temporal",
    "herd_cpu_ms_worker": "worker",
    "herd_cpu_ms_postgresql": "PostgreSQL",
}
"""Where the time goes once workflows wake."""

SECTIONS = (
    Section(
        part="herd",
        title="A big session falls due",
        text=(
            "{n:,} reminders due in the same second, at a provider that takes {rate} requests a"
            " second.\nWith one e-mail a request that takes {best:,.0f} s at best, whoever sends"
            " them; we put up to a hundred into one.\nThe workflows of a large session wake a"
            " little early, and their e-mails go at the due instant"
            " ([ADR 0016](adr/0016-wake-early-deliver-on-time.md)).\nBeside ours a poller written by"
            " hand, in the same run: the practical limit."
        ),
        columns=_HERD | _WHERE,
        more=lambda line: {"best": line["n"] / line["rate"]},
    ),
    Section(
        part="hundreds",
        text="The same with {n:,} reminders.",
        columns=_HERD | _WHERE,
    ),
    Section(
        part="thousands",
        text=(
            "{n:,} reminders, {workers} workers: {best:,.0f} s at best. Three seconds later"
            " {small} people of another session are due, in the middle of the crowd."
        ),
        columns=_HERD | {"small_last_lag_s": "the last of the few after, s"},
        more=lambda line: {"best": line["n"] / 100 / line["rate"]},
    ),
    Section(
        part="single",
        text="The same with {workers} worker.",
        columns=_HERD | {"small_last_lag_s": "the last of the few after, s"},
    ),
    Section(
        part="peers",
        text=(
            "The same with {n:,} reminders, beside other ways to send them: {best:,.0f} s at best"
            " with one e-mail a request.\nWhat was not accepted {patience:.0f} s after the due"
            " instant counts as lost."
        ),
        columns=_HERD,
        picture=Picture(
            name="herd",
            title="Time to the last acceptance, {n:,} reminders",
            key="last_lag_s",
            unit="s",
        ),
        more=lambda line: {"best": line["n"] / line["rate"]},
    ),
    Section(
        part="unlimited",
        text=(
            "Without any limit of the provider, {n:,} reminders, beside a workflow that sleeps and"
            " runs an activity that does nothing:\nno database, no rendering, no request. More than"
            " that this Temporal cannot do on this machine;\nwhat ours have ahead is that many wake"
            " before the due instant."
        ),
        columns={
            "emails_per_second": "e-mails/s",
            "floor_per_second": "empty activities/s",
            "ratio": "ratio",
            "last_lag_s": "last accepted after, s",
            "cpu_ms_per_reminder": "CPU per reminder, ms",
        },
    ),
    Section(
        part="crash",
        title="The worker is killed in the middle",
        text=(
            "Of {n:,} reminders {kill_at:.0f} % are out when the only worker is killed (SIGKILL);"
            " it is started again at once.\nRequests under way are posted once more, the same bytes"
            " under the same key, and the provider accepts them once."
        ),
        columns={
            "recovered_s": "last accepted after the kill, s",
            "last_lag_s": "last accepted after the due instant, s",
            "lost": "lost",
            "duplicates": "duplicates",
            "requests": "requests",
        },
    ),
    Section(
        part="enroll",
        title="Enrolling",
        text=(
            "{n:,} enrollments each way, {at_once} at once. An enrollment is durable when it is"
            " answered: its reminders are in PostgreSQL, its workflow is in Temporal.\nA bare start"
            " reads no session and writes no plan. Many a call are up to 1,000 in one request; a"
            " backfill is one call for all who are enrolled already."
        ),
        columns={
            "per_second": "enrollments/s",
            "ratio_to_bare": "of bare starts",
            "p50_ms": "p50, ms",
            "p99_ms": "p99, ms",
        },
        picture=Picture(
            name="enroll",
            title="Durable enrollments a second",
            key="per_second",
            unit="/s",
            ours="gateway",
        ),
    ),
    Section(
        part="lag",
        title="On time, when nothing else happens",
        text="{n:,} reminders, one after the other.",
        columns={
            "p50_ms": "p50, ms",
            "p99_ms": "p99, ms",
            "max_ms": "longest, ms",
            "lost": "lost",
        },
    ),
    Section(
        part="sleep",
        title="Asleep",
        text=(
            "Enrollments with three reminders, which wait for weeks. Then {probe} others fall due"
            " among them: waking costs the same however many sleep."
        ),
        columns={
            "worker_mb": "worker, MB",
            "temporal_mb": "Temporal, MB",
            "postgresql_mb": "PostgreSQL, MB",
            "postgresql_bytes_each": "PostgreSQL, bytes each",
            "temporal_bytes_each": "Temporal's file, bytes each",
            "worker_idle_percent": "worker idle, % of a core",
            "temporal_idle_percent": "Temporal idle, % of a core",
            "postgresql_idle_percent": "PostgreSQL idle, % of a core",
            "wake_cpu_ms_each": "CPU to wake one, ms",
            "wake_last_lag_s": "the last of them after, s",
        },
        picture=Picture(
            name="sleep",
            title="Memory of the worker, by sleeping enrollments",
            key="worker_mb",
            unit="MB",
        ),
    ),
    Section(
        part="change",
        title="A session moves, a session is cancelled",
        text=(
            "{n:,} enrolled, until every workflow has been told; beside it bare updates of workflows"
            " that only sleep."
        ),
        columns={
            "move_s": "moved, s",
            "moved_per_second": "moved/s",
            "floor_per_second": "bare updates/s",
            "cancel_s": "cancelled, s",
            "cancelled_per_second": "cancelled/s",
            "unconfirmed": "that follow later",
        },
    ),
    Section(
        part="sweep",
        title="The sweep",
        text="{n:,} enrollments, for {broken} of which nobody planned reminders.",
        columns={
            "sweep_s": "first sweep, s",
            "repaired": "repaired",
            "second_sweep_s": "second sweep, s",
            "repaired_again": "repaired by that",
        },
    ),
    Section(
        part="history",
        title="What Temporal keeps, and bills",
        text="One enrollment, three reminders.",
        columns={
            "events": "events",
            "bytes": "bytes of history",
            "billable_actions": "billable actions",
        },
    ),
    Section(
        part="admin",
        title="Pages for operators",
        text=(
            "{sessions:,} sessions, {reminders:,} reminders, one session of 10,000; milliseconds in"
            " the median."
        ),
        columns={
            f"{page}, p50 ms": page
            for page in (
                "overview",
                "sessions",
                "sessions, search",
                "session of ten thousand",
                "enrollment",
                "failed",
                "audit log",
            )
        },
    ),
    Section(
        part="render",
        title="Composing e-mails",
        text="Subject, HTML and text, on one core.",
        columns={
            "emails_per_cpu_second": "e-mails per CPU second",
            "p50_us": "p50, µs",
            "p99_us": "p99, µs",
        },
    ),
)
"""In their order."""
