"""Database rows to the words of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from reminders.domain.model import (
    Attendee,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
    SessionStatus,
    StatusReason,
)

Record = Mapping[Any, Any]
"""Column name to value."""

_REASONS: Mapping[str | None, StatusReason] = {reason.value: reason for reason in StatusReason}


def reason(word: str | None) -> StatusReason | None:
    """A reason; one that a later release has written, and this one does not know, reads as none."""
    return _REASONS.get(word)


def reminder(row: Record) -> Reminder:
    """A row of `session_reminder_emails`."""
    return Reminder(
        id=row["id"],
        session_id=row["session_id"],
        user_id=row["user_id"],
        reminder_type=row["reminder_type"],
        generation=row["generation"],
        due_at=row["due_at"],
        starts_at=row["starts_at"],
        status=ReminderStatus(row["email_status"]),
        reason=reason(row["status_reason"]),
        sent_at=row["sent_at"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        resend_email_id=row["resend_email_id"],
        workflow_id=row["workflow_id"],
        run_id=row["run_id"],
        batch_id=row["batch_id"],
        requested_at=row["requested_at"],
        plan_version=row["plan_version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def session(row: Record) -> Session:
    """A row of `sessions`."""
    return Session(
        id=row["id"],
        title=row["title"],
        starts_at=row["start_time"],
        ends_at=row["end_time"],
        time_zone=row["time_zone"],
        speaker_name=row["speaker_name"],
        location=row["location"],
        join_url=row["join_url"],
        preparation_notes=row["preparation_notes"],
        status=SessionStatus(row["status"]),
    )


def attendee(row: Record) -> Attendee:
    """A row of `users`."""
    return Attendee(
        user_id=row["id"],
        email=row["email"],
        full_name=row["full_name"],
        time_zone=row["time_zone"],
        locale=row["locale"],
    )


def rule(row: Record) -> ReminderRule:
    """A row of `reminder_configurations`."""
    return ReminderRule(
        reminder_type=row["reminder_type"],
        lead=timedelta(minutes=row["minutes_before"]),
        is_enabled=row["is_enabled"],
        subject_template=row["email_subject_template"],
        display_name=row["display_name"],
        sort_order=row["sort_order"],
        session_id=row.get("session_id"),
    )


def prefixed(row: Record, prefix: str) -> dict[str, Any]:
    """The columns of a join that came from one table, without the table's prefix."""
    return {name[len(prefix) :]: row[name] for name in row if name.startswith(prefix)}
