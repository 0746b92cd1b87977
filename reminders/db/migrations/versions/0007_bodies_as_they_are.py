"""bodies of requests are stored as they are

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply: compressing a body takes four times as long as storing it, at the instant of a crowd."""
    op.execute("ALTER TABLE email_batches ALTER COLUMN body SET STORAGE EXTERNAL")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE email_batches ALTER COLUMN body SET STORAGE EXTENDED")
