"""Namespaces of a Temporal server, for tests of what only one installation may be in."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.stage import eventually


async def a_namespace(client: Client, *, retention: timedelta = timedelta(days=3)) -> str:
    """The name of a namespace that nobody has used."""
    name = f"test-{uuid4().hex[:8]}"
    keeps = Duration()
    keeps.FromTimedelta(retention)
    await client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=keeps)
    )

    async def known() -> bool:
        try:
            # Answered by way of the servers' own list of namespaces, which is read now and then.
            await client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(namespace=name, task_queue=TaskQueue(name="any"))
            )
        except RPCError:
            return False
        return True

    await eventually(known)
    return name
