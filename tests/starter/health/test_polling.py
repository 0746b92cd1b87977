"""Workers that poll, and are given no tasks: of versions that are not current."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from temporalio import activity
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.worker import Worker

from reminders.settings import Settings
from starter.assembly import assembled
from starter.health.diagnosis import Check
from tests.stage import eventually
from worker import build_worker, deployment


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


@activity.defn
async def idle() -> None:
    """Something to poll for."""


async def worker_check(settings: Settings) -> Check:
    """What `doctor` says about workers."""
    async with assembled(settings) as parts:
        checks = (await parts.examiner.examine()).checks
    return next(check for check in checks if check.name == "worker")


async def test_a_current_version_without_workers(settings: Settings, client: Client) -> None:
    """Workers of a version that nobody made current, and then of none that is: red, by its name."""
    name = settings.temporal_task_queue

    def workers(build: str) -> Worker:
        config = settings.model_copy(
            update={"temporal_deployment_name": name, "temporal_worker_build_id": build}
        )
        return build_worker(client, [idle], task_queue=name, deployment=deployment(config))

    async def said(words: str) -> None:
        async def is_said() -> bool:
            return words in (await worker_check(settings)).detail

        await eventually(is_said)

    async def make_current(build: str) -> None:
        await client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=client.namespace,
                deployment_name=name,
                build_id=build,
                identity="test",
                allow_no_pollers=True,
            )
        )

    async with workers("one"):
        await said("none is of the Worker Deployment's current version")
        await make_current("one")
        await said("a worker polls")
        await make_current("two")
        await said("they are given no tasks")
