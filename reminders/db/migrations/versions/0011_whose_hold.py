"""whose hold: a refused key or sender holds those who use it, and nobody else

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("provider_pace", sa.Column("held_sender", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("provider_pace", "held_sender")
