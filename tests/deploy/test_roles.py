"""The minimal database role: all that is needed works with it, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client

from reminders.db import migrate
from reminders.db.audit import By
from reminders.db.engine import Database
from reminders.db.tables import Base
from reminders.domain.errors import DatabaseRefusedError
from reminders.settings import Settings
from starter.assembly import assembled
from tests.provider import ProviderClient
from tests.stage import Stage

SCRIPT = Path(__file__).parents[2] / "deploy" / "sql" / "roles.sql"


@pytest.fixture
async def minimal(database: Database, settings: Settings) -> AsyncIterator[Settings]:
    """Settings of a role that has only what the script grants, in this test's database."""
    role = f"worker_{uuid4().hex}"
    script = await asyncio.to_thread(SCRIPT.read_text)
    async with database.transaction() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        # As deploy/compose does, and whoever lets nobody in unasked.
        await driver.execute(
            "DO $$ BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC',"
            " current_database()); END $$"
        )
        for _ in range(2):  # safe to repeat
            await driver.execute(script)
        await connection.execute(text(f"CREATE ROLE {role} LOGIN IN ROLE reminders_app"))
    url = settings.require_database_url().replace("postgres@", f"{role}@")
    yield settings.model_copy(update={"database_url": SecretStr(url)})
    async with database.transaction() as connection:
        await connection.execute(text(f"DROP ROLE {role}"))


def test_every_table_is_spoken_of() -> None:
    """A new table is forgotten by nobody."""
    script = SCRIPT.read_text(encoding="utf-8")
    assert [] == [name for name in Base.metadata.tables if name not in script]


async def test_everything_works_with_the_minimal_role(
    minimal: Settings, client: Client, provider: ProviderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enrolled, sent, moved, unenrolled, swept, erased: the whole life of reminders."""
    database = Database(minimal.require_database_url())
    async with Stage(minimal, database, client, provider) as stage:
        session = await stage.session(starts_in=timedelta(hours=3))
        user = await stage.attendee()
        handle = await stage.enroll(session, user)
        leaver = await stage.attendee()
        await stage.enroll(session, leaver)
        await stage.forward(timedelta(hours=1, minutes=1), handle)
        await stage.gateway.unenroll(session.id, leaver)
        swept = await stage.sweep()
        assert {tally.error for tally in swept.results.values()} == {None}
        await stage.forward(timedelta(hours=2), handle)
        await handle.result()
        assert len(await provider.accepted()) == 2
        assert set((await stage.statuses(session, user)).values()) == {"skipped: past_due", "sent"}
        assert migrate.head() == await migrate.current(database)
        monkeypatch.setenv("TEMPORAL_ADDRESS", client.service_client.config.target_host)
        async with assembled(minimal) as parts:
            await parts.provider.resume(By("cli"))
            await parts.gateway.cancel_session(session.id, By("cli"))
            await parts.erasure.erase(user, by=By("cli"))
    await database.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "ALTER TABLE users ADD COLUMN password text",
        "DROP TABLE session_reminder_emails",
        "TRUNCATE session_reminder_emails",
        "DELETE FROM session_reminder_emails",
        "DELETE FROM reminder_events",
        "UPDATE reminder_events SET actor = 'nobody'",
        "DELETE FROM sessions",
        "UPDATE session_reminders_version SET version_num = '0'",
        "COPY users TO PROGRAM 'cat'",
        "SELECT * FROM pg_authid",
        "CREATE ROLE another",
    ],
)
async def test_what_the_minimal_role_may_not(statement: str, minimal: Settings) -> None:
    """Neither change the schema, nor remove what was recorded, nor reach beyond our tables."""
    database = Database(minimal.require_database_url())
    with pytest.raises(
        DatabaseRefusedError, match=r"permission denied|must be owner|InsufficientPriv"
    ):
        async with database.transaction() as connection:
            await connection.execute(text(statement))
    await database.aclose()
