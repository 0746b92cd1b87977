"""The plugin of release 1: its workflows and its converter, from this folder."""

from __future__ import annotations

from temporalio.plugin import SimplePlugin

from tests.upgrade.released.v1.conversion import data_converter
from tests.upgrade.released.v1.reminder_sweep import ReminderSweepWorkflow
from tests.upgrade.released.v1.session_change import SessionChangeWorkflow
from tests.upgrade.released.v1.session_reminder import SessionReminderWorkflow


class ReleasedPlugin(SimplePlugin):
    """What a worker of release 1 ran."""

    def __init__(self) -> None:
        """As `workflows.plugin.SessionReminderPlugin` did."""
        super().__init__(
            "session-reminders",
            workflows=[SessionReminderWorkflow, SessionChangeWorkflow, ReminderSweepWorkflow],
            data_converter=data_converter,
        )
