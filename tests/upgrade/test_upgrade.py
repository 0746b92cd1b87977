"""A release takes over from the one before while people sleep, are retried and are re-planned."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from devstack.program import Program, logs, mark
from devstack.stack import SOURCES, WORKER_IS_READY, LocalStack
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import Session
from tests.e2e.platform import Platform, a_platform
from tests.stage import eventually
from tests.upgrade.freeze import SHA256SUMS, sums
from tests.upgrade.released_worker import BUILD

pytestmark = pytest.mark.proof

SECONDS = timedelta(seconds=1)
PRESENT = "present"
DEPLOYMENT = "session-reminders/worker"
"""As Temporal's Worker Controller calls it: the namespace and the name of what it is told by."""
SETTINGS = {"DELIVERY_MODE": "live", "EMAIL_REQUESTS_PER_SECOND": "100"}
SLEEPING = "WorkflowType = 'SessionReminderWorkflow' AND ExecutionStatus = 'Running'"
BUILD_IDS = SearchAttributeKey.for_keyword_list("BuildIds")
VERSION = SearchAttributeKey.for_keyword("TemporalWorkerDeploymentVersion")
UNVERSIONED = "unversioned:"


def test_released_code_is_left_as_it_was() -> None:
    """The files of a release are those that sleepers of that release know."""
    assert SHA256SUMS.read_text() == sums()


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """PostgreSQL, Temporal and the stand-in; each test brings its workers."""
    with LocalStack(
        workers=0, with_api=False, with_ui=False, rate=0, latency_ms=5, settings=SETTINGS
    ) as stack:
        yield stack


@pytest.fixture
async def platform(stack: LocalStack) -> AsyncIterator[Platform]:
    """The platform's side."""
    async with a_platform(stack) as platform:
        await platform.provider.reset()
        yield platform


def a_worker(stack: LocalStack, name: str, *, released: bool = False, **settings: str) -> Program:
    """A worker process, of the release before or of this tree."""
    what = ["-m", "tests.upgrade.released_worker"] if released else [str(SOURCES / "worker.py")]
    return Program(
        name,
        [sys.executable, "-X", mark(stack.folder), *what],
        folder=stack.folder,
        environment={
            **stack.environment(),
            "PYTHONPATH": str(SOURCES),
            "TEMPORAL_WORKER_BUILD_ID": PRESENT,
            **settings,
        },
        ready=logs(WORKER_IS_READY),
    )


async def started(program: Program) -> Program:
    """A program that works by now."""
    program.launch()
    await asyncio.to_thread(program.wait_until_ready)
    return program


async def builds(platform: Platform) -> dict[str, int]:
    """Sleepers by the newest build that has run them: Temporal lists builds in that order."""
    counts: Counter[str] = Counter()
    async for found in platform.client.list_workflows(SLEEPING):
        attributes = found.typed_search_attributes
        ran = [b for b in attributes.get(BUILD_IDS) or () if b.startswith(UNVERSIONED)]
        versioned = attributes.get(VERSION)
        counts[versioned or (ran[-1].removeprefix(UNVERSIONED) if ran else "none yet")] += 1
    return dict(counts)


async def builds_of(platform: Platform, session_id: UUID) -> set[tuple[str, ...]]:
    """The builds that ran the enrollments of a session to their end, one after the other."""
    found = set()
    for reminder in await platform.due_reminders(session_id):
        handle = platform.client.get_workflow_handle(
            session_reminder_workflow_id(session_id, reminder.user_id)
        )
        await asyncio.wait_for(handle.result(), timeout=30)
        ran = [
            event.workflow_task_completed_event_attributes.worker_version.build_id
            for event in (await handle.fetch_history()).events
            if event.HasField("workflow_task_completed_event_attributes")
        ]
        found.add(tuple(dict.fromkeys(ran)))
    return found


