"""The one object that workers, tests, replays and host applications share.

What must agree between them (workflow types, payload conversion, sandbox) is said here and nowhere
else. A host adds `SessionReminderPlugin()` to its client, and its workers inherit it.

Payloads are pydantic's JSON without what is absent: each stays in a history for weeks, absent
fields are read back as their defaults, and a dozen `null`s per enrollment would say nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any, cast

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    WithSerializationContext,
)
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkerConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.sandbox import SparedSandbox
from workflows.session_change import SessionChangeWorkflow
from workflows.session_reminder import SessionReminderWorkflow

WORKFLOWS = (SessionReminderWorkflow, SessionChangeWorkflow, ReminderSweepWorkflow)


class CompactJsonPayloadConverter(PydanticJSONPlainPayloadConverter):
    """Pydantic's JSON converter, leaving out fields that are `None`."""

    def to_payload(self, value: Any) -> Payload | None:  # noqa: ANN401 - as the base class
        """See base class."""
        # Only a serializer made for the class leaves fields of a dataclass out.
        kind = cast("Hashable", type(value))
        data = self._type_adapter(kind).dump_json(value, exclude_none=True)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)


_COMPACT = CompactJsonPayloadConverter()
"""Shared: Temporal makes a payload converter for each activation, and a type adapter is costly."""


class CompactPayloadConverter(CompositePayloadConverter):
    """Temporal's default converters with the JSON one replaced."""

    def __init__(self) -> None:
        """See base class."""
        super().__init__(
            *(
                _COMPACT if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


data_converter = dataclasses.replace(
    pydantic_data_converter, payload_converter_class=CompactPayloadConverter
)


class SessionReminderPlugin(SimplePlugin):
    """Workflows and data converter of session reminders; activities come with their parts."""

    def __init__(self, data_converter: DataConverter = data_converter) -> None:
        """Needs nothing: everything deterministic is known.

        Args:
            data_converter: Ours, or one that a host derived from it, such as one that encrypts
                what Temporal stores; must be the same everywhere.
        """
        super().__init__(
            "session-reminders",
            workflows=WORKFLOWS,
            data_converter=data_converter,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class."""
        config = super().configure_worker(config)
        runner = config["workflow_runner"]
        # A runner of the host's own stays, and so does what its converter asks.
        if type(runner) is SandboxedWorkflowRunner and _is_impersonal(
            config["client"].data_converter
        ):
            config["workflow_runner"] = SparedSandbox(
                restrictions=runner.restrictions, runner_class=runner.runner_class
            )
        return config


def _is_impersonal(converter: DataConverter) -> bool:
    """Whether a converter surely writes a payload the same whosever it is."""
    return (
        converter.payload_converter_class is CompactPayloadConverter
        and not isinstance(converter.payload_codec, WithSerializationContext)
        and not isinstance(converter.failure_converter, WithSerializationContext)
        and converter.external_storage is None
    )
