"""What crosses the wire between API, workflows and activities.

Frozen, keyword-only dataclasses, one per handler argument or result, converted to JSON by
`workflows.conversion`. Ids and instants cross; addresses, names, titles and rendered e-mails
never do: histories are readable by everyone who may read the namespace.

Workflows sleep for weeks, so a payload written by an old release is read by a new one: fields are
only added, each with a default, and the comment says what its absence means.
`tests/test_wire.py` freezes names and schemas.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from reminders.model import ReminderStatus, StatusReason


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedReminder:
    """One reminder of a plan."""

    reminder_type: str
    generation: int
    """With session, user and type it names the ledger's row: see `keys.reminder_id`."""
    due_at: datetime
    status: ReminderStatus
    reason: StatusReason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderPlan:
    """All reminders of one enrollment, earliest first: a workflow's input, update and answer."""

    starts_at: datetime
    """The session's start the plan was made for."""
    version: int
    """Grows with every plan of the ledger; a workflow never goes back to an older plan."""
    reminders: tuple[PlannedReminder, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionReminderInput:
    """Input of `SessionReminderWorkflow`."""

    session_id: UUID
    user_id: UUID
    plan: ReminderPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliverReminderInput:
    """Input of the activity `deliver_reminder`."""

    reminder_id: UUID
    due_at: datetime
    """When the workflow believes it is due."""
    starts_at: datetime
    """When the workflow believes the session starts; batches with an earlier start go first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryOutcome:
    """Result of the activity `deliver_reminder`."""

    status: ReminderStatus
    """`scheduled` when the ledger says that the reminder is due later than the workflow believed."""
    reason: StatusReason | None = None
    due_at: datetime | None = None
    """The later instant, when `status` is `scheduled`."""
    starts_at: datetime | None = None
    """The session's start now, when `status` is `scheduled`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRemindersInput:
    """Input of the activity `close_reminders`."""

    reminder_ids: tuple[UUID, ...]
    status: ReminderStatus
    reason: StatusReason


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRemindersResult:
    """Result of the activity `close_reminders`."""

    closed: int
    """Rows that were still waiting and are closed now."""
    in_doubt: int
    """Rows frozen in a request whose outcome is not known yet; the delivery pipeline resolves them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionReminderResult:
    """Result of `SessionReminderWorkflow`."""

    sent: int
    skipped: int
    failed: int
