"""Sweeps as operators see them: the Schedule, one by hand, past runs, API and commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    WorkflowExecutionStatus,
)

from reminders import temporal
from reminders.db.engine import Database
from reminders.domain.contracts import SweepKind
from reminders.domain.errors import ConfigurationError
from reminders.domain.keys import SWEEP_ID
from reminders.settings import Settings
from reminders.temporal import Ensured, ensure_schedule
from starter.assembly import assemble
from starter.services.namespace import EXECUTION_TIMEOUT, sweep_schedule
from starter.services.sweeps import MANUAL_ID, Sweeps
from tests.stage import eventually
from tests.starter.conftest import a_worker, serving
from workflows.reminder_sweep import ATTEMPT_TIMEOUT, RETENTION_TIMEOUT


def wanted(cron: str = "*/15 * * * *", task_queue: str = "nobody-polls-this") -> Schedule:
    """The Schedule as a release would have it."""
    return sweep_schedule(cron, task_queue=task_queue)


pytestmark = pytest.mark.usefixtures("no_sweep_left")


def test_a_run_has_time_for_all_that_may_take_long() -> None:
    """One kind that takes all its time keeps no other from its own, and the counts are kept."""
    assert len(SweepKind) * ATTEMPT_TIMEOUT + RETENTION_TIMEOUT < EXECUTION_TIMEOUT


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own: a sweep looks at all of it."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
async def swept(client: Client, settings: Settings) -> AsyncIterator[Sweeps]:
    """Sweeps, with a worker that runs them."""
    async with a_worker(client, settings):
        yield sweeping(client, settings)


def sweeping(client: Client, settings: Settings) -> Sweeps:
    """Sweeps as they are assembled."""
    return assemble(settings, Database(settings.require_database_url()), client).sweeps


@pytest.fixture
async def schedule_id(client: Client) -> AsyncIterator[str]:
    """Id of a Schedule of this test's own, gone afterwards."""
    schedule_id = f"reminder-sweep-{uuid4().hex[:8]}"
    yield schedule_id
    await client.get_schedule_handle(schedule_id).delete()


async def test_a_schedule_is_created_once_by_four_at_once(client: Client, schedule_id: str) -> None:
    """One creates it, the others find it, and it says what it must."""
    done = await asyncio.gather(*(ensure_schedule(client, schedule_id, wanted()) for _ in range(4)))
    assert [Ensured.CREATED, *[Ensured.UNCHANGED] * 3] == sorted(done)
    found = await temporal.schedule(client, schedule_id)
    assert found is not None
    assert found.schedule.policy.catchup_window == timedelta(minutes=30)
    assert "SKIP" == found.schedule.policy.overlap.name
    (times,) = found.schedule.spec.calendars
    assert 15 == times.minute[0].step
    assert not found.schedule.state.paused


async def test_a_schedule_is_updated_only_if_it_differs_and_a_pause_is_kept(
    client: Client, schedule_id: str
) -> None:
    """New times are taken over; the operator's pause and note outlive every deploy."""
    await ensure_schedule(client, schedule_id, wanted())
    await client.get_schedule_handle(schedule_id).pause(note="maintenance until noon")
    assert Ensured.UNCHANGED == await ensure_schedule(client, schedule_id, wanted())
    assert Ensured.UPDATED == await ensure_schedule(client, schedule_id, wanted("5 * * * *"))
    assert Ensured.UNCHANGED == await ensure_schedule(client, schedule_id, wanted("5 * * * *"))
    moved = wanted("5 * * * *", task_queue="another")
    assert Ensured.UPDATED == await ensure_schedule(client, schedule_id, moved)
    found = await temporal.schedule(client, schedule_id)
    assert found is not None
    assert (True, "maintenance until noon") == (
        found.schedule.state.paused,
        found.schedule.state.note,
    )


async def test_times_that_temporal_cannot_read_are_named(client: Client, schedule_id: str) -> None:
    """A misspelt cron expression is the operator's to mend, and leaves the Schedule as it is."""
    await ensure_schedule(client, schedule_id, wanted())
    with pytest.raises(ConfigurationError, match="every now and then"):
        await ensure_schedule(client, schedule_id, wanted("every now and then"))
    assert Ensured.UNCHANGED == await ensure_schedule(client, schedule_id, wanted())


