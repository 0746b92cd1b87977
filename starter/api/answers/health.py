"""Whether reminders will go out."""

from __future__ import annotations

from typing import Self

from starter.api.answers.base import Out
from starter.health.diagnosis import Diagnosis, Level


class CheckOut(Out):
    """One thing that was looked at."""

    name: str
    ok: bool
    """Whether reminders go out as far as this is concerned; true for a warning, too."""
    level: Level
    detail: str
    remedy: str | None


class Readiness(Out):
    """Whether reminders will go out."""

    ready: bool
    cause: str | None
    """The one thing to mend first."""
    checks: list[CheckOut]

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> Self:
        """The examiner's answer as JSON."""
        return cls(
            ready=diagnosis.ready,
            cause=diagnosis.cause,
            checks=[
                CheckOut(name=c.name, ok=c.ok, level=c.level, detail=c.detail, remedy=c.remedy)
                for c in diagnosis.checks
            ],
        )
