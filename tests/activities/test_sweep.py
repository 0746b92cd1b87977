"""The sweep's activity: bounded, resumable, and truthful in its counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import sweep
from activities.sweep import SweepActivities
from reminders.domain.contracts import ReconcileInput, SweepKind, SweepTally
from reminders.domain.errors import DatabaseUnavailableError
from reminders.domain.ports import Enrollment
from reminders.domain.upkeep import Suspect, SweepPage
from tests.builders import NOW

EVERYBODY = [Enrollment(UUID(int=1), UUID(int=n)) for n in range(1, 8)]


class SevenLost:
    """Seven lost enrollments; the database goes away at the one named."""

    def __init__(self, away_at: int | None = None, broken: Collection[int] = ()) -> None:
        """Start with nobody repaired; some cannot be."""
        self.broken = broken
        self.tried: list[int] = []
        self.repaired: list[int] = []
        self.replanned: list[int] = []
        self.away_at = away_at

    async def suspects(self, kind: SweepKind, *, after: Suspect | None, limit: int) -> SweepPage:
        """Those behind the cursor."""
        left = [e for e in EVERYBODY if after is None or e.user_id > after.user_id]
        left = [e for e in left if e.user_id.int not in self.repaired]
        page = left[:limit]
        last = Suspect(page[-1].session_id, page[-1].user_id, NOW) if len(page) == limit else None
        return SweepPage(suspects=page, after=last)

    async def repair(self, enrollment: Enrollment, kind: SweepKind) -> int:
        """Once each."""
        if enrollment.user_id.int == self.away_at:
            raise DatabaseUnavailableError
        self.tried.append(enrollment.user_id.int)
        if enrollment.user_id.int in self.broken:
            raise ValueError
        self.repaired.append(enrollment.user_id.int)
        return 3

    async def replan(self, session_id: UUID) -> None:
        """By a workflow of its own."""
        self.replanned.append(session_id.int)

    async def in_doubt(self) -> int:
        """Some."""
        return 2


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)


def an_attempt(**info: Any) -> ActivityEnvironment:
    """An activity with all the time in the world."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info, **{"schedule_to_close_timeout": None, **info}
    )
    return environment


async def run(
    reconciler: SevenLost,
    environment: ActivityEnvironment,
    limit: int,
    kind: SweepKind = SweepKind.LOST,
) -> SweepTally:
    """The tally of a search, for what is lost unless it says otherwise."""
    request = ReconcileInput(kind=kind, limit=limit)
    return await environment.run(SweepActivities(reconciler).reconcile_enrollments, request)


async def run_twice(reconciler: SevenLost) -> SweepTally:
    """The tally of an attempt that goes on from what the one before left, which met a fault."""
    environment = an_attempt()
    beats: list[tuple[Any, ...]] = []
    environment.on_heartbeat = lambda *details: beats.append(details)
    with pytest.raises(ApplicationError):
        await run(reconciler, environment, 100)
    reconciler.away_at = None
    return await run(reconciler, an_attempt(heartbeat_details=list(beats[-1])), 100)


@pytest.mark.parametrize(("limit", "stopped"), [(3, True), (4, True), (7, False), (100, False)])
async def test_a_run_stops_at_its_limit_and_says_so(limit: int, *, stopped: bool) -> None:
    """No more than allowed are repaired, and what is left is said to be left."""
    tally = await run(SevenLost(), an_attempt(), limit)
    done = min(limit, 7)
    assert tally == SweepTally(found=done, repaired=done, reminders=3 * done, stopped_early=stopped)


async def test_the_next_attempt_goes_on_and_counts_nobody_twice() -> None:
    """The database goes away in the second page: what was repaired stays counted."""
    reconciler = SevenLost(away_at=4)
    tally = await run_twice(reconciler)
    assert tally == SweepTally(found=7, repaired=7, reminders=21)
    assert sorted(reconciler.repaired) == [1, 2, 3, 4, 5, 6, 7]


