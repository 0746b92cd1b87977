"""the ledger

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PLATFORM = """
-- What people enroll in. Starts and ends are such that everybody can read and compute with them.
CREATE TABLE sessions (
    id                 uuid NOT NULL,
    title              text NOT NULL,
    start_time         timestamptz NOT NULL,
    end_time           timestamptz,
    time_zone          text NOT NULL DEFAULT 'UTC',
    speaker_name       text,
    location           text,
    join_url           text,
    preparation_notes  text,
    status             text NOT NULL DEFAULT 'scheduled',
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT ck_sessions_status CHECK (status IN ('scheduled', 'cancelled')),
    CONSTRAINT ck_sessions_start_time
        CHECK (start_time >= '0001-01-02 00:00+00' AND start_time < '9999-12-31 00:00+00'),
    CONSTRAINT ck_sessions_end_time
        CHECK (end_time >= '0001-01-02 00:00+00' AND end_time < '9999-12-31 00:00+00')
);

-- Who enrolls; the only place where an address is kept.
CREATE TABLE users (
    id          uuid NOT NULL,
    email       text NOT NULL,
    full_name   text,
    time_zone   text,
    locale      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_users PRIMARY KEY (id)
);

-- Who takes part in what.
CREATE TABLE enrollments (
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    status      text NOT NULL DEFAULT 'confirmed',
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_enrollments PRIMARY KEY (id),
    CONSTRAINT uq_enrollments_session_id_user_id UNIQUE (session_id, user_id),
    CONSTRAINT ck_enrollments_status CHECK (status IN ('confirmed', 'pending', 'cancelled'))
);
CREATE INDEX ix_enrollments_user_id ON enrollments (user_id);
"""
"""Ours in owned mode. In existing mode views take the place of these three, see `reminders.db.host`."""

OURS = """
-- What was called off with us, where the platform's own row is not ours to change.
-- Without a user: the whole session. NULLS NOT DISTINCT, here and below, needs PostgreSQL 15.
CREATE TABLE reminder_tombstones (
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id  uuid NOT NULL,
    user_id     uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_reminder_tombstones PRIMARY KEY (id),
    CONSTRAINT uq_reminder_tombstones_scope UNIQUE NULLS NOT DISTINCT (session_id, user_id)
);

-- The rules: of a type there is one for all sessions, and one for each session that has its own.
CREATE TABLE reminder_configurations (
    id                      uuid NOT NULL DEFAULT gen_random_uuid(),
    reminder_type           text NOT NULL,
    session_id              uuid,
    minutes_before          integer NOT NULL,
    is_enabled              boolean NOT NULL DEFAULT true,
    email_subject_template  text NOT NULL,
    display_name            text NOT NULL,
    sort_order              integer NOT NULL DEFAULT 0,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_reminder_configurations PRIMARY KEY (id),
    CONSTRAINT uq_reminder_configurations_scope
        UNIQUE NULLS NOT DISTINCT (reminder_type, session_id),
    CONSTRAINT ck_reminder_configurations_minutes_before CHECK (minutes_before > 0)
);

-- Of two plans of one enrollment, the later transaction has the higher number.
CREATE SEQUENCE plan_versions;

-- The ledger: one row per reminder and generation.
CREATE TABLE session_reminder_emails (
    id               uuid NOT NULL,
    session_id       uuid NOT NULL,
    user_id          uuid NOT NULL,
    reminder_type    text NOT NULL,
    generation       smallint NOT NULL DEFAULT 1,
    due_at           timestamptz NOT NULL,
    starts_at        timestamptz NOT NULL,
    sent_at          timestamptz,
    email_status     text NOT NULL DEFAULT 'scheduled',
    status_reason    text,
    attempts         smallint NOT NULL DEFAULT 0,
    last_error       text,
    resend_email_id  text,
    workflow_id      text NOT NULL,
    run_id           text,
    batch_id         uuid,
    requested_at     timestamptz,
    shadowed_at      timestamptz,
    plan_version     bigint NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_session_reminder_emails PRIMARY KEY (id),
    CONSTRAINT uq_reminder_identity UNIQUE (session_id, user_id, reminder_type, generation),
    CONSTRAINT ck_session_reminder_emails_email_status
        CHECK (email_status IN ('scheduled', 'sending', 'sent', 'delivered', 'bounced',
                                'complained', 'suppressed', 'skipped', 'cancelled', 'failed')),
    CONSTRAINT ck_session_reminder_emails_due_at
        CHECK (due_at >= '0001-01-02 00:00+00' AND due_at < '9999-12-31 00:00+00'),
    CONSTRAINT ck_session_reminder_emails_starts_at
        CHECK (starts_at >= '0001-01-02 00:00+00' AND starts_at < '9999-12-31 00:00+00')
);
-- Lists, newest first and by status.
CREATE INDEX ix_session_reminder_emails_due_at_id ON session_reminder_emails (due_at, id);
CREATE INDEX ix_session_reminder_emails_email_status_due_at_id
    ON session_reminder_emails (email_status, due_at, id);
