"""A platform's database, and the whole system beside it with a role that may only read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import make_url
from temporalio.client import Client

from devstack.postgres import EmbeddedPostgres
from reminders.db.engine import Database
from reminders.settings import Settings
from tests.databases import Databases, migrated
from tests.existing.host import CRON, PLATFORM, ROLE, CronJob, Host, statements
from tests.provider import ProviderClient
from tests.stage import Stage

GUIDE = "existing-platform.md"
BARE, SHOWN = "platform_bare", "platform_shown"
"""Databases to copy: as a platform was before us, and after the guide's first three steps."""


@pytest.fixture(scope="session")
async def _templates(postgres: EmbeddedPostgres) -> AsyncIterator[None]:
    """Follow the guide once, and see that the platform does not notice."""
    postgres.create_database(BARE)
    bare = Database(postgres.url(BARE))
    await Host(bare, "").run(*filter(str.strip, PLATFORM.split(";")))
    await bare.aclose()
    postgres.create_database(SHOWN, template=BARE)
    shown = Database(postgres.url(SHOWN))
    ours = Database(_as_role(postgres.url(SHOWN)), host_schema="reminders_host")
    host = Host(shown, "")
    async with host.untouched():
        await host.run(*statements(GUIDE, "1. Show us your tables"))
        await migrated(ours)
        await migrated(ours)
    await ours.aclose()
    await shown.aclose()
    yield
    for name in (SHOWN, BARE):
        postgres.drop_database(name)
    administrator = Database(postgres.url("postgres"))
    await Host(administrator, "").run(
        statements(GUIDE, "Removing it")[-1], "DROP ROLE IF EXISTS service_role"
    )
    await administrator.aclose()


@pytest.fixture
async def template() -> str:
    """What the platform's database is a copy of; tests of the very beginning take the bare one."""
    return SHOWN


@pytest.fixture
async def host(databases: Databases, _templates: None, template: str) -> AsyncIterator[Host]:
    """A platform, in a database of this test's own."""
    async with databases.copy(template) as url:
        database = Database(url)
        yield Host(database, url)
        await database.aclose()


@pytest.fixture
async def cron(host: Host) -> CronJob:
    """The platform's cron job, and that we may read its tables, as the guide has it."""
    await host.run(*filter(str.strip, CRON.split(";")))
    await host.run(*statements("migration.md", "1. Let us read the old tables"))
    return CronJob(host)


@pytest.fixture
def settings(settings: Settings, host: Host) -> Settings:
    """Settings of the guide's second step."""
    changed = {
        "database_url": _as_role(host.url),
        "database_mode": "existing",
        "host_schema": "reminders_host",
    }
    return Settings(**{**settings.model_dump(), **changed})


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The platform's database as we see it."""
    database = Database(
        settings.require_database_url(), host_schema=settings.existing_host_schema()
    )
    yield database
    await database.aclose()


@pytest.fixture
async def stage(
    settings: Settings, database: Database, client: Client, provider: ProviderClient
) -> AsyncIterator[Stage]:
    """The whole system beside the platform."""
    async with Stage(settings, database, client, provider) as stage:
        yield stage


def _as_role(url: str) -> str:
    """The URL with the role that the guide makes."""
    ours = make_url(url).set(username=ROLE, password="choose-a-long-one")
    return ours.render_as_string(hide_password=False)
