"""refused webhooks

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: when one was refused last, and why, for every process to see."""
    op.execute("ALTER TABLE provider_pace ADD COLUMN webhook_refused_at timestamptz")
    op.execute("ALTER TABLE provider_pace ADD COLUMN webhook_refused_because text")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE provider_pace DROP COLUMN webhook_refused_because")
    op.execute("ALTER TABLE provider_pace DROP COLUMN webhook_refused_at")
