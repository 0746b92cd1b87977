"""`kill -9` of each part, while a crowd sleeps or is being served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from reminders.embedded.stack import LocalStack
from tests.e2e.platform import Platform, a_platform
from tests.stage import eventually

SECONDS = timedelta(seconds=1)
LIVE = {
    "DELIVERY_MODE": "live",
    "EMAIL_REQUESTS_PER_SECOND": "100",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """All parts as processes, with an unlimited provider that takes half a second."""
    with LocalStack(with_api=False, with_ui=False, rate=0, latency_ms=500, settings=LIVE) as stack:
        yield stack


async def requested(platform: Platform) -> bool:
    """Whether the provider has seen a request."""
    return len(await platform.provider.requests()) > 0


@pytest.mark.xdist_group("crashes")
async def test_the_worker_is_killed_while_a_hundred_sends_are_in_flight(stack: LocalStack) -> None:
    """A hundred accepted, a hundred recorded with the provider's id, no reminder twice."""
    async with a_platform(stack) as platform:
        await platform.provider.reset()
        session = await platform.enroll(100, due_in=4 * SECONDS)
        await eventually(lambda: requested(platform), within=30 * SECONDS)
        stack.worker.kill()
        stack.worker.start()
        await platform.all_sent_once(session, 100)


@pytest.mark.xdist_group("crashes")
async def test_temporal_and_postgresql_are_killed_while_a_hundred_sleep(stack: LocalStack) -> None:
    """Both come back, and all hundred are delivered."""
    async with a_platform(stack) as platform:
        session = await platform.enroll(100, due_in=8 * SECONDS)
        stack.temporal.kill()
        stack.postgres.kill()
        await asyncio.sleep(1)
        stack.postgres.start()
        stack.temporal.start()
    async with a_platform(stack) as platform:
        await platform.all_sent_once(session, 100)


@pytest.mark.xdist_group("crashes")
async def test_the_provider_is_killed_and_comes_back(stack: LocalStack) -> None:
    """What was under way is repeated under the same key; each is accepted once."""
    async with a_platform(stack) as platform:
        await platform.provider.reset()
        session = await platform.enroll(100, due_in=4 * SECONDS)
        await eventually(lambda: requested(platform), within=30 * SECONDS)
        stack.provider.kill()
        stack.provider.start()
        await platform.all_sent_once(session, 100)
