"""own join links

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; an existing platform's enrollments are a view, which is laid anew after this."""
    if is_owned():
        op.execute("ALTER TABLE enrollments ADD COLUMN join_url text")


def downgrade() -> None:
    """Take back."""
    if is_owned():
        op.execute("ALTER TABLE enrollments DROP COLUMN join_url")


def is_owned() -> bool:
    """Whether sessions, users and enrollments are ours, and not an existing platform's."""
    return context.config.attributes.get("host_schema") is None
