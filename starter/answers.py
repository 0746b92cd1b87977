"""JSON as it goes out over HTTP, and out of the commands with `--json`.

Ids, instants and reasons; never an e-mail address.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from reminders.db.catalogue import SessionChange
from reminders.db.choices import Choices
from reminders.db.provider_state import QuotaReading
from reminders.model import (
    EnrollmentStatus,
    Reminder,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)
from reminders.ports import Hold
from starter.decisions import decision
from starter.diagnosis import Diagnosis, Level
from starter.erasure import ErasureReceipt
from starter.preferences import PreferenceReceipt
from starter.receipts import CancelReceipt, ChangeReceipt, Enrolled, Story
from starter.resending import RedriveReceipt
from starter.sweeps import Run, SweepStart

if TYPE_CHECKING:  # it brings a worker along, which nobody needs who only answers
    from starter.rehearsal import Rehearsed, Script


class Out(BaseModel):
    """JSON that goes out."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class SessionOut(Out):
    """A session."""

    id: UUID
    title: str
    start_time: datetime
    end_time: datetime | None
    time_zone: str
    speaker_name: str | None
    location: str | None
    join_url: str | None
    preparation_notes: str | None
    status: SessionStatus


class SessionWithCounts(SessionOut):
    """A session, and how many of its reminders are in each status."""

    counts: dict[ReminderStatus, int]

    @classmethod
    def of(cls, session: Session, counts: dict[ReminderStatus, int]) -> Self:
        """Every status is named, also those without reminders."""
        every = {status: counts.get(status, 0) for status in ReminderStatus}
        return cls(**_session(session), counts=every)


class UnderWayOut(Out):
    """A workflow that is at it. The change is stored: nothing goes out that it forbids."""

    workflow_id: str
    """Its result has the counts; the same call repeated waits for them once more."""
    run_id: str

    @classmethod
    def of(cls, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(workflow_id=receipt.workflow_id or "", run_id=receipt.run_id or "")


class ChangesOut(Out):
    """What a session's change did."""

    enrollments: int
    """Enrollments that were planned anew."""
    replanned: int
    """Of these, those whose workflow has confirmed the new plan."""
    unconfirmed: int
    """Of these, those that no worker answered for; delivery follows the ledger all the same."""
    cancelled: int
    """Reminders that this change called off."""
    already_sent: int
    in_flight: int

    @classmethod
    def of(cls, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            enrollments=receipt.enrollments,
            replanned=receipt.replanned,
            unconfirmed=receipt.unconfirmed,
            **_receipt(receipt.reminders),
        )


class ChangedSession(SessionOut):
    """A session as it was stored, and what the change did to its enrollments."""

    changes: ChangesOut | None
    """Null while `under_way`."""
    under_way: UnderWayOut | None
    """Null when everybody has been told."""

    @classmethod
    def of(cls, change: SessionChange, receipt: ChangeReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            **_session(change.session),
            changes=ChangesOut.of(receipt) if receipt.is_done else None,
            under_way=None if receipt.is_done else UnderWayOut.of(receipt),
        )


class UserOut(Out):
    """A person was stored; what is stored about them is not repeated."""

    id: UUID


class PlannedReminderOut(Out):
    """One reminder of a plan."""

    id: UUID
    reminder_type: str = Field(examples=["24h"])
    due_at: datetime
    email_status: ReminderStatus
    status_reason: StatusReason | None


class EnrollmentOut(Out):
    """An enrollment whose reminders are planned and whose workflow runs."""

    workflow_id: str
    run_id: str
    scheduled_reminders: int
    """Reminders that still wait for their due instant."""
    reminders: list[PlannedReminderOut]

    @classmethod
    def of(cls, enrolled: Enrolled) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            workflow_id=enrolled.workflow_id,
            run_id=enrolled.run_id,
            scheduled_reminders=sum(
                r.status is ReminderStatus.SCHEDULED for r in enrolled.reminders
            ),
            reminders=[
                PlannedReminderOut(
                    id=r.id,
                    reminder_type=r.reminder_type,
                    due_at=r.due_at,
                    email_status=r.status,
                    status_reason=r.reason,
                )
                for r in enrolled.reminders
            ],
        )


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


