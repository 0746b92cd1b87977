"""The activity that brings a session's change to every enrollment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from temporalio import activity

from activities.failures import as_application_errors
from activities.heartbeat import heartbeating
from reminders.domain.contracts import SessionChangeInput, SessionChangeResult
from reminders.domain.ports import SessionReplanner
from reminders.fan_out import total

PAGE = 1000
"""Enrollments between two cursors: what a worker's death costs is done again."""


@dataclass(slots=True)
class _Progress:
    """What the next attempt goes on from."""

    after: UUID | None = None
    counts: SessionChangeResult = field(default_factory=SessionChangeResult)

    def details(self) -> tuple[Any, ...]:
        """As a heartbeat carries it."""
        return str(self.after) if self.after else None, asdict(self.counts)

    @classmethod
    def of(cls, details: Sequence[Any]) -> _Progress:
        """What the attempt before left; nothing if it left nothing."""
        if len(details) != 2:
            return cls()
        after, counts = details
        return cls(UUID(after) if after else None, SessionChangeResult(**counts))


@dataclass(frozen=True, slots=True)
class SessionChangeActivities:
    """Plans the enrollments of a session anew."""

    replanner: SessionReplanner

    @activity.defn
    async def replan_enrollments(self, change: SessionChangeInput) -> SessionChangeResult:
        """Bring ledger and workflow of every enrollment in line with the session as it is now.

        May run twice: plans carry versions, and one that is as it should be is only confirmed once
        more. A later attempt goes on behind the last page that was finished. Only PostgreSQL or
        Temporal being away ends an attempt; no error is final.
        """
        with as_application_errors():
            progress = _Progress.of(activity.info().heartbeat_details)
            async with heartbeating(progress.details):
                return await self._all_pages(change.session_id, progress)

    async def _all_pages(self, session_id: UUID, progress: _Progress) -> SessionChangeResult:
        while True:
            page = await self.replanner.replan_page(
                session_id,
                after=progress.after,
                limit=PAGE,
                since=activity.info().scheduled_time,
            )
            progress.counts = total(progress.counts, page.counts)
            if page.after is None:
                return progress.counts
            progress.after = page.after
            activity.heartbeat(*progress.details())
