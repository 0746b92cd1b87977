"""what waits: an index of the rows that wait, so that a sweep is not slower with every year of ledger

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_session_reminder_emails_waiting",
        "session_reminder_emails",
        ["session_id", "user_id"],
        postgresql_where=sa.text("email_status = 'scheduled'"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_session_reminder_emails_waiting", "session_reminder_emails")
