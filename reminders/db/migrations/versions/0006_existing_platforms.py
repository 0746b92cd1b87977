"""existing platforms: tombstones, and no sessions, users and enrollments of our own

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

REFERENCES = sa.text("""
SELECT conrelid::regclass::text AS relation, conname
  FROM pg_constraint
 WHERE contype = 'f' AND confrelid IN ('enrollments'::regclass, 'users'::regclass, 'sessions'::regclass)
""")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reminder_tombstones",
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reminder_tombstones")),
        sa.UniqueConstraint(
            "session_id",
            "user_id",
            name="uq_reminder_tombstones_scope",
            postgresql_nulls_not_distinct=True,
        ),
    )
    if not is_owned():
        leave_the_platform_its_tables()


def downgrade() -> None:
    """Take back."""
    if not is_owned():
        msg = "an existing platform's database cannot go back beyond 0006; drop the schema instead"
        raise RuntimeError(msg)
    op.drop_table("reminder_tombstones")


def is_owned() -> bool:
    """Whether sessions, users and enrollments are ours."""
    config = op.get_context().config
    return config is None or config.attributes.get("host_schema") is None


def leave_the_platform_its_tables() -> None:
    """Drop what the first migration made in our schema: views take its place, see reminders.db.host.

    The tables are empty: they were made in this very transaction, or by a release that knew no
    existing mode. References to views cannot be, so those go as well; the sweep finds the rows of
    what the platform has deleted.
    """
    for relation, name in op.get_bind().execute(REFERENCES).all():
        op.execute(f'ALTER TABLE {relation} DROP CONSTRAINT "{name}"')
    for table in ("enrollments", "users", "sessions"):
        op.drop_table(table)
