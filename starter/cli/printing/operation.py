"""Whether reminders will go out."""

from __future__ import annotations

from starter.cli import layout
from starter.health.diagnosis import Level
from starter.health.probes import Readiness

_LEVELS = {Level.OK: "ok", Level.WARNING: "warning", Level.RED: "RED"}


def diagnosis(answer: Readiness) -> None:
    """All checks, and what to do."""
    layout.table(
        ("", "check", "found", "remedy"),
        ((_LEVELS[c.level], c.name, c.detail, c.remedy) for c in answer.checks),
    )
    if answer.cause:
        layout.lines(cause=answer.cause)
