"""where stored work belongs: an installation's id, and of each frozen request whose it is and how long it holds

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reminder_installation",
        sa.Column("one", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column(
            "id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_reminder_installation")),
        sa.CheckConstraint("one = 1", name=op.f("ck_reminder_installation_single_row")),
    )
    op.execute("INSERT INTO reminder_installation DEFAULT VALUES")
    op.add_column(
        "email_batches",
        sa.Column(
            "delivery_mode",
            sa.Text(),
            server_default=sa.text("'unknown'"),
            nullable=False,
        ),
    )
    op.create_check_constraint(
        op.f("ck_email_batches_delivery_mode"),
        "email_batches",
        "delivery_mode IN ('live', 'redirect', 'unknown')",
    )
    op.add_column("email_batches", sa.Column("sink", sa.Text(), nullable=True))
    op.add_column("email_batches", sa.Column("installation_id", sa.Uuid(), nullable=True))
    op.add_column(
        "email_batches",
        sa.Column("repeatable_until", sa.DateTime(timezone=True), nullable=True),
    )
    # What is in flight at the upgrade says itself where it goes: only a redirected e-mail names
    # whom it was for, and all of a request go to one address.
    op.execute(
        """
        UPDATE email_batches b
           SET installation_id = (SELECT id FROM reminder_installation),
               delivery_mode = CASE WHEN e.redirected THEN 'redirect' ELSE 'live' END,
               sink = CASE WHEN e.redirected
                      THEN encode(sha256(convert_to(lower(e.recipient), 'UTF8')), 'hex') END
          FROM email_batches f CROSS JOIN LATERAL (
               SELECT bool_and(m ->> 'subject' LIKE '[Originally for: %') AS redirected,
                      min(CASE jsonb_typeof(m -> 'to')
                          WHEN 'array' THEN m -> 'to' ->> 0 ELSE m ->> 'to' END) AS recipient
                 FROM jsonb_array_elements(convert_from(f.body, 'UTF8')::jsonb) m) e
         WHERE f.id = b.id AND b.state = 'frozen' AND b.body IS NOT NULL
           AND e.redirected IS NOT NULL
        """
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("email_batches", "repeatable_until")
    op.drop_column("email_batches", "installation_id")
    op.drop_column("email_batches", "sink")
    op.drop_constraint(
        op.f("ck_email_batches_delivery_mode"), "email_batches", type_="check"
    )
    op.drop_column("email_batches", "delivery_mode")
    op.drop_table("reminder_installation")
