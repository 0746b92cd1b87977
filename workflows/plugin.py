"""The one object that workers, tests, replays and host applications share.

What must agree between them (workflow types, payload conversion, sandbox) is said here and nowhere
else. A host adds `SessionReminderPlugin()` to its client, and its workers inherit it.
"""

from __future__ import annotations

import dataclasses

from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)
from temporalio.plugin import SimplePlugin

from workflows.conversion import data_converter
from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.session_change import SessionChangeWorkflow
from workflows.session_reminder import SessionReminderWorkflow


class SessionReminderPlugin(SimplePlugin):
    """Workflows and data converter of session reminders; activities come with their parts."""

    def __init__(self, codec: PayloadCodec | None = None) -> None:
        """Needs nothing: everything deterministic is known.

        Args:
            codec: Encrypts payloads and the messages of failures; must be the same everywhere.
        """
        super().__init__(
            "session-reminders",
            workflows=[SessionReminderWorkflow, SessionChangeWorkflow, ReminderSweepWorkflow],
            data_converter=data_converter if codec is None else _encoding(codec),
        )


def _encoding(codec: PayloadCodec) -> DataConverter:
    return dataclasses.replace(
        data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
