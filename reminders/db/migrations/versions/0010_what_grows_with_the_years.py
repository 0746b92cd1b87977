"""what grows with the years

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

PLATFORM = {
    "ix_sessions_start_time_id": "sessions (start_time, id)",
    "ix_users_mailbox": "users (lower(btrim(email)))",
}
"""Ours in owned mode."""
OURS = {
    "ix_reminder_configurations_session_id": "reminder_configurations (session_id)",
    "ix_reminder_events_user_id_id": "reminder_events (user_id, id) WHERE user_id IS NOT NULL",
    "ix_reminder_events_action_id": "reminder_events (action, id)",
    "ix_reminder_preferences_session_id": (
        "reminder_preferences (session_id) WHERE session_id IS NOT NULL"
    ),
}


def upgrade() -> None:
    """Apply: indexes for what was read whole, and grows with people, sessions and what they did."""
    for name, what in indexes().items():
        op.execute(f"CREATE INDEX {name} ON {what}")


def downgrade() -> None:
    """Take back."""
    for name in indexes():
        op.execute(f"DROP INDEX {name}")


def indexes() -> dict[str, str]:
    """By name; an existing platform's own tables are left alone."""
    is_owned = context.config.attributes.get("host_schema") is None
    return {**PLATFORM, **OURS} if is_owned else OURS
