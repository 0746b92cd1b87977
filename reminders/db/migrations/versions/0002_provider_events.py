"""provider events: webhooks taken in, and who is not to be reminded any more

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhook_events",
        sa.Column("svix_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("email_id", sa.Text(), nullable=True),
        sa.Column("reminder_id", sa.Uuid(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("svix_id", name=op.f("pk_webhook_events")),
    )
    op.create_table(
        "reminder_preferences",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=True),
        sa.Column("reminder_type", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "reason IN ('opted_out', 'bounced', 'complained')",
            name=op.f("ck_reminder_preferences_reason"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_reminder_preferences_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_reminder_preferences_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_preferences")),
        # Needs PostgreSQL 15: a preference without a session is one preference, not many.
        sa.UniqueConstraint(
            "user_id",
            "session_id",
            "reminder_type",
            "reason",
            name="uq_reminder_preferences_scope",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(
        "ix_session_reminder_emails_resend_email_id",
        "session_reminder_emails",
        ["resend_email_id"],
        unique=False,
        postgresql_where=sa.text("resend_email_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index(
        "ix_session_reminder_emails_resend_email_id",
        table_name="session_reminder_emails",
        postgresql_where=sa.text("resend_email_id IS NOT NULL"),
    )
    op.drop_table("reminder_preferences")
    op.drop_table("webhook_events")
