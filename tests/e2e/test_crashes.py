"""`kill -9` of each part, and a cut wire, while a crowd sleeps or is being served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from devstack.stack import LocalStack
from tests.e2e.platform import Platform, a_platform
from tests.e2e.wire import Wire
from tests.stage import eventually

pytestmark = pytest.mark.proof

SECONDS = timedelta(seconds=1)
LIVE = {"DELIVERY_MODE": "live"}


class System(LocalStack):
    """All parts as processes, with a wire to the provider that can be cut."""

    def __init__(self, *, rate: int, latency_ms: float, requests_per_second: float) -> None:
        """Nothing is started yet."""
        self.wire = Wire()
        super().__init__(
            with_api=False,
            with_ui=False,
            rate=rate,
            latency_ms=latency_ms,
            settings={
                **LIVE,
                "EMAIL_REQUESTS_PER_SECOND": str(requests_per_second),
                "RESEND_API_URL": self.wire.url,
            },
        )

    def stop(self) -> None:
        """See `LocalStack.stop`."""
        super().stop()
        self.wire.close()

    @asynccontextmanager
    async def platform(self) -> AsyncIterator[Platform]:
        """The platform's side, with the wire laid."""
        async with self.wire.laid(self.provider.url), a_platform(self) as platform:
            yield platform


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """An unlimited provider that takes half a second."""
    with System(rate=0, latency_ms=500, requests_per_second=100) as system:
        yield system


SOON = 20 * SECONDS
"""Until a hundred fall due: twice what enrolling them took on a slow machine with other tests."""


async def requested(platform: Platform) -> bool:
    """Whether the provider has seen a request."""
    return len(await platform.provider.requests()) > 0


async def test_the_worker_is_killed_while_a_hundred_sends_are_in_flight(system: System) -> None:
    """A hundred accepted, a hundred recorded with the provider's id, no reminder twice."""
    async with system.platform() as platform:
        await platform.provider.reset()
        session = await platform.enroll(100, due_in=SOON)
        await eventually(lambda: requested(platform), within=60 * SECONDS)
        system.worker.kill()
        system.worker.start()
        await platform.all_sent_once(session, 100)


@pytest.mark.slow
async def test_temporal_and_postgresql_are_killed_while_a_hundred_sleep(system: System) -> None:
    """Both come back, and all hundred are delivered."""
    async with system.platform() as platform:
        session = await platform.enroll(100, due_in=SOON)
        system.temporal.kill()
        system.postgres.kill()
        await asyncio.sleep(1)
        system.postgres.start()
        system.temporal.start()
    async with system.platform() as platform:
        await platform.all_sent_once(session, 100)


@pytest.mark.slow
async def test_the_provider_is_killed_and_comes_back(system: System) -> None:
    """What was under way is repeated under the same key; each is accepted once."""
    async with system.platform() as platform:
        await platform.provider.reset()
        session = await platform.enroll(100, due_in=SOON)
        await eventually(lambda: requested(platform), within=60 * SECONDS)
        system.provider.kill()
        system.provider.start()
        await platform.all_sent_once(session, 100)


async def test_the_wire_to_the_provider_is_cut_and_mended(system: System) -> None:
    """Answers that never arrived are asked for again under the same key; each is accepted once."""
    async with system.platform() as platform:
        await platform.provider.reset()
        session = await platform.enroll(100, due_in=SOON)
        await eventually(lambda: requested(platform), within=60 * SECONDS)
        system.wire.cut()
        await asyncio.sleep(2)
        system.wire.mend()
        await platform.all_sent_once(session, 100)


HERD = 2_000
CUT = timedelta(minutes=2)


async def _kill_the_worker(system: System) -> None:
    system.worker.kill()
    system.worker.start()


async def _kill_the_provider(system: System) -> None:
    system.provider.kill()
    system.provider.start()


async def _kill_postgresql(system: System) -> None:
    system.postgres.kill()
    system.postgres.start()


async def _cut_the_wire(system: System) -> None:
    system.wire.cut(silently=True)
    await asyncio.sleep(CUT.total_seconds())
    system.wire.mend()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "blow",
    [_kill_the_worker, _kill_the_provider, _kill_postgresql, _cut_the_wire],
    ids=lambda blow: blow.__name__.strip("_"),
)
async def test_a_herd_of_two_thousand_survives(
    blow: Callable[[System], Awaitable[None]],
) -> None:
    """Struck when a fifth is out, at the provider's real limit: 2,000 accepted, 2,000 recorded."""
    with System(rate=10, latency_ms=20, requests_per_second=8) as system:
        async with system.platform() as platform:
            session = await platform.enroll(HERD, due_in=60 * SECONDS)

            async def a_fifth_is_out() -> bool:
                return len(await platform.accepted()) >= HERD / 5

            await eventually(a_fifth_is_out, within=180 * SECONDS)
            await blow(system)
            await platform.all_sent_once(session, HERD, within=300 * SECONDS)
            requests = await platform.provider.requests()
            refused = sum(request["status"] == 429 for request in requests)
            print(f"{len(requests)} requests, {refused} of them 429")
            assert refused <= len(requests) / 100
