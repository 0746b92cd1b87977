"""What the commands that replace a cron job answer, as JSON."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from pydantic import BaseModel

from starter.migration.ledger import Difference
from starter.migration.shadow import CronImport, CutoverReceipt
from starter.services.backfill import BackfillReceipt

IMPORTED = ("read", "added", "corrected", "known", "not_sent", "without_session")
BACKFILLED = ("enrollments", "planned", "scheduled", "past_due", "gone", "failed")
"""Counts that are printed, and kept in the audit log."""


class RuleChangeOut(BaseModel):
    """What taking the old rules over changes of one of ours."""

    reminder_type: str
    change: str
    """`added`, `changed` or `switched off`."""
    fields: list[str]
    minutes_before: int
    is_enabled: bool
    email_subject_template: str


class CronImportOut(BaseModel):
    """What was taken over from a cron job, or would be."""

    dry_run: bool
    rules: list[RuleChangeOut]
    read: int
    added: int
    corrected: int
    known: int
    not_sent: int
    without_session: int

    @classmethod
    def of(cls, done: CronImport, *, dry_run: bool) -> CronImportOut:
        """The receipt as JSON."""
        counts = done.reminders
        return cls(
            dry_run=dry_run,
            rules=[
                RuleChangeOut(
                    reminder_type=change.reminder_type,
                    change=(
                        "added"
                        if change.before is None
                        else "switched off"
                        if change.fields == ("is_enabled",) and not change.after.is_enabled
                        else "changed"
                    ),
                    fields=list(change.fields),
                    minutes_before=change.after.lead // timedelta(minutes=1),
                    is_enabled=change.after.is_enabled,
                    email_subject_template=change.after.subject_template,
                )
                for change in done.rules
            ],
            read=counts.read,
            added=counts.added,
            corrected=counts.corrected,
            known=counts.known,
            not_sent=counts.not_sent,
            without_session=counts.without_session,
        )


class BackfillOut(BaseModel):
    """What a back-fill did, or would do."""

    dry_run: bool
    enrollments: int
    planned: int
    scheduled: int
    past_due: int
    gone: int
    failed: int
    per_second: float
    after: str | None
    """`SESSION:USER` to go on behind; null when nothing is left."""
    stopped_because: str | None

    @classmethod
    def of(cls, done: BackfillReceipt, *, dry_run: bool, seconds: float) -> BackfillOut:
        """The receipt as JSON, with how fast it went."""
        after = done.after
        return cls(
            dry_run=dry_run,
            enrollments=done.enrollments,
            planned=done.planned,
            scheduled=done.scheduled,
            past_due=done.past_due,
            gone=done.gone,
            failed=done.failed,
            per_second=round(done.enrollments / seconds, 1) if seconds else 0,
            after=f"{after.session_id}:{after.user_id}" if after else None,
            stopped_because=done.stopped_because,
        )


class PairOut(BaseModel):
    """One reminder that differs."""

    session_id: UUID
    user_id: UUID
    reminder_type: str
    cron_at: datetime | None
    shadow_at: datetime | None
    email_status: str | None
    status_reason: str | None


class DifferenceOut(BaseModel):
    """The old log and ours, side by side."""

    since: datetime | None
    until: datetime
    both: int
    only_cron: int
    only_ours: int
    apart: int
    median_seconds: float
    largest_seconds: float
    examples: list[PairOut]

    @classmethod
    def of(cls, found: Difference) -> DifferenceOut:
        """The comparison as JSON."""
        return cls(
            since=found.since,
            until=found.until,
            both=found.both,
            only_cron=found.only_cron,
            only_ours=found.only_ours,
            apart=found.apart,
            median_seconds=found.median.total_seconds(),
            largest_seconds=found.largest.total_seconds(),
            examples=[
                PairOut(**{name: getattr(p, name) for name in PairOut.model_fields})
                for p in found.examples
            ],
        )


class CutoverOut(BaseModel):
    """What a cut-over did."""

    requested_at: datetime
    imported: int
    """Reminders that the cron job had sent, recorded as such."""
    reopened: int
    """Reminders that nobody had sent around the cut-over, and that go out now."""

    @classmethod
    def of(cls, receipt: CutoverReceipt) -> CutoverOut:
        """The receipt as JSON."""
        return cls(
            requested_at=receipt.requested_at,
            imported=receipt.imported.added + receipt.imported.corrected,
            reopened=receipt.reopened,
        )
