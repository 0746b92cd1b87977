"""One enrollment as it is now: everything that its plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from reminders.domain.model import (
    EnrollmentStatus,
    Notice,
    Reminder,
    ReminderRule,
    Session,
    SessionStatus,
    StatusReason,
)

COOLING = timedelta(minutes=2)
"""How long a move is waited with, unless settings say otherwise."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One enrollment, its session, the rules and the ledger, as they are now."""

    session: Session
    user_id: UUID
    enrollment: EnrollmentStatus | None
    """Absent when it was deleted."""
    recorded: tuple[Reminder, ...]
    """The enrollment's ledger rows, any generation, any order."""
    now: datetime
    """Aware."""
    rules: tuple[ReminderRule, ...] = ()
    """Those that count for the session."""
    stopped: Mapping[str, StatusReason] = field(default_factory=dict)
    """Why this person is not to get what, by reminder type."""
    threshold: timedelta = timedelta(hours=1)
    """How far the session must move for a second sending of what was sent."""
    cooling: timedelta = COOLING
    """How long a move is waited with, in case it is not the last one."""
    enrolling: bool = False
    """Whether somebody asked for this enrollment now."""
    is_quiet: bool = False
    """Whether nobody is to be told of how the session is now: whoever changed it said so."""

    @property
    def called_off(self) -> StatusReason | None:
        """Why nobody is to be reminded, if that is so."""
        if self.session.status is SessionStatus.CANCELLED:
            return StatusReason.SESSION_CANCELLED
        if self.enrollment in (None, EnrollmentStatus.CANCELLED):
            return StatusReason.UNENROLLED
        return None

    @property
    def withheld(self) -> Mapping[str, StatusReason]:
        """Why this person is not to get what for now, by reminder type."""
        if self.enrollment is EnrollmentStatus.PENDING:
            return {rule.reminder_type: StatusReason.UNCONFIRMED for rule in self.rules}
        return self.stopped

    def is_on(self, notice: Notice) -> bool:
        """Whether the rule of a notice is switched on for the session."""
        return any(rule.is_enabled for rule in self.rules if rule.reminder_type == notice)
