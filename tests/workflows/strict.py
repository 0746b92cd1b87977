"""The plugin with the strictest sandbox there is: a forgotten pass-through is an error."""

from __future__ import annotations

import dataclasses

from temporalio import workflow
from temporalio.converter import DataConverter
from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from workflows.plugin import SessionReminderPlugin, data_converter


class StrictPlugin(SessionReminderPlugin):
    """What production uses, in a sandbox that refuses what production's would let pass silently."""

    def __init__(self, data_converter: DataConverter = data_converter) -> None:
        """See base class."""
        super().__init__(data_converter)
        self.workflow_runner = _strict


def _strict(runner: WorkflowRunner | None) -> WorkflowRunner:
    assert isinstance(runner, SandboxedWorkflowRunner)
    policy = workflow.SandboxImportNotificationPolicy
    strict = runner.restrictions.with_import_notification_policy(
        policy.WARN_ON_DYNAMIC_IMPORT | policy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    return dataclasses.replace(runner, restrictions=strict)