class WorkflowOut(Out):
    """An enrollment's workflow."""

    id: str
    run_id: str | None
    status: str | None = Field(examples=["running"])
    """As Temporal has it; absent when Temporal has forgotten it or is away."""
    url: str | None
    """In the Temporal UI; absent unless `TEMPORAL_UI_URL` is set."""


class StoryOut(Out):
    """The *why*: what was, will be or was not sent to a person about a session."""

    session_id: UUID
    user_id: UUID
    enrollment_status: EnrollmentStatus
    session_status: SessionStatus
    start_time: datetime
    workflow: WorkflowOut
    reminders: list[ReminderOut]

    @classmethod
    def of(cls, story: Story, workflow_url: str | None) -> Self:
        """The gateway's answer as JSON."""
        return cls(
            session_id=story.session.id,
            user_id=story.user_id,
            enrollment_status=story.enrollment_status,
            session_status=story.session.status,
            start_time=story.session.starts_at,
            workflow=WorkflowOut(
                id=story.workflow_id,
                run_id=story.run_id,
                status=story.workflow_status,
                url=workflow_url,
            ),
            reminders=[ReminderOut.of(r) for r in story.reminders],
        )


class CancelReceiptOut(Out):
    """What calling off did: counts of reminders."""

    cancelled: int
    already_sent: int
    in_flight: int
    """Handed to the provider already; the delivery resolves them."""

    @classmethod
    def of(cls, receipt: CancelReceipt) -> Self:
        """The gateway's answer as JSON."""
        return cls(**_receipt(receipt))


class SweepOut(Out):
    """A sweep that runs now."""

    workflow_id: str
    run_id: str
    started: bool
    """False when one was running already: it is the one that is named."""

    @classmethod
    def of(cls, sweep: SweepStart) -> Self:
        """The answer as JSON."""
        return cls(workflow_id=sweep.workflow_id, run_id=sweep.run_id, started=sweep.started)


class RunOut(Out):
    """One run of a workflow that keeps house: a sweep, or a session's change."""

    workflow_id: str
    run_id: str
    workflow_type: str = Field(examples=["ReminderSweepWorkflow"])
    status: str = Field(examples=["completed"])
    started_at: datetime
    closed_at: datetime | None
    result: dict[str, Any] | None = Field(
        examples=[{"processed": 1, "totalReminders": 3, "totalFailed": 0, "results": {}}]
    )
    """What a finished run counted: of a sweep `processed`, `totalReminders`, `totalFailed`, and
    `results` by kind. Null while it runs, and when it failed."""
    url: str | None
    """In the Temporal UI; null unless `TEMPORAL_UI_URL` is set."""

    @classmethod
    def of(cls, run: Run, url: str | None) -> Self:
        """The run as JSON; a sweep's totals have the names that its users know."""
        names = {"total_reminders": "totalReminders", "total_failed": "totalFailed"}
        result = None
        if run.result is not None:
            result = {names.get(name, name): value for name, value in run.result.items()}
        return cls(
            workflow_id=run.workflow_id,
            run_id=run.run_id,
            workflow_type=run.workflow_type,
            status=run.status,
            started_at=run.started_at,
            closed_at=run.closed_at,
            result=result,
            url=url,
        )


class RunPageOut(Out):
    """Some runs, the newest first, and where older ones begin."""

    items: list[RunOut]
    next_cursor: str | None
    """Null on the last page."""


class CheckOut(Out):
    """One thing that was looked at."""

    name: str
    ok: bool
    """Whether reminders go out as far as this is concerned; true for a warning, too."""
    level: Level
    detail: str
    remedy: str | None


class Readiness(Out):
    """Whether reminders will go out."""

    ready: bool
    cause: str | None
    """The one thing to mend first."""
    checks: list[CheckOut]

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> Self:
        """The examiner's answer as JSON."""
        return cls(
            ready=diagnosis.ready,
            cause=diagnosis.cause,
            checks=[
                CheckOut(name=c.name, ok=c.ok, level=c.level, detail=c.detail, remedy=c.remedy)
                for c in diagnosis.checks
            ],
        )


class OptOutOut(Out):
    """What a person is not to be reminded of; without both fields, of anything."""

    session_id: UUID | None
    """Null means every session."""
    reminder_type: str | None
    """Null means every type."""


