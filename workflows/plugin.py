"""The one object that workers, tests, replays and host applications share.

What must agree between them (workflow types, payload conversion, sandbox) is said here and nowhere
else. A host adds `SessionReminderPlugin()` to its client, and its workers inherit it.
"""

from __future__ import annotations

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin

from workflows.conversion import data_converter
from workflows.reminder_sweep import ReminderSweepWorkflow
from workflows.session_change import SessionChangeWorkflow
from workflows.session_reminder import SessionReminderWorkflow


class SessionReminderPlugin(SimplePlugin):
    """Workflows and data converter of session reminders; activities come with their parts."""

    def __init__(self, data_converter: DataConverter = data_converter) -> None:
        """Needs nothing: everything deterministic is known.

        Args:
            data_converter: Ours, or one that a host made of it, such as to encrypt what Temporal
                stores; must be the same everywhere.
        """
        super().__init__(
            "session-reminders",
            workflows=[SessionReminderWorkflow, SessionChangeWorkflow, ReminderSweepWorkflow],
            data_converter=data_converter,
        )
