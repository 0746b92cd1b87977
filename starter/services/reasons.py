"""Why a reminder is as it is, in a sentence for people: every status and every reason."""

from __future__ import annotations

from datetime import datetime, timedelta

from reminders.domain.model import EnrollmentStatus, ReminderStatus, SessionStatus, StatusReason
from starter.services.receipts import Story

OVERDUE = timedelta(minutes=1)
"""A reminder that waits so long after its due instant is overdue, and an alarm."""

_STATUSES = {
    ReminderStatus.SCHEDULED: "waits for its due instant",
    ReminderStatus.SENDING: "handed to the provider, whose answer is awaited",
    ReminderStatus.SENT: "accepted by the provider",
    ReminderStatus.DELIVERED: "taken by the attendee's mail server",
    ReminderStatus.BOUNCED: "refused by the attendee's mail server",
    ReminderStatus.COMPLAINED: "reported as spam by the attendee",
    ReminderStatus.SUPPRESSED: "withheld by the provider: the address is on its suppression list",
    ReminderStatus.SKIPPED: "not sent",
    ReminderStatus.CANCELLED: "called off",
    ReminderStatus.FAILED: "should have been sent and was not",
}

_REASONS = {
    StatusReason.PAST_DUE: "its instant had passed when it was planned",
    StatusReason.SUPERSEDED: "it was late, and a later reminder was due as well",
    StatusReason.ALREADY_TOLD: "an e-mail before told this start already, or nearly",
    StatusReason.TAKEN_BACK: "the change was taken back before anybody was told, or nothing of it is"
    " left to tell",
    StatusReason.UNTOLD: "whoever changed the session said that nobody is to be told",
    StatusReason.SESSION_STARTED: "the session had begun",
    StatusReason.SESSION_CANCELLED: "the session was cancelled",
    StatusReason.SESSION_DELETED: "the session no longer exists",
    StatusReason.UNENROLLED: "the attendee is no longer enrolled",
    StatusReason.UNCONFIRMED: "the enrollment was not confirmed",
    StatusReason.OPTED_OUT: "the attendee asked for no reminders",
    StatusReason.ADDRESS_BOUNCED: "an earlier e-mail to the attendee's address bounced for good",
    StatusReason.SPAM_COMPLAINT: "the attendee reported an earlier e-mail as spam",
    StatusReason.SHADOWED: "it was only recorded: another system still sends (shadow mode)",
    StatusReason.RULE_DISABLED: "its rule was switched off or deleted",
    StatusReason.WORKFLOW_CANCELLED: "its workflow was cancelled by hand",
    StatusReason.NO_ADDRESS: "the attendee has no e-mail address; have the platform add one, which"
    " counts for what is still to come",
    StatusReason.INVALID_ADDRESS: "the attendee's address is no e-mail address",
    StatusReason.RENDER_ERROR: "the e-mail could not be rendered",
    StatusReason.REJECTED: "the provider refused this e-mail",
    StatusReason.QUOTA: "the provider's quota was used up until the session began",
    StatusReason.MISCONFIGURED: "until the session began our key or sender was refused, or the"
    " e-mail by something before the provider",
    StatusReason.EXPIRED: "the session began while the provider or this system was away",
    StatusReason.OUTCOME_UNKNOWN: "the provider may have accepted it; it is not sent blindly again",
    StatusReason.NOT_FOUND: "the ledger had no such reminder",
}

_HOLDS = {
    StatusReason.QUOTA: "the provider's quota is used up",
    StatusReason.MISCONFIGURED: "the provider refuses our key or sender, or something before the"
    " provider refuses our requests",
}


def decision(
    status: ReminderStatus, why: StatusReason | None, *, due_at: datetime, now: datetime
) -> str:
    """What was decided about a reminder, and why.

    Args:
        status: Of the reminder.
        why: Its reason, if it has one.
        due_at: When it is, or was, due; aware.
        now: Tells what waits from what is overdue; aware.
    """
    if status is ReminderStatus.SCHEDULED and now - due_at > OVERDUE:
        return "overdue: its due instant has passed, and it has not been sent yet"
    return f"{_STATUSES[status]}: {_REASONS[why]}" if why else _STATUSES[status]


def nothing_planned(story: Story, *, now: datetime) -> str | None:
    """Why an enrollment has no reminders at all, save notices; `None` if it has some.

    Args:
        story: Of the enrollment.
        now: Tells whether its session has begun; aware.
    """
    if any(row.notice is None for row in story.reminders):
        return None
    if story.session.status is SessionStatus.CANCELLED:
        return "the session was cancelled before anything was planned"
    if story.enrollment_status is EnrollmentStatus.CANCELLED:
        return "the enrollment ended before anything was planned"
    if story.session.starts_at <= now:
        return "the session had begun before the enrollment was known here; nobody is reminded of the past"
    return "nothing is planned yet: no rule is on, or nobody reported the enrollment; the next sweep looks"


def hold(why: StatusReason) -> str:
    """Why nothing is posted at present."""
    return _HOLDS.get(why, str(why))


def reason(why: StatusReason | None) -> str:
    """A reason for itself."""
    return _REASONS[why] if why else "no reason was recorded"


def lead(value: timedelta) -> str:
    """How long before a start, to the minute and without zeros, such as `1 d 2 h 30 min`."""
    minutes = round(value.total_seconds() / 60)
    counts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in counts if count) or "0 min"


def some(count: int, what: str) -> str:
    """`1 reminder`, `2 reminders`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def are(count: int, what: str) -> str:
    """`1 reminder is`, `2 reminders are`."""
    return f"{some(count, what)} {'is' if count == 1 else 'are'}"
