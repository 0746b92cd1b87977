"""The sandbox is not asked whose a payload is, where that changes nothing."""

from __future__ import annotations

import dataclasses

import pytest
from temporalio.client import Client
from temporalio.converter import DataConverter, ExternalStorage, PayloadCodec, StorageDriver
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkerConfig,
    WorkflowInstance,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.workflows.test_own_converter import Keyed, Mirror
from workflows import sandbox
from workflows.plugin import SessionReminderPlugin, data_converter
from workflows.sandbox import SparedSandbox


def with_codec(codec: PayloadCodec) -> DataConverter:
    """Ours with a host's codec."""
    return dataclasses.replace(data_converter, payload_codec=codec)


async def configured(runner: WorkflowRunner, converter: DataConverter) -> WorkflowRunner:
    """The runner of a worker that was given this one, and whose client has this converter."""
    plugin = SessionReminderPlugin(converter)
    client = await Client.connect("127.0.0.1:1", lazy=True, plugins=[plugin])
    config = plugin.configure_worker(WorkerConfig(client=client, workflow_runner=runner))
    return config["workflow_runner"]


@pytest.mark.parametrize("converter", [data_converter, with_codec(Mirror())])
async def test_a_converter_that_writes_alike_for_all_is_spared(converter: DataConverter) -> None:
    """What a host restricts stays restricted."""
    strict = SandboxRestrictions.default.with_passthrough_all_modules()
    runner = await configured(SandboxedWorkflowRunner(restrictions=strict), converter)
    assert isinstance(runner, SparedSandbox)
    assert strict == runner.restrictions


async def test_a_host_s_own_ways_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its codec with a key for each workflow, its storage, its runner."""
    monkeypatch.setattr(StorageDriver, "__abstractmethods__", frozenset())
    monkeypatch.setattr(StorageDriver, "name", lambda _: "own")
    stored = ExternalStorage(drivers=[StorageDriver()])  # type: ignore[abstract]
    own: list[tuple[WorkflowRunner, DataConverter]] = [
        (SandboxedWorkflowRunner(), with_codec(Keyed())),
        (SandboxedWorkflowRunner(), dataclasses.replace(data_converter, external_storage=stored)),
        (SandboxedWorkflowRunner(), DataConverter.default),
        (UnsandboxedWorkflowRunner(), data_converter),
    ]
    for runner, converter in own:
        assert runner is await configured(runner, converter)


def test_what_is_answered_is_what_the_sdk_asks() -> None:
    """By these names; were it to ask by others, the sandbox would be entered again, unnoticed."""
    assert set(sandbox._ANSWERS) <= WorkflowInstance.__abstractmethods__
