"""audit and retention: who changed what, and why; what is forgotten is found by its age

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reminder_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "happened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("reminder_id", sa.Uuid(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_events")),
    )
    op.create_index(
        "ix_reminder_events_happened_at_id", "reminder_events", ["happened_at", "id"]
    )
    op.create_index(
        "ix_reminder_events_session_id_user_id", "reminder_events", ["session_id", "user_id"]
    )
    op.create_index("ix_webhook_events_received_at", "webhook_events", ["received_at"])
    op.create_index(
        "ix_email_batches_settled_at",
        "email_batches",
        ["settled_at"],
        postgresql_where=sa.text("state <> 'frozen'"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_email_batches_settled_at", table_name="email_batches")
    op.drop_index("ix_webhook_events_received_at", table_name="webhook_events")
    op.drop_table("reminder_events")
