"""Sweeps and other runs."""

from __future__ import annotations

from typing import Any

from starter.api.operation import RunOut, RunPageOut, SweepOut
from starter.cli import layout


def sweep(answer: SweepOut) -> None:
    """A sweep that runs."""
    how = "was started" if answer.started else "was running already"
    layout.lines(sweep=f"{answer.workflow_id}, {how}", run=answer.run_id)


def run(answer: RunOut) -> None:
    """What one run did."""
    layout.lines(run=f"{answer.workflow_id}, {answer.status}", link=answer.url)
    kinds = (answer.result or {}).get("results", {})
    layout.table(
        ("kind", "found", "repaired", "fine", "failed", "reminders", "note"),
        (
            (
                kind,
                *(
                    str(counts.get(n, 0))
                    for n in ("found", "repaired", "unchanged", "failed", "reminders")
                ),
                counts.get("error") or ("stopped early" if counts.get("stopped_early") else ""),
            )
            for kind, counts in kinds.items()
        ),
    )


def runs(answer: RunPageOut) -> None:
    """A list of runs."""
    layout.table(
        ("started (UTC)", "ended (UTC)", "workflow", "status", "result"),
        (
            (r.started_at, r.closed_at, r.workflow_id, r.status, _totals(r.result))
            for r in answer.items
        ),
    )
    layout.more(answer.next_cursor)


def _totals(result: dict[str, Any] | None) -> str:
    """The counts of a run on one line."""
    counted = (f"{n} {v}" for n, v in (result or {}).items() if isinstance(v, int))
    return ", ".join(counted)
