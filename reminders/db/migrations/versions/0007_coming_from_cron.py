"""coming from cron: what was only recorded, and which sessions are ours to mail

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "session_reminder_emails",
        sa.Column("shadowed_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index(
        "ix_session_reminder_emails_shadowed_at",
        "session_reminder_emails",
        ["shadowed_at"],
        postgresql_where=sa.text("shadowed_at IS NOT NULL"),
    )
    op.create_table(
        "session_cutovers",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_cutovers")),
        sa.UniqueConstraint(
            "session_id",
            name=op.f("uq_session_cutovers_session_id"),
            postgresql_nulls_not_distinct=True,
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("session_cutovers")
    op.drop_index(
        "ix_session_reminder_emails_shadowed_at", table_name="session_reminder_emails"
    )
    op.drop_column("session_reminder_emails", "shadowed_at")
