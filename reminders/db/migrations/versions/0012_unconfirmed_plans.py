"""unconfirmed plans: rows know the plan that wrote them, and plans that no workflow has yet are kept

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "session_reminder_emails",
        sa.Column("plan_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_table(
        "unconfirmed_plans",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column(
            "planned_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("session_id", "user_id", name=op.f("pk_unconfirmed_plans")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("unconfirmed_plans")
    op.drop_column("session_reminder_emails", "plan_version")