async def move(platform: Platform, session_id: UUID, *, due_in: timedelta) -> None:
    """Move a session, so that its 30-minute reminder falls due so soon, and tell everybody."""
    starts_at = datetime.now(UTC) + timedelta(minutes=30) + due_in
    await platform.gateway.put_session(
        Session(id=session_id, title="Cardiology", starts_at=starts_at)
    )


@pytest.mark.parametrize(
    "count", [12, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_an_upgrade_under_load(count: int, stack: LocalStack, platform: Platform) -> None:
    """Asleep, in retry, in the middle of a change or enrolled meanwhile: each gets one e-mail."""
    old = await started(a_worker(stack, "worker-old", released=True))
    new = a_worker(stack, "worker-new")
    try:
        await platform.provider.faults(kind="status", status=500, name="application_error")
        in_retry = await platform.enroll(count, due_in=10 * SECONDS)
        asleep = await platform.enroll(count, due_in=timedelta(seconds=15 + count / 3))
        to_move = await platform.enroll(count, due_in=timedelta(hours=1))
        until_moved = asyncio.create_task(move(platform, to_move, due_in=10 * SECONDS))

        await started(new)  # both at work
        rolling = await platform.enroll(count, due_in=8 * SECONDS)
        await asyncio.to_thread(old.stop)
        await until_moved
        await platform.provider.clear_faults()

        for session in (in_retry, asleep, to_move, rolling):
            await platform.all_sent_once(session, count)
        for session in (in_retry, asleep):
            assert {(BUILD, PRESENT)} == await builds_of(platform, session)
    finally:
        old.stop()
        new.stop()


@pytest.mark.slow
async def test_a_rollback(stack: LocalStack, platform: Platform) -> None:
    """Enrollments that went to sleep under the new release are delivered by the one before."""
    new = await started(a_worker(stack, "worker-new"))
    old = a_worker(stack, "worker-old", released=True)
    try:
        asleep = await platform.enroll(5, due_in=5 * SECONDS)
        await eventually(lambda: _all_on(platform, PRESENT, 5))
        await asyncio.to_thread(new.stop)
        await started(old)
        await platform.all_sent_once(asleep, 5)
        assert {(PRESENT, BUILD)} == await builds_of(platform, asleep)
    finally:
        old.stop()
        new.stop()


@pytest.mark.slow
async def test_versioned_workers_take_over_from_unversioned_ones(
    stack: LocalStack, platform: Platform
) -> None:
    """Once their version is current, and not before; sleepers are counted under it."""
    plain = await started(a_worker(stack, "worker-plain"))
    versioned = a_worker(stack, "worker-versioned", TEMPORAL_DEPLOYMENT_NAME=DEPLOYMENT)
    try:
        asleep = await platform.enroll(3, due_in=timedelta(hours=1))
        await eventually(lambda: _all_on(platform, PRESENT, 3))
        await started(versioned)
        await eventually(lambda: _made_current(platform, DEPLOYMENT))
        await asyncio.to_thread(plain.stop)
        await move(platform, asleep, due_in=10 * SECONDS)
        later = await platform.enroll(3, due_in=timedelta(hours=1))
        await eventually(lambda: _all_on(platform, f"{DEPLOYMENT}:{PRESENT}", 6, at_least=3))
        await platform.all_sent_once(asleep, 3)
        assert len(await platform.due_reminders(later)) == 3
    finally:
        plain.stop()
        versioned.stop()


async def _made_current(platform: Platform, deployment: str) -> bool:
    """Whether the version of a worker that has just come could be made the current one."""
    try:
        await platform.client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace="default", deployment_name=deployment, build_id=PRESENT, identity="test"
            )
        )
    except RPCError:  # the server has not heard of it yet
        return False
    return True


async def _all_on(
    platform: Platform, build: str, count: int, *, at_least: int | None = None
) -> bool:
    """Whether all sleepers are on a build, and so many of them."""
    found = await builds(platform)
    return set(found) == {build} and (at_least or count) <= found[build] <= count