async def test_the_schedule_starts_the_sweep(
    swept: Sweeps, client: Client, settings: Settings, schedule_id: str
) -> None:
    """Triggered, it runs the workflow under its own id, and the run completes."""
    queue = settings.temporal_task_queue
    await ensure_schedule(client, schedule_id, wanted(task_queue=queue))
    await client.get_schedule_handle(schedule_id).trigger()

    async def completed() -> bool:
        runs = (await swept.runs()).runs
        return any(run.status == "completed" and run.result for run in runs)

    await eventually(completed)
    (run,) = (await swept.runs()).runs
    assert run.workflow_id.startswith("reminder-sweep-20")
    assert run.result is not None
    assert 0 == run.result["processed"]


async def test_a_sweep_by_hand_is_not_doubled(client: Client, settings: Settings) -> None:
    """Without a worker the first one waits, and whoever asks again is told of it."""
    sweeps = sweeping(client, settings)
    first, second = await sweeps.start(), await sweeps.start()
    assert (True, False) == (first.started, second.started)
    assert first.run_id == second.run_id
    described = await client.get_workflow_handle(first.workflow_id).describe()
    assert described.status is WorkflowExecutionStatus.RUNNING


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_scheduled_sweep_is_waited_for_on_our_own_task_queue_only(
    client: Client, settings: Settings, *, is_ours: bool
) -> None:
    """One that waits where workers polled before the queue was renamed holds up no sweep by hand."""
    queue = settings.temporal_task_queue if is_ours else "nobody-polls-this"
    await ensure_schedule(client, SWEEP_ID, wanted(settings.sweep_cron, queue))
    await client.get_schedule_handle(SWEEP_ID).trigger()
    running: list[str] = []

    async def runs() -> bool:
        found = await temporal.schedule(client, SWEEP_ID)
        assert found is not None
        running[:] = [
            action.workflow_id
            for action in found.info.running_actions
            if isinstance(action, ScheduleActionExecutionStartWorkflow)
        ]
        return bool(running)

    await eventually(runs)
    started = await sweeping(client, settings).start()
    await client.get_workflow_handle(running[0]).terminate()
    assert (not is_ours, running[0] if is_ours else MANUAL_ID) == (
        started.started,
        started.workflow_id,
    )


async def test_the_api_starts_a_sweep_and_tells_what_it_found(
    swept: Sweeps, settings: Settings
) -> None:
    """202 with its ids, and a run with true counts under the names that its users know."""
    async with serving(settings) as api:
        answer = await api.post("/v1/sweeps")
        assert (202, True) == (answer.status_code, answer.json()["started"])
        found: list[dict[str, Any]] = []

        async def told() -> bool:
            page = (await api.get("/v1/runs", params={"limit": 5})).json()
            found[:] = [run for run in page["items"] if run["status"] == "completed"]
            return bool(found)

        await eventually(told)
        (run,) = found
        assert answer.json()["run_id"] == run["run_id"]
        assert "ReminderSweepWorkflow" == run["workflow_type"]
        assert {"processed", "totalReminders", "totalFailed", "results", "forgotten"} == set(
            run["result"]
        )
        assert set(SweepKind) == set(run["result"]["results"])
        assert run["closed_at"] >= run["started_at"]
        for filters in ({"kind": "sweep"}, {"state": "completed"}):
            assert found == (await api.get("/v1/runs", params=filters)).json()["items"]
        for filters in ({"kind": "change"}, {"state": "failed"}):
            assert [] == (await api.get("/v1/runs", params=filters)).json()["items"]


async def test_the_api_refuses_a_cursor_that_is_none(settings: Settings) -> None:
    """A 422 that names the field."""
    async with serving(settings) as api:
        for cursor in ("%", "bm9uc2Vuc2U="):
            answer = await api.get("/v1/runs", params={"cursor": cursor})
            assert 422 == answer.status_code, answer.text
            assert "cursor" == answer.json()["errors"][0]["field"]


async def test_runs_come_in_pages(swept: Sweeps) -> None:
    """Each run once, the newest first."""
    for _ in range(3):
        await swept.finished(await swept.start())

    async def listed() -> bool:
        runs = (await swept.runs()).runs
        return ["completed"] * 3 == [run.status for run in runs]

    await eventually(listed)
    first = await swept.runs(limit=2)
    rest = await swept.runs(limit=2, cursor=first.next_cursor)
    runs = [*first.runs, *rest.runs]
    assert 3 == len({run.run_id for run in runs})
    assert runs == sorted(runs, key=lambda run: run.started_at, reverse=True)
