"""What Temporal answers, and what is no answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from reminders import temporal
from reminders.domain.errors import TemporalUnavailableError

OURS = DescribeWorkflowExecutionRequest(namespace="ours")
NO_NAMESPACE = RPCError(
    "Namespace ours is not found.", RPCStatusCode.NOT_FOUND, b"NamespaceNotFoundFailure"
)
NO_WORKFLOW = RPCError("workflow not found", RPCStatusCode.NOT_FOUND, b"NotFoundFailure")


async def test_a_namespace_that_was_there_and_is_gone_is_no_answer() -> None:
    """It would mean that there is no such workflow: a busy embedded server says so now and then."""
    answers: list[object] = [NO_NAMESPACE, "it runs", NO_WORKFLOW, NO_NAMESPACE]

    async def rpc_call(*_: Any, **__: Any) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client: Any = SimpleNamespace(service_client=SimpleNamespace(_rpc_call=rpc_call))
    temporal._share_budget(client)

    async def asked() -> object:
        call = client.service_client._rpc_call
        return await temporal.if_there(call(rpc="describe_workflow_execution", req=OURS))

    assert await asked() is None  # nobody knows better yet: it may be misspelt
    assert "it runs" == await asked()
    assert await asked() is None
    with pytest.raises(TemporalUnavailableError):
        await asked()
