"""People: what they want, and their erasure."""

from __future__ import annotations

from starter.api.people import ChangedPreferences, ErasureOut, PreferencesOut
from starter.cli import layout


def preferences(answer: PreferencesOut) -> None:
    """What a person is not to be reminded of."""
    layout.lines(user=str(answer.user_id), withheld=", ".join(answer.withheld) or None)
    if not answer.opt_outs:
        layout.lines(stopped="nothing")
        return
    layout.table(
        ("not reminded of", "type"),
        (
            (
                str(o.session_id) if o.session_id else "every session",
                o.reminder_type or "every type",
            )
            for o in answer.opt_outs
        ),
    )


def changed_preferences(answer: ChangedPreferences) -> None:
    """Preferences, and what their change did."""
    preferences(answer)
    layout.table(
        ("skipped", "in flight", "still scheduled"),
        [(str(answer.skipped), str(answer.in_flight), str(answer.scheduled))],
    )


def erasure(answer: ErasureOut) -> None:
    """What was erased, or would be."""
    layout.table(
        ("would be erased" if answer.dry_run else "erased", ""),
        (
            (name, str(count))
            for name, count in (
                ("workflows ended", answer.workflows),
                ("reminders cancelled", answer.cancelled),
                ("reminders in flight", answer.in_flight),
                ("enrollments", answer.enrollments),
                ("preferences", answer.preferences),
                ("calendar entries", answer.calendar_entries),
                ("webhook events, anonymised", answer.webhook_events),
                ("audit entries, reasons blanked", answer.audit_entries),
                ("ledger rows, anonymised and kept", answer.kept),
            )
        ),
    )
    if answer.already_erased:
        layout.lines(note="this user was erased before; these are what has come since")
    for sentence in answer.remains:
        layout.lines(remains=sentence)
