"""What crosses the wire between API, workflows and activities.

Frozen, keyword-only dataclasses, one per handler argument or result, converted to JSON by
`workflows.plugin`. Ids and instants cross; addresses, names, titles and rendered e-mails
never do: histories are readable by everyone who may read the namespace.

Workflows sleep for weeks, so a payload written by an old release is read by a new one: fields are
only added, each with a default, and the comment says what its absence means.
`tests/test_wire.py` freezes names and schemas.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from reminders.domain.model import ReminderStatus, StatusReason


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
    lead_in: timedelta | None = None
    """How long before a due instant the workflow wakes and has the e-mail made ready, which goes
    out at the due instant; absent in small sessions, and in plans of before there was one."""


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
    """`scheduled` when the reminder is due later than the workflow believed, by the ledger; or is to
    be scheduled anew, as the time-outs of a further attempt do not suit what is left."""
    reason: StatusReason | None = None
    due_at: datetime | None = None
    """When it is due, if `status` is `scheduled`."""
    starts_at: datetime | None = None
    """The session's start now, when `status` is `scheduled`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CloseRemindersInput:
    """Input of the activity `close_reminders`."""

    reminder_ids: tuple[UUID, ...]
    status: ReminderStatus
    reason: StatusReason
    plan_version: int | None = None
    """Only rows that no newer plan than this one has written; absent closes whatever waits, as a
    cancel does, and closings of before there was this field."""


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


class SweepKind(StrEnum):
    """What the sweep looks for, in this order."""

    UNCONFIRMED = "unconfirmed"
    """A plan is in the ledger, and its workflow is not known to follow it: the call that planned
    ended in between. So a workflow is found that waits for what has been called off."""
    DRIFTED = "drifted"
    """A reminder waits that session, rule or enrollment no longer want, or not then."""
    LOST = "lost"
    """A reminder is wanted, and nobody planned it: the call to us was lost."""
    OVERDUE = "overdue"
    """A reminder waits although its instant has passed. Litmus: by minutes, not by seconds."""
    MISSING = "missing"
    """A reminder falls due soon, and its workflow is not running."""
    IN_DOUBT = "in_doubt"
    """A request has had no outcome for minutes. Only counted: the delivery resolves it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReconcileInput:
    """Input of the activity `reconcile_enrollments`."""

    kind: SweepKind
    limit: int
    """Enrollments that are repaired at the most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepTally:
    """Result of the activity `reconcile_enrollments`: what was found of one kind, in enrollments.

    Of `in_doubt` only `found` is counted, in reminders.
    """

    found: int = 0
    repaired: int = 0
    unchanged: int = 0
    """All was well by the time it was looked at more closely."""
    failed: int = 0
    """Could not be repaired; the next sweep finds them again."""
    reminders: int = 0
    """Reminders put right: planned, moved or closed, or waiting under a workflow started again."""
    stopped_early: bool = False
    """Whether there was more than this run may do; the next one goes on."""
    error: str | None = None
    """Type of the error that ended the search; absent when it was complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepResult:
    """Result of `ReminderSweepWorkflow`."""

    processed: int
    """Enrollments that were found and worked on."""
    total_reminders: int
    """Reminders put right; none of them was sent by the sweep."""
    total_failed: int
    """Enrollments that could not be repaired."""
    results: dict[SweepKind, SweepTally]
    """Every kind, also those of which nothing was found."""
    forgotten: int = 0
    """Old provider events and requests removed; 0 of runs that did not forget yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChangeInput:
    """Input of `SessionChangeWorkflow`, and of the activity `replan_enrollments`."""

    session_id: UUID
    cancelled: int = 0
    """Reminders that runs before called off, when this one continues them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionChangeResult:
    """Result of `SessionChangeWorkflow`, and of the activity `replan_enrollments`: counts."""

    enrollments: int = 0
    """Enrollments that were planned anew."""
    replanned: int = 0
    """Of these, those whose workflow has confirmed the new plan, or its end."""
    unconfirmed: int = 0
    """Of these, those whose workflow did not answer; delivery follows the ledger all the same. And
    those that could not be planned, for a reason of their own: the worker's log names them."""
    cancelled: int = 0
    """Reminders that were called off."""
    already_sent: int = 0
    in_flight: int = 0
    """Reminders frozen in a request whose outcome is not known yet."""
    told: int = 0
    """People with a notice that waits or went out since; 0 of workers that knew of none."""
