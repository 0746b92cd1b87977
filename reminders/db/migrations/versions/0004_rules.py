"""rules: of one session only, and reminders that an operator asked for again

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    # No foreign key: the sessions may be a platform's own, behind a view.
    op.add_column("reminder_configurations", sa.Column("session_id", sa.Uuid(), nullable=True))
    op.drop_constraint(
        op.f("uq_reminder_configurations_reminder_type"), "reminder_configurations", type_="unique"
    )
    # Needs PostgreSQL 15: of a type there is one rule for all sessions, and one for each.
    op.create_unique_constraint(
        "uq_reminder_configurations_scope",
        "reminder_configurations",
        ["reminder_type", "session_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.add_column(
        "session_reminder_emails",
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("session_reminder_emails", "requested_at")
    op.drop_constraint(
        "uq_reminder_configurations_scope", "reminder_configurations", type_="unique"
    )
    op.execute("DELETE FROM reminder_configurations WHERE session_id IS NOT NULL")
    op.create_unique_constraint(
        op.f("uq_reminder_configurations_reminder_type"),
        "reminder_configurations",
        ["reminder_type"],
    )
    op.drop_column("reminder_configurations", "session_id")
