"""notices: who is told that a session was cancelled or moved, or an enrollment confirmed

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RESERVED = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM reminder_configurations
                WHERE reminder_type IN ('cancelled', 'moved', 'confirmed')) THEN
        RAISE EXCEPTION 'a rule is called cancelled, moved or confirmed, which are notices now: '
            'delete it (reminders config delete), add it under another name, and migrate again';
    END IF;
END $$
"""
"""Their rows in the ledger would pass for notices."""

SCHEMA = """
-- A rule without a lead is that of a notice.
ALTER TABLE reminder_configurations
    DROP CONSTRAINT ck_reminder_configurations_minutes_before,
    ADD CONSTRAINT ck_reminder_configurations_minutes_before CHECK (
        CASE WHEN reminder_type IN ('cancelled', 'moved', 'confirmed')
             THEN minutes_before = 0 ELSE minutes_before > 0 END);
ALTER TABLE session_reminder_emails ADD COLUMN moved_from timestamptz;
-- Sessions of whose present state nobody is to be told: whoever changed them said so.
CREATE TABLE quiet_sessions (
    session_id  uuid NOT NULL,
    start_time  timestamptz NOT NULL,
    status      text NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_quiet_sessions PRIMARY KEY (session_id)
);
"""

# On where everything begins here. Off where a platform of its own may be telling people already, and
# where the release before has planned something: it may still run, and does not know of notices.
SEEDS = """
INSERT INTO reminder_configurations
       (reminder_type, minutes_before, is_enabled, display_name, sort_order, email_subject_template)
SELECT kind, 0, is_on AND {is_owned} AND NOT EXISTS (SELECT FROM session_reminder_emails),
       name, place, subject
  FROM (VALUES
       ('cancelled', true, 'Session Cancelled', 101, 
           'Cancelled: {{session_title}} on {{start_date}}, {{start_time}}'),
       ('moved', true, 'Session Moved', 102, 
           'New time for {{session_title}}: {{start_date}}, {{start_time}}'),
       ('confirmed', false, 'Enrollment Confirmed', 103, 
           'Confirmed: {{session_title}} on {{start_date}}, {{start_time}}'))
       AS seed (kind, is_on, name, place, subject)
"""


def upgrade() -> None:
    """Apply."""
    op.execute(RESERVED)
    for statement in SCHEMA.strip().split(";\n"):
        op.execute(statement)
    is_owned = context.config.attributes.get("host_schema") is None
    op.execute(SEEDS.format(is_owned=str(is_owned).lower()))


def downgrade() -> None:
    """Take back; what waits to be told is not told any more."""
    op.execute("DELETE FROM reminder_configurations WHERE minutes_before = 0")
    op.execute("DELETE FROM session_reminder_emails WHERE reminder_type IN"
               " ('cancelled', 'moved', 'confirmed')")
    op.execute("ALTER TABLE session_reminder_emails DROP COLUMN moved_from")
    op.execute("DROP TABLE quiet_sessions")
    op.execute(
        "ALTER TABLE reminder_configurations"
        " DROP CONSTRAINT ck_reminder_configurations_minutes_before,"
        " ADD CONSTRAINT ck_reminder_configurations_minutes_before CHECK (minutes_before > 0)"
    )
