"""The fan-out of a session's change in Temporal's own test environment: cursor and counts."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.session_change import PAGE, SessionChangeActivities
from reminders.domain.contracts import SessionChangeInput, SessionChangeResult
from reminders.domain.errors import TemporalUnavailableError
from reminders.domain.ports import ReplannedPage

CHANGE = SessionChangeInput(session_id=UUID(int=1))
EACH = SessionChangeResult(enrollments=2, replanned=1, unconfirmed=1, cancelled=3)


class PagedReplanner:
    """So many pages of two people, whose second is the cursor; can be gone at one of them."""

    def __init__(self, pages: int, *, away_at: int | None = None) -> None:
        """Answer with these pages; be away at this one."""
        self.pages = pages
        self.away_at = away_at
        self.asked: list[int] = []
        self.go = asyncio.Event()
        self.go.set()

    async def replan_page(
        self, session_id: UUID, *, after: UUID | None, limit: int, since: datetime
    ) -> ReplannedPage:
        """See `SessionReplanner.replan_page`."""
        assert (CHANGE.session_id, PAGE) == (session_id, limit)
        assert since == ActivityEnvironment.default_info().scheduled_time
        page = after.int if after else 0
        self.asked.append(page)
        await self.go.wait()
        if page == self.away_at:
            raise TemporalUnavailableError
        is_last = page + 1 == self.pages
        return ReplannedPage(counts=EACH, after=None if is_last else UUID(int=page + 1))


def environment(*details: Any, **info: Any) -> ActivityEnvironment:
    """An environment whose activity was left with these details by the attempt before."""
    env = ActivityEnvironment()
    env.info = dataclasses.replace(env.info, heartbeat_details=details, **info)
    return env


async def test_all_pages_are_counted_and_each_leaves_a_cursor() -> None:
    """Counts add up over all pages, and every page but the last is noted in a heartbeat."""
    env, beats, replanner = environment(), [], PagedReplanner(3)
    env.on_heartbeat = lambda *details: beats.append(details)
    result = await env.run(SessionChangeActivities(replanner).replan_enrollments, CHANGE)
    assert SessionChangeResult(enrollments=6, replanned=3, unconfirmed=3, cancelled=9) == result
    assert [0, 1, 2] == replanner.asked
    assert [str(UUID(int=1)), str(UUID(int=2))] == [cursor for cursor, _ in beats]
    assert 4 == beats[-1][1]["enrollments"]


async def test_a_later_attempt_goes_on_where_the_one_before_ended() -> None:
    """What a dead worker left as its last heartbeat is where the next begins, counts included."""
    left: list[tuple[Any, ...]] = []
    env = environment()
    env.on_heartbeat = lambda *details: left.append(details)
    activities = SessionChangeActivities(PagedReplanner(4, away_at=2))
    with pytest.raises(ApplicationError) as away:
        await env.run(activities.replan_enrollments, CHANGE)
    assert not away.value.non_retryable
    replanner = PagedReplanner(4)
    env = environment(*left[-1])
    result = await env.run(SessionChangeActivities(replanner).replan_enrollments, CHANGE)
    assert [2, 3] == replanner.asked
    assert 8 == result.enrollments


async def test_a_long_page_heartbeats_with_its_cursor() -> None:
    """A beat in the middle of a page carries the page before, and does not wipe it out."""
    left: list[tuple[Any, ...]] = []
    beaten = asyncio.Event()
    counted = dataclasses.asdict(EACH)
    env = environment(str(UUID(int=1)), counted, heartbeat_timeout=timedelta(milliseconds=30))

    def beat(*details: Any) -> None:
        left.append(details)
        beaten.set()

    env.on_heartbeat = beat
    replanner = PagedReplanner(2)
    replanner.go.clear()
    run = asyncio.create_task(
        env.run(SessionChangeActivities(replanner).replan_enrollments, CHANGE)
    )
    await asyncio.wait_for(beaten.wait(), 5)
    replanner.go.set()
    assert 4 == (await run).enrollments
    assert (str(UUID(int=1)), counted) == left[0]


async def test_details_of_another_kind_are_left_aside() -> None:
    """A heartbeat that is none of ours costs the pass a fresh start, and no failure."""
    replanner = PagedReplanner(1)
    env = environment("something else")
    await env.run(SessionChangeActivities(replanner).replan_enrollments, CHANGE)
    assert [0] == replanner.asked
