"""A platform's database, and the whole system beside it with a role that may only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from sqlalchemy import make_url
from temporalio.client import Client

from reminders.db import migrate
from reminders.db.engine import Database
from reminders.embedded.postgres import EmbeddedPostgres
from reminders.settings import Settings
from tests.existing.host import CRON, PLATFORM, ROLE, CronJob, Host, statements
from tests.provider import ProviderClient
from tests.stage import Stage

DOCUMENT = "existing-platform.md"


@pytest.fixture
async def host(postgres: EmbeddedPostgres) -> AsyncIterator[Host]:
    """A platform that has never heard of us."""
    name = f"test_{uuid4().hex}"
    await asyncio.to_thread(postgres.create_database, name)
    database = Database(postgres.url(name))
    host = Host(database)
    await host.run(*filter(str.strip, PLATFORM.split(";")))
    yield host
    await database.aclose()
    await asyncio.to_thread(postgres.drop_database, name)
    administrator = Database(postgres.url("postgres"))
    async with administrator.transaction() as connection:
        await connection.exec_driver_sql(f"DROP ROLE IF EXISTS {ROLE}")
    await administrator.aclose()


@pytest.fixture
async def shown(host: Host) -> Host:
    """The platform, after its administrator has followed the first step of the guide."""
    await host.run(*statements(DOCUMENT, "1. Show us your tables"))
    return host


@pytest.fixture
async def cron(shown: Host) -> CronJob:
    """The platform's cron job, and that we may read its tables, as the guide has it."""
    await shown.run(*filter(str.strip, CRON.split(";")))
    await shown.run(*statements("migration.md", "1. Let us read the old tables"))
    return CronJob(shown)


@pytest.fixture
def settings(settings: Settings, host: Host) -> Settings:
    """Settings of the guide's second step."""
    url = make_url(host.database.engine.url.render_as_string(hide_password=False))
    ours = url.set(username=ROLE, password="choose-a-long-one")
    changed = {
        "database_url": ours.render_as_string(hide_password=False),
        "database_mode": "existing",
        "host_schema": "reminders_host",
    }
    return Settings(**{**settings.model_dump(), **changed})


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The platform's database as we see it; not migrated yet."""
    database = Database(
        settings.require_database_url(), host_schema=settings.existing_host_schema()
    )
    yield database
    await database.aclose()


@pytest.fixture
async def stage(
    settings: Settings,
    database: Database,
    client: Client,
    provider: ProviderClient,
    shown: Host,
) -> AsyncIterator[Stage]:
    """The whole system beside the platform, migrated without a trace in the platform's tables."""
    async with shown.untouched():
        await migrate.upgrade(database)
    async with Stage(settings, database, client, provider) as stage:
        yield stage
