"""Which database an installation is in, so that a copy of it is recognised; which address is blocked.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("ALTER TABLE reminder_installation ADD COLUMN database text")
    op.execute("ALTER TABLE reminder_preferences ADD COLUMN address_digest bytea")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE reminder_preferences DROP COLUMN address_digest")
    op.execute("ALTER TABLE reminder_installation DROP COLUMN database")
