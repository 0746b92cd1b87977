"""The SDK's sandbox, entered for nothing but to run a workflow.

For each payload the SDK asks four times whose it is, so that a converter may write it differently
for each, and goes into the sandbox for every answer: a fifth of what a worker of ours would do.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import (
    DataConverter,
    StorageDriverStoreContext,
    WorkflowSerializationContext,
)
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import Info

_SOMEBODY = WorkflowSerializationContext(namespace="", workflow_id="")
_NOBODY = StorageDriverStoreContext(target=None)


def spared(runner: WorkflowRunner, converter: DataConverter) -> WorkflowRunner:
    """A runner that does the same with less work, if the converter writes the same for everybody.

    Args:
        runner: Of a worker; any but the SDK's own sandbox stays as it is.
        converter: What the worker's client reads and writes payloads with.
    """
    is_same = converter.with_context(_SOMEBODY) is converter and converter.external_storage is None
    if not is_same or type(runner) is not SandboxedWorkflowRunner:
        return runner
    return SparedSandbox(restrictions=runner.restrictions, runner_class=runner.runner_class)


@dataclass(frozen=True)
class SparedSandbox(SandboxedWorkflowRunner):
    """Runs workflows as the SDK's sandbox does, and asks them for nothing else."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        return _Spared(super().create_instance(det))


class _Spared(WorkflowInstance):
    """One run, whose payloads belong to nobody in particular."""

    def __init__(self, sandboxed: WorkflowInstance) -> None:
        self._sandboxed = sandboxed

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._sandboxed.activate(act)

    def get_info(self) -> Info:
        return self._sandboxed.get_info()

    def get_thread_id(self) -> int | None:
        return self._sandboxed.get_thread_id()

    def get_serialization_context(self, command_info: object) -> None:  # noqa: ARG002 - for nobody
        return None

    def get_external_store_context(self, command_info: object) -> StorageDriverStoreContext:  # noqa: ARG002 - likewise
        return _NOBODY
