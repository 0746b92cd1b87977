"""What an enrollment would get."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

from reminders.domain.model import (
    ReminderStatus,
    StatusReason,
)
from starter.api.answers.base import Out
from starter.services.reasons import decision

if TYPE_CHECKING:  # it brings the e-mail templates along, which nobody needs who only answers
    from starter.services.rehearsal import Rehearsed, Script


class RehearsedReminder(Out):
    """One reminder of a rehearsal."""

    reminder_type: str
    generation: int
    due_at: datetime
    sent_at: datetime | None
    """When the e-mail would go out; absent if none would."""
    subject: str | None
    """As the attendee gets it; `DELIVERY_MODE=redirect` puts their address before it."""
    email_status: ReminderStatus
    status_reason: StatusReason | None
    decision: str
    """The same in a sentence."""


class RehearsalOut(Out):
    """What an enrollment would get."""

    start_time: datetime
    """Of the session, in the end."""
    time_zone: str
    enrolled_at: datetime
    reminders: list[RehearsedReminder]
    """By the instant that each goes out, or was due."""

    @classmethod
    def of(cls, script: Script, played: Sequence[Rehearsed]) -> Self:
        """What was played as JSON."""
        return cls(
            start_time=script.moves[-1].to if script.moves else script.session.starts_at,
            time_zone=script.session.time_zone,
            enrolled_at=script.enrolled_at,
            reminders=[
                RehearsedReminder(
                    reminder_type=r.reminder.reminder_type,
                    generation=r.reminder.generation,
                    due_at=r.reminder.due_at,
                    sent_at=r.reminder.sent_at,
                    subject=r.subject,
                    email_status=r.reminder.status,
                    status_reason=r.reminder.reason,
                    decision=decision(r.reminder),
                )
                for r in played
            ],
        )
