"""Made-up sessions, rules and reminders: defaults that read as prose."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from reminders.domain.keys import reminder_id
from reminders.domain.model import (
    Attendee,
    DeliveryFacts,
    EnrollmentStatus,
    Reminder,
    ReminderRule,
    ReminderStatus,
    Session,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SESSION = UUID("5e551000-0000-4000-8000-000000000001")
USER = UUID("a77e0000-0000-4000-8000-000000000001")
LEADS = {
    "24h": timedelta(hours=24),
    "2h": timedelta(hours=2),
    "1h": timedelta(hours=1),
    "30min": timedelta(minutes=30),
}


def a_rule(reminder_type: str = "24h", **fields: Any) -> ReminderRule:
    """One of the default rules, switched on."""
    defaults: dict[str, Any] = {
        "lead": LEADS.get(reminder_type),
        "is_enabled": True,
        "subject_template": "Reminder: {session_title}",
        "display_name": reminder_type,
        "sort_order": 1,
    }
    return ReminderRule(reminder_type=reminder_type, **{**defaults, **fields})


def the_rules(*reminder_types: str) -> list[ReminderRule]:
    """The default rules that are on, or the ones named."""
    return [a_rule(name) for name in reminder_types or ("24h", "2h", "30min")]


def a_session(*, starts_in: timedelta = timedelta(days=7), **fields: Any) -> Session:
    """A session that starts a week from `NOW`."""
    defaults: dict[str, Any] = {"id": SESSION, "title": "Cardiology", "starts_at": NOW + starts_in}
    return Session(**{**defaults, **fields})


def an_attendee(**fields: Any) -> Attendee:
    """A person."""
    defaults: dict[str, Any] = {"user_id": USER, "email": "ana@hospital.example"}
    return Attendee(**{**defaults, **fields})


def a_reminder(reminder_type: str = "24h", **fields: Any) -> Reminder:
    """A scheduled reminder of `a_session()`."""
    starts_at = fields.get("starts_at", NOW + timedelta(days=7))
    generation = fields.get("generation", 1)
    defaults: dict[str, Any] = {
        "id": reminder_id(SESSION, USER, reminder_type, generation),
        "session_id": SESSION,
        "user_id": USER,
        "reminder_type": reminder_type,
        "generation": generation,
        "due_at": starts_at - LEADS.get(reminder_type, timedelta(hours=3)),
        "starts_at": starts_at,
        "status": ReminderStatus.SCHEDULED,
    }
    return Reminder(**{**defaults, **fields})


def facts(**fields: Any) -> DeliveryFacts:
    """Everything speaks for sending the 24 h reminder, a second after its due instant."""
    starts_at = NOW + timedelta(hours=24) - timedelta(seconds=1)
    defaults: dict[str, Any] = {
        "reminder": a_reminder("24h", starts_at=starts_at),
        "session": a_session(starts_at=starts_at),
        "attendee": an_attendee(),
        "enrollment_status": EnrollmentStatus.CONFIRMED,
        "rule": a_rule("24h"),
        "next_due_at": starts_at - timedelta(hours=2),
    }
    return DeliveryFacts(**{**defaults, **fields})
