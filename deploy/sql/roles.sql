-- The least that workers, API and commands need of the database, in owned mode: run by its owner,
-- after every `reminders db upgrade`, and safe to repeat. In existing mode they work as the role of
-- docs/existing-platform.md, which owns our schema and may only read what is shown of the platform.
--
--     psql "$OWNER_DATABASE_URL" --set ON_ERROR_STOP=1 --single-transaction --file deploy/sql/roles.sql
--
-- The owner migrates, and nobody works as the owner. Give the group to whoever works:
--
--     CREATE ROLE reminders_worker LOGIN PASSWORD '...' IN ROLE reminders_app;
--
-- tests/deploy/test_roles.py plays the main job as such a role, and tries what it may not.

DO $$ BEGIN
    CREATE ROLE reminders_app NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

DO $$ BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO reminders_app', current_database());
END $$;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO reminders_app;

-- The platform's tables.
GRANT SELECT, INSERT, UPDATE ON sessions, users TO reminders_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON enrollments TO reminders_app;

-- The ledger: written, and ended by a status or a cascade.
GRANT SELECT, INSERT, UPDATE ON session_reminder_emails TO reminders_app;

-- What is kept for a while, or as long as somebody wants it.
GRANT SELECT, INSERT, UPDATE, DELETE
    ON reminder_configurations, reminder_preferences, reminder_tombstones, session_cutovers,
       calendar_revisions, erased_users, email_batches, webhook_events, untold_session_changes,
       unconfirmed_plans, quiet_sessions
    TO reminders_app;
GRANT SELECT, INSERT, UPDATE ON provider_usage, provider_pace TO reminders_app;
-- A worker notes which database this is; `reminders installation` says that it is another on purpose.
GRANT SELECT, UPDATE ON reminder_installation TO reminders_app;

-- The audit log is added to, and what came of it to an entry; an erasure takes free text out of it.
-- Nothing changes who did what and when, and nothing removes an entry.
GRANT SELECT, INSERT ON reminder_events TO reminders_app;
GRANT UPDATE (reason, details) ON reminder_events TO reminders_app;

GRANT SELECT, UPDATE ON SEQUENCE plan_versions TO reminders_app;

-- Readiness compares the revision of the schema.
GRANT SELECT ON session_reminders_version TO reminders_app;
