"""how fast workflows wake

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: how far apart workflows of one instant wake, as measured with the last crowd."""
    op.execute(
        "ALTER TABLE reminder_installation"
        " ADD COLUMN wake_apart interval DEFAULT '30 milliseconds' NOT NULL"
    )


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE reminder_installation DROP COLUMN wake_apart")