class PreferencesOut(Out):
    """A person's preferences."""

    user_id: UUID
    opt_outs: list[OptOutOut]
    """What they asked not to be reminded of."""
    withheld: list[StatusReason]
    """Why nothing goes to their address all the same: it bounced, or they reported spam. A new
    address ends it."""

    @classmethod
    def of(cls, user_id: UUID, choices: Choices) -> Self:
        """The store's answer as JSON."""
        return cls(user_id=user_id, **_choices(choices))


class ChangedPreferences(PreferencesOut):
    """A person's preferences as they are now, and what the change did."""

    skipped: int
    """Reminders that waited and are not sent any more."""
    in_flight: int
    """Reminders that may already be with the provider."""
    scheduled: int
    """Reminders that wait, of all sessions ahead in which the person is enrolled."""

    @classmethod
    def after(cls, user_id: UUID, receipt: PreferenceReceipt) -> Self:
        """The answer to a change as JSON."""
        return cls(
            user_id=user_id,
            **_choices(receipt.choices),
            skipped=receipt.skipped,
            in_flight=receipt.in_flight,
            scheduled=receipt.scheduled,
        )


class ErasureOut(Out):
    """What erasing a person did, or would do: counts."""

    user_id: UUID
    dry_run: bool
    already_erased: bool
    """This person was erased before; the counts are of what has come since."""
    workflows: int
    """Workflows that were asked to end."""
    cancelled: int
    """Reminders that waited."""
    in_flight: int
    """Reminders with the provider; see `remains`."""
    kept: int
    """Rows of the ledger that stay, without anything that leads to the person."""
    enrollments: int
    preferences: int
    calendar_entries: int
    webhook_events: int
    """Events that no longer name the provider's e-mail."""
    audit_entries: int
    """Entries of the audit log that no longer have a reason in somebody's words."""
    remains: list[str]
    """What erasing here cannot reach."""

    @classmethod
    def of(cls, user_id: UUID, receipt: ErasureReceipt, *, dry_run: bool) -> Self:
        """The receipt as JSON."""
        done = receipt.erased
        return cls(
            user_id=user_id,
            dry_run=dry_run,
            already_erased=not done.is_first,
            workflows=receipt.workflows,
            cancelled=done.cancelled,
            in_flight=done.in_flight,
            kept=done.kept,
            enrollments=done.enrollments,
            preferences=done.preferences,
            calendar_entries=done.calendar_entries,
            webhook_events=done.webhook_events,
            audit_entries=done.audit_entries,
            remains=list(receipt.remains),
        )


def _choices(choices: Choices) -> dict[str, Any]:
    ordered = sorted(
        choices.opt_outs, key=lambda o: (str(o.session_id or ""), o.reminder_type or "")
    )
    return {
        "opt_outs": [
            OptOutOut(session_id=o.session_id, reminder_type=o.reminder_type) for o in ordered
        ],
        "withheld": list(choices.withheld),
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "title": session.title,
        "start_time": session.starts_at,
        "end_time": session.ends_at,
        "time_zone": session.time_zone,
        "speaker_name": session.speaker_name,
        "location": session.location,
        "join_url": session.join_url,
        "preparation_notes": session.preparation_notes,
        "status": session.status,
    }


def _receipt(receipt: CancelReceipt) -> dict[str, int]:
    return {
        "cancelled": receipt.cancelled,
        "already_sent": receipt.already_sent,
        "in_flight": receipt.in_flight,
    }


class QuotaOut(Out):
    """A quota of the provider, as it was told last."""

    name: str
    """`daily` or `monthly`."""
    used: int
    limit: int | None
    """E-mails; null is unlimited."""
    resets_at: datetime
    checked_at: datetime


class DeliveryStateOut(Out):
    """Whether the provider takes e-mails at present."""

    held_because: StatusReason | None
    """`quota` or `misconfigured`: no worker posts anything; null when all is well."""
    held_until: datetime | None
    """When it is tried again by itself."""
    quotas: list[QuotaOut]
    """Empty while the provider has not told, as to a key that may only send."""

    @classmethod
    def of(cls, hold: Hold | None, quotas: Sequence[QuotaReading]) -> Self:
        """The shared state as JSON."""
        return cls(
            held_because=hold.reason if hold else None,
            held_until=hold.until if hold else None,
            quotas=[QuotaOut.model_validate(q, from_attributes=True) for q in quotas],
        )


class ResumedOut(Out):
    """Delivery goes on."""

    held_because: StatusReason | None
    """What it was held for; null if it was not."""


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
