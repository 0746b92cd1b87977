"""People: what they want, and their erasure."""

from __future__ import annotations

from typing import Any, Self
from uuid import UUID

from reminders.db.preferences import Choices
from reminders.domain.model import (
    StatusReason,
)
from starter.api.answers.base import Out
from starter.services.erasure import ErasureReceipt
from starter.services.preferences import PreferenceReceipt


class UserOut(Out):
    """A person was stored; what is stored about them is not repeated."""

    id: UUID


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