-- A person's, and what a cascade from `users` looks for.
CREATE INDEX ix_session_reminder_emails_user_id ON session_reminder_emails (user_id);
-- What waits: a sweep takes as long as what lies ahead is large, not as the ledger is old.
CREATE INDEX ix_session_reminder_emails_waiting ON session_reminder_emails (session_id, user_id)
    WHERE email_status = 'scheduled';
-- The members of a request that is in flight.
CREATE INDEX ix_session_reminder_emails_batch_id ON session_reminder_emails (batch_id)
    WHERE email_status = 'sending';
-- Whatever a webhook speaks of.
CREATE INDEX ix_session_reminder_emails_resend_email_id ON session_reminder_emails (resend_email_id)
    WHERE resend_email_id IS NOT NULL;
-- What went out on a day, and what would have in shadow mode.
CREATE INDEX ix_session_reminder_emails_sent_at ON session_reminder_emails (sent_at)
    WHERE sent_at IS NOT NULL;
CREATE INDEX ix_session_reminder_emails_shadowed_at ON session_reminder_emails (shadowed_at)
    WHERE shadowed_at IS NOT NULL;

-- A transactional outbox: enrollments whose newest plan no workflow has confirmed yet. No foreign
-- keys: the workflow is to end even if session or person are gone.
CREATE TABLE unconfirmed_plans (
    session_id  uuid NOT NULL,
    user_id     uuid NOT NULL,
    version     bigint NOT NULL,
    planned_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_unconfirmed_plans PRIMARY KEY (session_id, user_id)
);

-- Changes of sessions that no workflow has taken up yet.
CREATE TABLE untold_session_changes (
    session_id  uuid NOT NULL,
    change_id   uuid NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_untold_session_changes PRIMARY KEY (session_id)
);

-- Sessions, or without an id all of them, that a cron job has handed over to us, or is about to.
CREATE TABLE session_cutovers (
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    session_id     uuid,
    requested_at   timestamptz NOT NULL,
    taken_over_at  timestamptz,
    CONSTRAINT pk_session_cutovers PRIMARY KEY (id),
    CONSTRAINT uq_session_cutovers_session_id UNIQUE NULLS NOT DISTINCT (session_id)
);

-- Requests to the provider, written before their first attempt.
CREATE TABLE email_batches (
    id                uuid NOT NULL,
    state             text NOT NULL DEFAULT 'frozen',
    reminder_ids      uuid[] NOT NULL,
    body              bytea,
    useful_until      timestamptz NOT NULL,
    frozen_at         timestamptz NOT NULL,
    settled_at        timestamptz,
    owner             text NOT NULL,
    lease_until       timestamptz NOT NULL,
    delivery_mode     text NOT NULL DEFAULT 'unknown',
    sink              text,
    installation_id   uuid,
    repeatable_until  timestamptz,
    CONSTRAINT pk_email_batches PRIMARY KEY (id),
    CONSTRAINT ck_email_batches_state CHECK (state IN ('frozen', 'settled', 'released')),
    CONSTRAINT ck_email_batches_delivery_mode
        CHECK (delivery_mode IN ('live', 'redirect', 'unknown'))
);
-- What a dead worker left behind.
CREATE INDEX ix_email_batches_unsettled ON email_batches (lease_until) WHERE state = 'frozen';
-- What is old enough to be forgotten.
CREATE INDEX ix_email_batches_settled_at ON email_batches (settled_at) WHERE state <> 'frozen';

-- Who is not to be reminded: at all, of a session, or by one kind of reminder. Unique from the user
-- on, so that the same index answers what is asked before every e-mail.
CREATE TABLE reminder_preferences (
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    user_id        uuid NOT NULL,
    session_id     uuid,
    reminder_type  text,
    reason         text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_reminder_preferences PRIMARY KEY (id),
    CONSTRAINT uq_reminder_preferences_scope
        UNIQUE NULLS NOT DISTINCT (user_id, session_id, reminder_type, reason),
    CONSTRAINT ck_reminder_preferences_reason
        CHECK (reason IN ('opted_out', 'bounced', 'complained'))
);

-- The provider's events that were taken in, so that a repetition is known as one. No foreign key:
-- the tag may name a row that is gone, or never was.
CREATE TABLE webhook_events (
    svix_id      text NOT NULL,
    type         text NOT NULL,
    email_id     text,
    reminder_id  uuid,
    occurred_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_webhook_events PRIMARY KEY (svix_id)
);
CREATE INDEX ix_webhook_events_received_at ON webhook_events (received_at);
CREATE INDEX ix_webhook_events_reminder_id ON webhook_events (reminder_id)
    WHERE reminder_id IS NOT NULL;

