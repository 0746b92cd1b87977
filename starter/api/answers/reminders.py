"""Reminders: rows of the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Self
from uuid import UUID

from pydantic import Field

from reminders.domain.model import Reminder, ReminderStatus, StatusReason
from starter.api.answers.base import Out
from starter.services.reasons import decision
from starter.services.resending import RedriveReceipt


class PlannedReminderOut(Out):
    """One reminder of a plan."""

    id: UUID
    reminder_type: str = Field(examples=["24h"])
    due_at: datetime
    email_status: ReminderStatus
    status_reason: StatusReason | None


class ReminderOut(PlannedReminderOut):
    """One row of the ledger: one e-mail that is to be sent, was sent, or was not, and why."""

    session_id: UUID
    user_id: UUID
    generation: int
    """From 1; a legitimate second sending is a new generation."""
    decision: str = Field(examples=["not sent: its instant had passed when it was planned"])
    """What was decided and why, for people."""
    attempts: int
    """Requests to the provider that carried it."""
    sent_at: datetime | None
    """When the provider accepted it."""
    resend_email_id: str | None
    last_error: str | None
    workflow_id: str | None
    run_id: str | None
    updated_at: datetime | None

    @classmethod
    def of(cls, reminder: Reminder) -> Self:
        """The ledger's row as JSON."""
        return cls(
            id=reminder.id,
            reminder_type=reminder.reminder_type,
            due_at=reminder.due_at,
            email_status=reminder.status,
            status_reason=reminder.reason,
            session_id=reminder.session_id,
            user_id=reminder.user_id,
            generation=reminder.generation,
            decision=decision(reminder),
            attempts=reminder.attempts,
            sent_at=reminder.sent_at,
            resend_email_id=reminder.resend_email_id,
            last_error=reminder.last_error,
            workflow_id=reminder.workflow_id,
            run_id=reminder.run_id,
            updated_at=reminder.updated_at,
        )


class RedriveOut(Out):
    """What a redrive did, in reminders."""

    dry_run: bool
    found: int
    """Failed reminders of sessions that take place and have not begun."""
    resent: int
    """Planned once more, as a new generation; with `dry_run`, what would be."""
    left_alone: dict[str, int] = Field(examples=[{"outcome_unknown": 1, "superseded": 12}])
    """Those that are not, by reason."""
    next_cursor: str | None
    """Null on the last page."""

    @classmethod
    def of(cls, receipt: RedriveReceipt, *, dry_run: bool) -> Self:
        """The answer as JSON."""
        return cls(
            dry_run=dry_run,
            found=receipt.found,
            resent=receipt.resent,
            left_alone=dict(receipt.left_alone),
            next_cursor=receipt.next_cursor,
        )


class ReminderPageOut(Out):
    """Some reminders, by ascending due instant, and where the next ones begin."""

    items: list[ReminderOut]
    next_cursor: str | None
    """Absent on the last page."""