async def test_who_cannot_be_repaired_is_counted_once_over_attempts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next attempt meets them again, as it begins with the page in which the database went away."""
    monkeypatch.setattr(sweep, "PAGE", 6)
    monkeypatch.setattr(sweep, "SLICE", 2)
    tally = await run_twice(SevenLost(away_at=3, broken=(1,)))
    assert tally == SweepTally(found=7, repaired=6, failed=1, reminders=18)


async def test_a_session_that_cannot_be_planned_anew_keeps_nobody_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its people are repaired one by one, as others are."""
    monkeypatch.setattr(sweep, "CROWD", 2)

    async def refused(_self: SevenLost, _session_id: UUID) -> None:
        raise ValueError

    monkeypatch.setattr(SevenLost, "replan", refused)
    assert 7 == (await run(SevenLost(), an_attempt(), 100)).repaired


async def test_a_run_out_of_time_ends_by_itself() -> None:
    """It begins no further page, so that what it counted is not lost with a time-out."""
    tally = await run(SevenLost(), an_attempt(schedule_to_close_timeout=sweep.RESERVE), 100)
    assert tally == SweepTally(found=2, repaired=2, reminders=6, stopped_early=True)


async def test_a_run_out_of_time_does_not_even_finish_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page of runs that do not answer takes longer than there is time; what is done stays counted."""
    monkeypatch.setattr(sweep, "PAGE", 7)
    monkeypatch.setattr(sweep, "SLICE", 3)
    tally = await run(SevenLost(), an_attempt(schedule_to_close_timeout=sweep.RESERVE), 100)
    assert tally == SweepTally(found=3, repaired=3, reminders=9, stopped_early=True)


async def test_what_fails_takes_nobodys_place_and_is_tried_last() -> None:
    """Three that cannot be repaired do not use up a bound of four, and next time the others come first."""
    reconciler = SevenLost(broken=(1, 2, 3))
    activities, environment = SweepActivities(reconciler), an_attempt()
    request = ReconcileInput(kind=SweepKind.LOST, limit=4)
    tally = await environment.run(activities.reconcile_enrollments, request)
    assert (7, 4, 3) == (tally.found, tally.repaired, tally.failed)
    reconciler.tried.clear()
    reconciler.repaired = [7]
    again = await an_attempt().run(activities.reconcile_enrollments, request)
    assert (6, 3, 3) == (again.found, again.repaired, again.failed)
    assert {4, 5, 6} == set(reconciler.tried[:3])
    assert {1, 2, 3} == set(reconciler.tried[3:])


@pytest.mark.parametrize(
    ("kind", "crowd", "replanned"),
    [
        (SweepKind.DRIFTED, 2, [1]),
        (SweepKind.LOST, 2, [1]),
        (SweepKind.UNCONFIRMED, 2, [1]),
        (SweepKind.DRIFTED, 3, []),
        (SweepKind.OVERDUE, 2, []),
        (SweepKind.MISSING, 2, []),
    ],
)
async def test_a_crowd_of_one_session_is_planned_anew_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, kind: SweepKind, crowd: int, replanned: list[int]
) -> None:
    """Once, beyond what one run may do; who lost a workflow is looked at one by one all the same."""
    monkeypatch.setattr(sweep, "CROWD", crowd)
    reconciler = SevenLost()
    tally = await run(reconciler, an_attempt(), 4, kind)
    assert replanned == reconciler.replanned
    assert tally == SweepTally(found=4, repaired=4, reminders=12, stopped_early=True)


async def test_what_is_in_doubt_is_only_counted() -> None:
    """The delivery resolves it."""
    request = ReconcileInput(kind=SweepKind.IN_DOUBT, limit=0)
    activities = SweepActivities(SevenLost())
    tally = await ActivityEnvironment().run(activities.reconcile_enrollments, request)
    assert tally == SweepTally(found=2)