-- The audit log: who changed what, and why. Only ever added to, and without foreign keys, so that
-- entries outlive what they are about. Ids, and no addresses.
CREATE TABLE reminder_events (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    happened_at  timestamptz NOT NULL DEFAULT now(),
    action       text NOT NULL,
    actor        text NOT NULL,
    reason       text,
    session_id   uuid,
    user_id      uuid,
    reminder_id  uuid,
    details      jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT pk_reminder_events PRIMARY KEY (id)
);
CREATE INDEX ix_reminder_events_happened_at_id ON reminder_events (happened_at, id);
CREATE INDEX ix_reminder_events_session_id_user_id ON reminder_events (session_id, user_id);

-- How much of a quota the provider says is used: one row for the day, one for the month.
CREATE TABLE provider_usage (
    quota        text NOT NULL,
    used         integer NOT NULL,
    quota_limit  integer,
    resets_at    timestamptz NOT NULL,
    checked_at   timestamptz NOT NULL,
    CONSTRAINT pk_provider_usage PRIMARY KEY (quota),
    CONSTRAINT ck_provider_usage_quota CHECK (quota IN ('daily', 'monthly'))
);

-- One row: when the next request may be posted, by whichever worker.
CREATE TABLE provider_pace (
    id               smallint NOT NULL DEFAULT 1,
    next_request_at  timestamptz NOT NULL DEFAULT now(),
    held_until       timestamptz,
    held_because     text,
    held_sender      text,
    CONSTRAINT pk_provider_pace PRIMARY KEY (id),
    CONSTRAINT ck_provider_pace_single_row CHECK (id = 1)
);

-- One row: the id of whoever shares this database, so that a copy of it can be told apart.
CREATE TABLE reminder_installation (
    one         smallint NOT NULL DEFAULT 1,
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_reminder_installation PRIMARY KEY (one),
    CONSTRAINT ck_reminder_installation_single_row CHECK (one = 1)
);

-- How often the calendar entry of an enrollment has changed, as far as anybody looked.
CREATE TABLE calendar_revisions (
    session_id   uuid NOT NULL,
    user_id      uuid NOT NULL,
    sequence     integer NOT NULL,
    fingerprint  bytea NOT NULL,
    changed_at   timestamptz NOT NULL,
    CONSTRAINT pk_calendar_revisions PRIMARY KEY (session_id, user_id)
);
CREATE INDEX ix_calendar_revisions_user_id ON calendar_revisions (user_id);

-- Whom we have erased: nothing is planned for such an id until the platform stores it anew.
CREATE TABLE erased_users (
    user_id    uuid NOT NULL,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_erased_users PRIMARY KEY (user_id)
);
"""

REFERENCES = """
ALTER TABLE enrollments
    ADD CONSTRAINT fk_enrollments_session_id_sessions
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_enrollments_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE session_reminder_emails
    ADD CONSTRAINT fk_session_reminder_emails_session_id_sessions
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_session_reminder_emails_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE reminder_preferences
    ADD CONSTRAINT fk_reminder_preferences_session_id_sessions
        FOREIGN KEY (session_id) REFERENCES sessions (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_reminder_preferences_user_id_users
        FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE;
"""
"""In owned mode only: a view cannot be referred to. What the platform deletes, a sweep finds."""

SEEDS = """
INSERT INTO reminder_configurations
       (reminder_type, minutes_before, is_enabled, display_name, sort_order, email_subject_template)
VALUES ('24h', 1440, true, '24 Hours Before', 1, 'Reminder: {session_title} starts tomorrow'),
       ('2h', 120, true, '2 Hours Before', 2, 'Starting Soon: {session_title} in 2 hours'),
       ('1h', 60, false, '1 Hour Before', 3, 'Starting Soon: {session_title} in 1 hour'),
       ('30min', 30, true, '30 Minutes Before', 4,
        'Starting Now: {session_title} begins in 30 minutes');
INSERT INTO provider_pace DEFAULT VALUES;
INSERT INTO reminder_installation DEFAULT VALUES;
"""


def upgrade() -> None:
    """Apply."""
    schema = PLATFORM + OURS + REFERENCES if is_owned() else OURS
    for statement in (schema + SEEDS).strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    """Take back."""
    for relation in ("enrollments", "users", "sessions"):
        op.execute(f"DROP TABLE {relation} CASCADE" if is_owned() else f"DROP VIEW {relation}")
    for table in (
        "erased_users",
        "calendar_revisions",
        "reminder_installation",
        "provider_pace",
        "provider_usage",
        "reminder_events",
        "webhook_events",
        "reminder_preferences",
        "email_batches",
        "session_cutovers",
        "untold_session_changes",
        "unconfirmed_plans",
        "session_reminder_emails",
        "reminder_configurations",
        "reminder_tombstones",
    ):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP SEQUENCE plan_versions")


def is_owned() -> bool:
    """Whether sessions, users and enrollments are ours, and not an existing platform's."""
    return context.config.attributes.get("host_schema") is None
