"""turns of the latest requests

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; `next_request_at` stays for workers of before, which keep a pace of their own by it."""
    op.execute("ALTER TABLE provider_pace ADD COLUMN turns timestamptz[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Take back."""
    op.execute("ALTER TABLE provider_pace DROP COLUMN turns")
