"""The SDK's sandbox, entered for nothing but to run a workflow.

For each payload the SDK asks four times whose it is, so that a converter may write it differently
for each, and goes into the sandbox for every answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

_NOBODY = StorageDriverStoreContext(target=None)
_ANSWERS = {
    "get_serialization_context": lambda _command_info: None,
    "get_external_store_context": lambda _command_info: _NOBODY,
}
"""In place of the instance's own methods, which go into the sandbox."""


@dataclass(frozen=True)
class SparedSandbox(SandboxedWorkflowRunner):
    """Runs workflows as the SDK's sandbox does, and says of every payload that it is nobody's.

    For a converter that writes the same for everybody.
    """

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = super().create_instance(det)
        vars(instance).update(_ANSWERS)
        return instance
