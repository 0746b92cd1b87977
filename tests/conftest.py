"""Real parts for every test: PostgreSQL, a Temporal server, a Resend stand-in, each once a process.

Tests are kept apart by their own database (a copy of a migrated template, some 30 ms), their own
task queue and their own ids. `stage` is the whole system with a clock that can be wound forward.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import socket
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from xdist.scheduler import LoadScopeScheduling

from devstack.postgres import EmbeddedPostgres
from devstack.program import Program
from devstack.provider.server import EmbeddedProvider
from devstack.temporal import EmbeddedTemporal
from reminders import budget, temporal
from reminders.db import url
from reminders.db.engine import Database
from reminders.observability import scrape
from reminders.settings import Settings
from starter.health import examiner, platform, temporal_checks
from tests.databases import Databases, migrated
from tests.leaks import watch
from tests.provider import ProviderClient
from tests.stage import Stage, end_sweep_by_hand
from tests.workflows.strict import StrictPlugin

_OURS = (
    "ADMIN_",
    "DATABASE_",
    "HOST_",
    "SHADOW_",
    "TEMPORAL_",
    "RESEND_",
    "EMAIL_",
    "DELIVERY_",
    "VERIFIED_",
    "API_",
    "PUBLIC_",
    "TOKEN_",
    "METRICS_",
    "OTEL_",
)

pytest_plugins = ["tests.browser"]

_TOGETHER = (
    "tests/e2e/test_crashes.py",
    "tests/reminders/db/test_scale.py",
    "tests/reminders/db/test_sweep.py",
    "tests/devstack/test_postgres.py",
    "tests/devstack/test_provider.py",
    "tests/devstack/test_stack.py",
    "tests/devstack/test_temporal.py",
    "tests/starter/admin/pages/",
    "tests/upgrade/test_upgrade.py",
)
"""Modules and folders that share a stack of their own: one process starts it, instead of each."""

_WAITING = ("tests/e2e/", "tests/reminders/delivery/", "tests/workflows/")
"""Folders whose tests mostly wait, for a timer or a server, and leave the processor to others."""


class _TogetherWhereItPays(LoadScopeScheduling):  # type: ignore[misc]  # no types
    """Hands tests out one by one, and those modules and folders whole.

    The mark `xdist_group` would say the same, and has no effect with pytest 9.2: xdist 3.8 writes
    the group to an attribute that nobody reads any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        """What is handed out as one."""
        return next((place for place in _TOGETHER if nodeid.startswith(place)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """See `_TogetherWhereItPays`."""
    return _TogetherWhereItPays(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--slow` runs what takes minutes too."""
    parser.addoption("--slow", action="store_true", help="run what takes minutes too")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what is imported and collected, which stays to the end, out of all garbage collections."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import modules of proofs, unless a path was named."""
    is_module = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if _names_a_path(config) or not is_module:
        return None
    return "\npytestmark = pytest.mark.proof\n" in collection_path.read_text("utf-8") or None


def _names_a_path(config: pytest.Config) -> bool:
    return config.args_source is pytest.Config.ArgsSource.ARGS


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out proofs, unless a path was named, and what is slow, unless it was asked for."""
    if not _names_a_path(config):
        config.hook.pytest_deselected(items=[item for item in items if "proof" in item.keywords])
        items[:] = _mixed([item for item in items if "proof" not in item.keywords])
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))


def _mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Each kind in its order, those that wait spread evenly among the others.

    Four processes that all wait at once leave the processor idle, for half a minute in all.
    """
    kinds: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        kinds[item.nodeid.startswith(_WAITING)].append(item)
    placed = [(n / len(kind), item) for kind in kinds.values() for n, item in enumerate(kind)]
    return [item for _, item in sorted(placed, key=lambda each: each[0])]


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine() -> Iterator[None]:
    """Refuse connections to anything but this machine, in this process."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                message = f"tests may not connect to {host}: start a stand-in on 127.0.0.1 instead"
                raise RuntimeError(message)
        connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nobody_is_in_a_hurry() -> Iterator[None]:
    """Let a part that is slow because four processes test at once not pass for one that is away."""
    minute = timedelta(minutes=1)
    with pytest.MonkeyPatch.context() as patch:
        for part in budget.PATIENCE:
            patch.setitem(budget.PATIENCE, part, 60.0)
        patch.setattr(url, "CONNECT_SECONDS", 60)
        patch.setattr(temporal, "_CONNECT_TIMEOUT", minute)
        patch.setattr(examiner, "PATIENCE", minute)
        patch.setattr(platform, "_PATIENCE", minute)
        patch.setattr(temporal_checks, "_POLL_PATIENCE", minute)
        patch.setattr(temporal_checks, "_CATALOGUE_PATIENCE", 60.0)
        patch.setattr(scrape, "_PATIENCE", minute)
        patch.setattr(scrape, "_SDK_PATIENCE", 60.0)
        yield


@pytest.fixture(autouse=True, scope="session")
def _nothing_leaks() -> Iterator[None]:
    """Fail, at the end, if anything written meanwhile holds personal data or secrets."""
    stop = Program.stop

    def looked_at(self: Program) -> None:
        stop(self)
        watch.file(self.log_file)

    with watch.listening(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "stop", looked_at)
        yield
    assert [] == watch.leaks[:20], "personal data or secrets were written, see tests/leaks.py"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own settings, in the environment and in a `.env`."""
    import os  # noqa: PLC0415 - the only use

    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL server with the migrated database `template`, whose notices are off."""
    with EmbeddedPostgres(durable=False) as server:
        server.create_database("template")

        async def made() -> None:
            database = Database(server.url("template"))
            await migrated(database)
            await database.aclose()

        asyncio.run(made())
        yield server
        watch.file(server.log_file)


@pytest.fixture(scope="session")
async def databases(postgres: EmbeddedPostgres) -> AsyncIterator[Databases]:
    """Migrated databases for whoever needs one of their own."""
    databases = Databases(postgres)
    yield databases
    await databases.aclose()


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """URL of a migrated database of this test's own."""
    async with databases.one() as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A migrated database of this test's own."""
    database = Database(database_url)
    yield database
    await database.aclose()


@pytest.fixture(scope="session")
def temporal_server() -> Iterator[EmbeddedTemporal]:
    """A Temporal server on which each workflow's clock can be wound forward."""
    with EmbeddedTemporal(headless=True) as server:
        yield server
        watch.file(server.log_file)


@pytest.fixture(scope="session")
async def client(temporal_server: EmbeddedTemporal) -> AsyncIterator[Client]:
    """A client of that server, with our plugin."""
    client = await Client.connect(temporal_server.address, plugins=[StrictPlugin()])
    yield client
    await watch.histories(client)


@pytest.fixture
async def no_sweep_left(client: Client) -> AsyncIterator[None]:
    """No sweep by hand runs before the test, nor after it: all tests share their workflow id."""
    await end_sweep_by_hand(client)
    yield
    await end_sweep_by_hand(client)


@pytest.fixture(scope="session")
def provider_server() -> Iterator[EmbeddedProvider]:
    """A Resend stand-in without limits."""
    with EmbeddedProvider(rate=0, latency_ms=0, allow_example=True) as server:
        yield server


@pytest.fixture
async def provider(provider_server: EmbeddedProvider) -> AsyncIterator[ProviderClient]:
    """The stand-in, empty, and without faults when the test ends."""
    async with ProviderClient(provider_server.url) as control:
        await control.reset()
        yield control
        await control.reset()


@pytest.fixture
def settings(database_url: str, provider_server: EmbeddedProvider) -> Settings:
    """Settings that point at the embedded parts, with a task queue of this test's own."""
    return Settings(
        database_url=database_url,
        temporal_task_queue=f"test-{uuid4().hex[:12]}",
        # All tests of a server share the Schedule: it starts nothing while they run.
        sweep_cron="0 0 1 1 *",
        resend_api_url=provider_server.url,
        resend_api_key=provider_server.api_key,
        delivery_mode="live",
        email_from="Reminders <reminders@platform.example>",
        email_requests_per_second=1000,
        email_initial_backoff_ms=50,
        email_max_backoff_ms=200,
        api_keys="test-key-5Jq8vXw2Zr7LmT4c",
    )


@pytest.fixture
async def stage(
    settings: Settings, database: Database, client: Client, provider: ProviderClient
) -> AsyncIterator[Stage]:
    """The whole system, with a worker and a clock that can be wound forward."""
    async with Stage(settings, database, client, provider) as stage:
        yield stage
