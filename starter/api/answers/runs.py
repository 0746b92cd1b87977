"""Sweeps and other runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from pydantic import Field

from starter.api.answers.base import Out
from starter.services.sweeps import Run, SweepStart


class SweepOut(Out):
    """A sweep that runs now."""

    workflow_id: str
    run_id: str
    started: bool
    """False when one was running already: it is the one that is named."""

    @classmethod
    def of(cls, sweep: SweepStart) -> Self:
        """The answer as JSON."""
        return cls(workflow_id=sweep.workflow_id, run_id=sweep.run_id, started=sweep.started)


class RunOut(Out):
    """One run of a workflow that keeps house: a sweep, or a session's change."""

    workflow_id: str
    run_id: str
    workflow_type: str = Field(examples=["ReminderSweepWorkflow"])
    status: str = Field(examples=["completed"])
    started_at: datetime
    closed_at: datetime | None
    result: dict[str, Any] | None = Field(
        examples=[{"processed": 1, "totalReminders": 3, "totalFailed": 0, "results": {}}]
    )
    """What a finished run counted: of a sweep `processed`, `totalReminders`, `totalFailed`, and
    `results` by kind. Null while it runs, and when it failed."""
    url: str | None
    """In the Temporal UI; null unless `TEMPORAL_UI_URL` is set."""

    @classmethod
    def of(cls, run: Run, url: str | None) -> Self:
        """The run as JSON; a sweep's totals have the names that its users know."""
        names = {"total_reminders": "totalReminders", "total_failed": "totalFailed"}
        result = None
        if run.result is not None:
            result = {names.get(name, name): value for name, value in run.result.items()}
        return cls(
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            workflow_type=run.workflow_type,
            status=run.status,
            started_at=run.started_at,
            closed_at=run.closed_at,
            result=result,
            url=url,
        )


class RunPageOut(Out):
    """Some runs, the newest first, and where older ones begin."""

    items: list[RunOut]
    next_cursor: str | None
    """Null on the last page."""
