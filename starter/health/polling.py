"""When a worker last asked Temporal for tasks that it would be given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client  # noqa: TID251 - asks how the server is, starts nothing

from reminders import temporal
from starter.health.diagnosis import FoundError

_PATIENCE = timedelta(seconds=3)


async def last_poll(
    client: Client, task_queue: str, kind: TaskQueueType.ValueType
) -> datetime | None:
    """When a worker last polled; `None` if none has for minutes.

    Raises:
        FoundError: If some poll, and all are of versions that Temporal gives no tasks to.
        TemporalUnavailableError: If Temporal does not answer.
    """
    with temporal.unavailable():
        found = await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=task_queue),
                task_queue_type=kind,
            ),
            timeout=_PATIENCE,
        )
    current = found.versioning_info.current_deployment_version
    serving = [poller for poller in found.pollers if _is_given_tasks(poller, current)]
    if found.pollers and not serving:
        raise FoundError(
            f"workers poll task queue {task_queue}, and none is of the Worker Deployment's current"
            " version: they are given no tasks",
            "start workers of it, or see `temporal worker deployment set-current-version --help`",
        )
    return max((p.last_access_time.ToDatetime(tzinfo=UTC) for p in serving), default=None)


def _is_given_tasks(poller: PollerInfo, current: WorkerDeploymentVersion) -> bool:
    own = poller.deployment_options
    if own.worker_versioning_mode != WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED:
        return not current.build_id
    return (own.deployment_name, own.build_id) == (current.deployment_name, current.build_id)
