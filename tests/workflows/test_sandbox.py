"""The sandbox is not asked whose a payload is, where that changes nothing."""

from __future__ import annotations

import dataclasses

import pytest
from temporalio.converter import DataConverter, ExternalStorage, PayloadCodec, StorageDriver
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from tests.workflows.test_own_converter import Keyed, Mirror
from workflows.plugin import data_converter
from workflows.sandbox import SparedSandbox, spared


def with_codec(codec: PayloadCodec) -> DataConverter:
    """Ours with a host's codec."""
    return dataclasses.replace(data_converter, payload_codec=codec)


@pytest.mark.parametrize("converter", [data_converter, with_codec(Mirror())])
def test_a_converter_that_writes_alike_for_all_is_spared(converter: DataConverter) -> None:
    """What a host restricts stays restricted."""
    strict = SandboxRestrictions.default.with_passthrough_all_modules()
    runner = spared(SandboxedWorkflowRunner(restrictions=strict), converter)
    assert isinstance(runner, SparedSandbox)
    assert strict == runner.restrictions


def test_a_host_s_own_ways_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its codec with a key for each workflow, its storage, its runner."""
    monkeypatch.setattr(StorageDriver, "__abstractmethods__", frozenset())
    monkeypatch.setattr(StorageDriver, "name", lambda _: "own")
    stored = ExternalStorage(drivers=[StorageDriver()])  # type: ignore[abstract]
    own: list[tuple[WorkflowRunner, DataConverter]] = [
        (SandboxedWorkflowRunner(), with_codec(Keyed())),
        (SandboxedWorkflowRunner(), dataclasses.replace(data_converter, external_storage=stored)),
        (UnsandboxedWorkflowRunner(), data_converter),
    ]
    for runner, converter in own:
        assert spared(runner, converter) is runner
