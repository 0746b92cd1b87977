"""What a worker refuses to start with, in one line that says what to do; and how its process is set up."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

import worker
from devstack.ports import free_ports
from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.domain.errors import ConfigurationError
from reminders.settings import Settings
from starter import app, plugin
from starter.api import serving
from workflows.plugin import WORKFLOWS


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedTemporal]:
    """A Temporal server without our search attributes."""
    with EmbeddedTemporal(headless=True, search_attributes={}) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address)
        yield server


async def start(settings: Settings) -> None:
    """Start a worker that stops at once."""
    stop = asyncio.Event()
    stop.set()
    async with asyncio.timeout(30):
        await worker.run(settings, stop)


async def test_search_attributes_that_may_not_be_registered(
    bare: EmbeddedTemporal, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to register them a worker names those that are missing, and the command."""

    async def denied(client: Client) -> tuple[str, ...]:
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setattr(temporal, "ensure_search_attributes", denied)
    with pytest.raises(ConfigurationError, match=r"SessionId, .*`reminders temporal setup`"):
        await start(settings)


async def test_search_attributes_that_are_there_need_no_right(
    settings: Settings, temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody else has registered them, a worker starts without the right to."""

    async def denied(client: Client) -> tuple[str, ...]:
        raise RPCError("no", RPCStatusCode.PERMISSION_DENIED, b"")

    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    monkeypatch.setattr(temporal, "ensure_search_attributes", denied)
    await start(settings)


async def test_our_own_settings_are_looked_at_before_temporal(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a database a worker leaves no trace in Temporal: it does not even look for it."""
    (nobody,) = free_ports(1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{nobody}")
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        await start(settings.model_copy(update={"database_url": None}))


async def test_a_schema_that_lacks_something(
    settings: Settings,
    database: Database,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker never polls for what it could not record; an API does not start only to fail."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    await migrate.downgrade(database, "base")
    with pytest.raises(ConfigurationError, match="`reminders db upgrade`"):
        await start(settings)
    server = serving.Server(app.create_app(settings), "")
    with (
        serving.listener("API_ADDRESS", "127.0.0.1", 0) as listener,
        pytest.raises(ConfigurationError, match="`reminders db upgrade`"),
    ):
        await app._serve(settings, server, listener)


async def test_a_schema_of_a_later_release(
    settings: Settings,
    database: Database,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a release rolls out, the schema is ahead of the old workers; they go on."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            f"UPDATE {migrate.VERSION_TABLE} SET version_num = 'of_tomorrow'"
        )
    await start(settings)


async def test_a_metrics_port_that_is_taken(
    settings: Settings, temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker of a machine is told to take a port of its own."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"METRICS_ADDRESS {address}"):
            await start(settings.model_copy(update={"metrics_address": address}))


@pytest.mark.parametrize("address", ["9090", "127.0.0.1:metrics", "127.0.0.1:99999"])
async def test_a_metrics_address_that_is_none(settings: Settings, address: str) -> None:
    """It is refused by the variable's name before anything is started."""
    with pytest.raises(ConfigurationError, match="METRICS_ADDRESS"):
        await start(settings.model_copy(update={"metrics_address": address}))


def test_a_sender_that_can_write_to_nobody() -> None:
    """Resend's own address only reaches its owner: live delivery from it is refused."""
    with pytest.raises(ValueError, match=r"EMAIL_FROM is at resend\.dev"):
        Settings(
            delivery_mode="live",
            resend_api_key=SecretStr("re_1234"),
            email_from="Reminders <onboarding@resend.dev>",
        )


def test_workflows_have_bytecode_where_python_is_to_write_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox executes a workflow's module for each run: it need not compile it each time."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    plugin._compile_workflows()
    for workflow in WORKFLOWS:
        source = str(sys.modules[workflow.__module__].__file__)
        assert Path(importlib.util.cache_from_source(source)).is_file(), source


def test_a_worker_s_process_collects_when_it_says_so() -> None:
    """What was imported is out of sight, and no full collection comes by itself."""
    code = (
        "import gc, worker; worker.collector.keep_imports(); full = gc.get_stats()[2]['collections'];"
        "kept = [[n] for n in range(2_000_000)];"
        "print(gc.get_freeze_count() > 10_000, gc.get_stats()[2]['collections'] - full)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "True 0" == said.stdout.strip()
