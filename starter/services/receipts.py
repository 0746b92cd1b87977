"""What the gateway's verbs answer: receipts with counts, and stories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reminders.db.plans import PlannedEnrollment
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import EnrollmentStatus, Reminder, Session, SessionStatus

UNKNOWN = "unknown"
"""Status of a workflow while Temporal does not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Enrolled:
    """An enrollment whose reminders are planned and whose workflow runs."""

    workflow_id: str
    run_id: str
    created: bool
    """False when everything was as it is already."""
    enrollment_status: EnrollmentStatus
    session_status: SessionStatus
    reminders: tuple[Reminder, ...]

    @classmethod
    def of(cls, planned: PlannedEnrollment, run_id: str) -> Enrolled:
        """An enrollment whose plan this run follows."""
        return cls(
            workflow_id=session_reminder_workflow_id(planned.session.id, planned.user_id),
            run_id=run_id,
            created=planned.is_changed,
            enrollment_status=planned.enrollment or EnrollmentStatus.CANCELLED,
            session_status=planned.session.status,
            reminders=planned.reminders,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelReceipt:
    """What calling off did: counts of reminders."""

    cancelled: int = 0
    already_sent: int = 0
    in_flight: int = 0
    """Frozen in a request that may have been accepted; resolved by the delivery pipeline."""
    told: int = 0
    """People who get a notice of it."""
    event_id: int | None = field(default=None, compare=False)
    """Its entry in the audit log; absent when it was only counted, or is part of another receipt."""

    @property
    def details(self) -> dict[str, Any]:
        """As the audit log keeps it."""
        return {
            "cancelled": self.cancelled,
            "already_sent": self.already_sent,
            "in_flight": self.in_flight,
            "told": self.told,
        }

    @classmethod
    def of(cls, planned: PlannedEnrollment) -> CancelReceipt:
        """What became of an enrollment's reminders, counted."""
        return cls(
            cancelled=planned.cancelled,
            already_sent=planned.already_sent,
            in_flight=planned.in_flight,
            told=int(planned.is_told),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeReceipt:
    """What a session's change did to its enrollments, or which workflow is doing it."""

    workflow_id: str | None = None
    """Of the `SessionChangeWorkflow`; absent when nobody was concerned."""
    run_id: str | None = None
    is_done: bool = True
    """False while the workflow runs; every count is zero then. Ask by its id."""
    enrollments: int = 0
    replanned: int = 0
    """Enrollments whose workflow has confirmed the new plan, or its end."""
    unconfirmed: int = 0
    """Enrollments whose workflow did not answer; the ledger decides at their next reminder."""
    reminders: CancelReceipt = CancelReceipt()
    event_id: int | None = field(default=None, compare=False)
    """Its entry in the audit log; absent where something else has one for it."""

    @classmethod
    def foreseen(cls, plans: Sequence[PlannedEnrollment]) -> ChangeReceipt:
        """What a change would do, by the plans that it would make."""
        return cls(
            enrollments=len(plans),
            replanned=sum(
                any(r.status.is_pending for r in one.reminders if r.notice is None) for one in plans
            ),
            reminders=CancelReceipt(
                already_sent=sum(one.already_sent for one in plans),
                in_flight=sum(one.in_flight for one in plans),
                told=sum(one.is_told for one in plans),
            ),
        )

    @property
    def details(self) -> dict[str, Any]:
        """As the audit log keeps it: counts once they are known, until then who will have them."""
        run = {"workflow_id": self.workflow_id, "run_id": self.run_id}
        if not self.is_done:
            return run
        return {
            **run,
            "enrollments": self.enrollments,
            "replanned": self.replanned,
            "unconfirmed": self.unconfirmed,
            **self.reminders.details,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """Everything known of one enrollment: what was sent, what will be, what was not, and why."""

    session: Session
    user_id: UUID
    enrollment_status: EnrollmentStatus
    workflow_id: str
    workflow_status: str | None
    """As Temporal has it: `None` when it has forgotten it, `UNKNOWN` when it is away."""
    run_id: str | None
    reminders: tuple[Reminder, ...]
    """All generations."""
