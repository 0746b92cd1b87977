"""the ledger

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DEFAULT_RULES = [
    {
        "reminder_type": "24h",
        "minutes_before": 1440,
        "is_enabled": True,
        "email_subject_template": "Reminder: {session_title} starts tomorrow",
        "display_name": "24 Hours Before",
        "sort_order": 1,
    },
    {
        "reminder_type": "2h",
        "minutes_before": 120,
        "is_enabled": True,
        "email_subject_template": "Starting Soon: {session_title} in 2 hours",
        "display_name": "2 Hours Before",
        "sort_order": 2,
    },
    {
        "reminder_type": "1h",
        "minutes_before": 60,
        "is_enabled": False,
        "email_subject_template": "Starting Soon: {session_title} in 1 hour",
        "display_name": "1 Hour Before",
        "sort_order": 3,
    },
    {
        "reminder_type": "30min",
        "minutes_before": 30,
        "is_enabled": True,
        "email_subject_template": "Starting Now: {session_title} begins in 30 minutes",
        "display_name": "30 Minutes Before",
        "sort_order": 4,
    },
]


def upgrade() -> None:
    """Apply."""
    op.execute(
        sa.schema.CreateSequence(sa.Sequence("plan_versions", data_type=sa.BigInteger))
    )
    op.create_table(
        "email_batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="frozen", nullable=False),
        sa.Column("reminder_ids", sa.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("useful_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('frozen', 'settled', 'released')",
            name=op.f("ck_email_batches_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_email_batches")),
    )
    op.create_index(
        "ix_email_batches_unsettled",
        "email_batches",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'frozen'"),
    )
    op.create_table(
        "provider_pace",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "next_request_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_because", sa.Text(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_provider_pace_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_pace")),
    )
    op.create_table(
        "provider_usage",
        sa.Column("quota", sa.Text(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("quota_limit", sa.Integer(), nullable=True),
        sa.Column("resets_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "quota IN ('daily', 'monthly')", name=op.f("ck_provider_usage_quota")
        ),
        sa.PrimaryKeyConstraint("quota", name=op.f("pk_provider_usage")),
    )
    rules = op.create_table(
        "reminder_configurations",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("reminder_type", sa.Text(), nullable=False),
        sa.Column("minutes_before", sa.Integer(), nullable=False),
        sa.Column(
            "is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False
        ),
        sa.Column("email_subject_template", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column(
            "sort_order", sa.Integer(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "minutes_before > 0", name=op.f("ck_reminder_configurations_minutes_before")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_configurations")),
        sa.UniqueConstraint(
            "reminder_type", name=op.f("uq_reminder_configurations_reminder_type")
        ),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("start_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("time_zone", sa.Text(), server_default="UTC", nullable=False),
        sa.Column("speaker_name", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("join_url", sa.Text(), nullable=True),
        sa.Column("preparation_notes", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="scheduled", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status IN ('scheduled', 'cancelled')", name=op.f("ck_sessions_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_table(
        "enrollments",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), server_default="confirmed", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "status IN ('confirmed', 'pending', 'cancelled')",
            name=op.f("ck_enrollments_status"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_enrollments_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_enrollments_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrollments")),
        sa.UniqueConstraint(
            "session_id", "user_id", name=op.f("uq_enrollments_session_id_user_id")
        ),
    )
    op.create_index(
        op.f("ix_enrollments_user_id"), "enrollments", ["user_id"], unique=False
    )
    op.create_table(
        "session_reminder_emails",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("reminder_type", sa.Text(), nullable=False),
        sa.Column(
            "generation", sa.SmallInteger(), server_default=sa.text("1"), nullable=False
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "email_status", sa.Text(), server_default="scheduled", nullable=False
        ),
        sa.Column("status_reason", sa.Text(), nullable=True),
        sa.Column(
            "attempts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("resend_email_id", sa.Text(), nullable=True),
        sa.Column("workflow_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "email_status IN ('scheduled', 'sending', 'sent', 'delivered', 'bounced', 'complained', 'suppressed', 'skipped', 'cancelled', 'failed')",
            name=op.f("ck_session_reminder_emails_email_status"),
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_session_reminder_emails_session_id_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_session_reminder_emails_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_reminder_emails")),
        sa.UniqueConstraint(
            "session_id",
            "user_id",
            "reminder_type",
            "generation",
            name="uq_reminder_identity",
        ),
    )
    op.create_index(
        "ix_session_reminder_emails_batch_id",
        "session_reminder_emails",
        ["batch_id"],
        unique=False,
        postgresql_where=sa.text("email_status = 'sending'"),
    )
    op.create_index(
        op.f("ix_session_reminder_emails_user_id"),
        "session_reminder_emails",
        ["user_id"],
        unique=False,
    )
    op.create_index(
        "ix_session_reminder_emails_due_at_id",
        "session_reminder_emails",
        ["due_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_session_reminder_emails_email_status_due_at_id",
        "session_reminder_emails",
        ["email_status", "due_at", "id"],
        unique=False,
    )
    op.bulk_insert(rules, DEFAULT_RULES)
    op.execute("INSERT INTO provider_pace (id) VALUES (1)")


def downgrade() -> None:
    """Take back."""
    op.drop_index(
        "ix_session_reminder_emails_email_status_due_at_id", table_name="session_reminder_emails"
    )
    op.drop_index("ix_session_reminder_emails_due_at_id", table_name="session_reminder_emails")
    op.drop_index(
        op.f("ix_session_reminder_emails_user_id"), table_name="session_reminder_emails"
    )
    op.drop_index(
        "ix_session_reminder_emails_batch_id",
        table_name="session_reminder_emails",
        postgresql_where=sa.text("email_status = 'sending'"),
    )
    op.drop_table("session_reminder_emails")
    op.drop_index(op.f("ix_enrollments_user_id"), table_name="enrollments")
    op.drop_table("enrollments")
    op.drop_table("users")
    op.drop_table("sessions")
    op.drop_table("reminder_configurations")
    op.drop_table("provider_usage")
    op.drop_table("provider_pace")
    op.drop_index(
        "ix_email_batches_unsettled",
        table_name="email_batches",
        postgresql_where=sa.text("state = 'frozen'"),
    )
    op.drop_table("email_batches")
    op.execute(sa.schema.DropSequence(sa.Sequence("plan_versions")))
