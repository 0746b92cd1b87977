"""admin pages: indexes for what went out on a day, and for what the provider told of a reminder

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_session_reminder_emails_sent_at",
        "session_reminder_emails",
        ["sent_at"],
        postgresql_where=sa.text("sent_at IS NOT NULL"),
    )
    op.create_index(
        "ix_webhook_events_reminder_id",
        "webhook_events",
        ["reminder_id"],
        postgresql_where=sa.text("reminder_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_webhook_events_reminder_id", "webhook_events")
    op.drop_index("ix_session_reminder_emails_sent_at", "session_reminder_emails")
