"""what the provider says

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: its words of a refusal; and when it was last asked about an e-mail."""
    op.execute("ALTER TABLE provider_pace ADD COLUMN held_detail text")
    op.execute("ALTER TABLE session_reminder_emails ADD COLUMN asked_at timestamptz")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE session_reminder_emails DROP COLUMN asked_at")
    op.execute("ALTER TABLE provider_pace DROP COLUMN held_detail")
