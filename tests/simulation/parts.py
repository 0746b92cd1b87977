"""The few services of `starter` that run in a schedule, put together on the models."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from starter.services.handover import Handover
from starter.services.reconciler import EnrollmentReconciler
from starter.services.session_changes import EnrollmentReplanner
from tests.simulation.planner import ModelPlanner
from tests.simulation.temporal import ModelWorkflows


class _Believed:
    """Whatever is gone is gone: the tables are ours."""

    async def hides(self, _session_id: UUID, _user_id: UUID) -> bool:
        """See `Absence.hides`."""
        return False


class Services:
    """What a caller of ours, or the sweep, uses."""

    def __init__(self, planner: ModelPlanner, workflows: ModelWorkflows) -> None:
        """Put them together."""
        as_is: Any = cast("Any", planner)
        self.planner = planner
        self.handover = Handover(workflows=cast("Any", workflows), planner=as_is)
        self.replanner = EnrollmentReplanner(handover=self.handover, planner=as_is, catalogue=as_is)
        # Its repair alone: what it lists is Temporal's and PostgreSQL's.
        nobody: Any = None
        self.reconciler = EnrollmentReconciler(
            client=nobody,
            handover=self.handover,
            gateway=nobody,
            queries=nobody,
            absence=cast("Any", _Believed()),
        )
