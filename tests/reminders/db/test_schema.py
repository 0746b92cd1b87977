"""The schema: what the migrations make is what the code expects."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from alembic import command
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from devstack.postgres import EmbeddedPostgres
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.db.tables import ReminderConfigurationRow
from reminders.domain.errors import DatabaseUnavailableError


async def test_models_and_migrations_agree(database: Database) -> None:
    """Autogenerate finds nothing to do on a migrated database."""

    def check(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.check(config)

    async with database.transaction() as connection:
        await connection.run_sync(check)


async def test_a_migrated_database_is_at_head(database: Database) -> None:
    """`current` is `head`, and upgrading again changes nothing."""
    await migrate.upgrade(database)
    assert migrate.head() == await migrate.current(database)


async def test_migrations_go_down_and_up_again(database: Database) -> None:
    """Everything that an upgrade made is gone after the downgrade to base."""
    await migrate.downgrade(database, "base")
    async with database.transaction() as connection:
        left = await connection.scalars(
            text("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        )
        assert {"session_reminders_version", "session_reminders_version_pkc"} >= set(left)
    await migrate.upgrade(database)


async def test_the_default_rules_are_the_platform_s(database: Database) -> None:
    """Four rules are seeded, the one-hour rule switched off."""
    rule = ReminderConfigurationRow
    async with database.transaction() as connection:
        found = await connection.execute(
            select(
                rule.reminder_type,
                rule.minutes_before,
                rule.is_enabled,
                rule.email_subject_template,
                rule.display_name,
                rule.sort_order,
            )
            .where(rule.minutes_before > 0)
            .order_by(rule.sort_order)
        )
        assert [
            ("24h", 1440, True, "Reminder: {session_title} starts tomorrow", "24 Hours Before", 1),
            ("2h", 120, True, "Starting Soon: {session_title} in 2 hours", "2 Hours Before", 2),
            ("1h", 60, False, "Starting Soon: {session_title} in 1 hour", "1 Hour Before", 3),
            (
                "30min",
                30,
                True,
                "Starting Now: {session_title} begins in 30 minutes",
                "30 Minutes Before",
                4,
            ),
        ] == [tuple(row) for row in found]


async def test_a_server_that_is_away_is_one_error() -> None:
    """A closed port is `DatabaseUnavailableError`, whatever the driver calls it."""
    database = Database("postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailableError):
        async with database.transaction():
            pass
    await database.aclose()


async def test_the_pool_survives_a_restart_of_the_server() -> None:
    """After PostgreSQL was killed and restarted, one error at the most, then it works."""
    with EmbeddedPostgres(durable=False) as server:
        database = Database(server.url("postgres"))
        async with database.autocommit() as connection:
            await connection.execute(text("SELECT 1"))
        server.kill()
        with pytest.raises(DatabaseUnavailableError):
            async with database.autocommit() as connection:
                await connection.execute(text("SELECT 1"))
        server.start()
        async with database.autocommit() as connection:
            assert 1 == await connection.scalar(text("SELECT 1"))
        await database.aclose()


@pytest.mark.parametrize("start", ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC"])
async def test_a_start_that_no_calendar_holds_is_refused(database: Database, start: str) -> None:
    """Whoever writes one by SQL is told at once, so that nobody has to live with it."""
    insert = text(
        "INSERT INTO sessions (id, title, start_time)"
        f" VALUES (gen_random_uuid(), 'Cardiology', '{start}')"
    )
    with pytest.raises(IntegrityError, match="ck_sessions_start_time"):
        async with database.transaction() as connection:
            await connection.execute(insert)


LEDGER = """
INSERT INTO sessions (id, title, start_time) VALUES (gen_random_uuid(), 'S', now());
INSERT INTO users (id, email) VALUES (gen_random_uuid(), 'ana@hospital.example');
INSERT INTO session_reminder_emails
       (id, session_id, user_id, reminder_type, due_at, starts_at, workflow_id)
SELECT gen_random_uuid(), s.id, u.id, '24h', now(), now(), 'w' FROM sessions s, users u
"""
A_RULE = """
INSERT INTO reminder_configurations
       (reminder_type, minutes_before, email_subject_template, display_name)
VALUES ('moved', 60, 'S', 'S')
"""


@pytest.mark.parametrize("was", ["", LEDGER, A_RULE], ids=["new", "used", "taken"])
async def test_notices_are_on_where_everything_begins(postgres: EmbeddedPostgres, was: str) -> None:
    """Off where the release before may still plan; a rule of that name is refused, with the remedy."""
    name = f"test_{uuid4().hex}"
    postgres.create_database(name)
    database = Database(postgres.url(name))
    await migrate.upgrade(database, "0001")
    async with database.transaction() as connection:
        for statement in filter(str.strip, was.split(";")):
            await connection.execute(text(statement))
    if was is A_RULE:
        with pytest.raises(Exception, match="reminders config delete"):
            await migrate.upgrade(database)
    else:
        await migrate.upgrade(database)
        query = "SELECT reminder_type FROM reminder_configurations WHERE minutes_before = 0"
        async with database.transaction() as connection:
            on = set(await connection.scalars(text(f"{query} AND is_enabled")))
        assert (set() if was else {"cancelled", "moved"}) == on
    await database.aclose()
    postgres.drop_database(name)


async def test_a_migration_does_not_wait_long_for_a_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a dump all who write would wait as long as it does: it gives up, and may be repeated."""
    monkeypatch.setattr(migrate, "_IMPATIENT", text("SET LOCAL lock_timeout = '50ms'"))
    async with database.transaction() as connection:
        await connection.execute(text("LOCK TABLE session_reminder_emails IN ACCESS SHARE MODE"))
        with pytest.raises(DatabaseUnavailableError):
            await migrate.downgrade(database, "base")
    assert migrate.head() == await migrate.current(database)


async def test_an_upgrade_that_had_to_wait_is_repeated(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few times, and only for that: whoever holds the lock may be done in a moment."""
    monkeypatch.setattr(migrate, "_PAUSE", timedelta())
    tries: list[str] = []

    async def upgrade(database: Database, revision: str) -> None:
        tries.append(revision)
        if len(tries) == 3:
            return
        async with database.transaction() as connection:
            await connection.execute(text("SET LOCAL lock_timeout = '1ms'"))
            await connection.execute(text("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"))

    monkeypatch.setattr(migrate, "_upgrade", upgrade)
    async with database.transaction() as connection:
        await connection.execute(text("LOCK TABLE sessions IN ACCESS SHARE MODE"))
        await migrate.upgrade(database)
    assert 3 == len(tries)

    async def away(*_: object) -> None:
        tries.append("away")
        raise DatabaseUnavailableError

    monkeypatch.setattr(migrate, "_upgrade", away)
    with pytest.raises(DatabaseUnavailableError):
        await migrate.upgrade(database)
    assert 1 == tries.count("away")
