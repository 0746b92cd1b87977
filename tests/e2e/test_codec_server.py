"""Temporal's own command shows encrypted histories by the codec server, and only by it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from reminders.codec import EncryptingCodec
from reminders.db.engine import Database
from reminders.embedded.ports import free_ports
from reminders.embedded.program import Program, logs
from reminders.embedded.temporal import EmbeddedTemporal, find_temporal
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.stage import Stage
from tests.workflows.strict import StrictPlugin

SECRET = os.urandom(32)


async def shown_by_the_command(
    server: EmbeddedTemporal, workflow_id: str, *options: str, folder: Path
) -> str:
    """What `temporal workflow show` prints of a history."""
    words = ["workflow", "show", "--workflow-id", workflow_id, "--output", "json"]
    # Without the developer's own configuration.
    nowhere = {"HOME": str(folder), "TEMPORAL_CONFIG_FILE": str(folder / "none.toml")}
    process = await asyncio.create_subprocess_exec(
        find_temporal(),
        *words,
        "--address",
        server.address,
        *options,
        stdout=asyncio.subprocess.PIPE,
        env=nowhere,
    )
    told, _ = await process.communicate()
    assert 0 == process.returncode
    return told.decode()


def readable(text: str) -> str:
    """A history in JSON, with its payloads' bytes as text."""
    found: list[str] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("data"), str):
                found.append(base64.b64decode(node["data"]).decode(errors="replace"))
            for child in node.values():
                collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)
        elif isinstance(node, str):
            found.append(node)

    collect(json.loads(text))
    return "\n".join(found)


async def test_temporals_command_shows_a_history_by_it(
    settings: Settings,
    database: Database,
    temporal_server: EmbeddedTemporal,
    provider: ProviderClient,
    tmp_path: Path,
) -> None:
    """`--codec-endpoint` makes the plan of a sleeper readable, which it is not without."""
    (port,) = free_ports(1)
    server = Program(
        "codec-server",
        [sys.executable, "-P", "-c", "import starter.cli; starter.cli.main()", "codec-server"],
        folder=tmp_path,
        environment={
            "TEMPORAL_PAYLOAD_KEYS": base64.b64encode(SECRET).decode(),
            "CODEC_SERVER_ADDRESS": f"127.0.0.1:{port}",
        },
        ready=logs("codec server on"),
    )
    client = await Client.connect(
        temporal_server.address, plugins=[StrictPlugin(EncryptingCodec([SECRET]))]
    )
    async with Stage(settings, database, client, provider) as stage:
        handle = await stage.enroll(await stage.session(starts_in=timedelta(hours=3)))
        assert len((await stage.plan(handle)).reminders) == 3
        server.launch()
        try:
            await asyncio.to_thread(server.wait_until_ready)
            plain = await shown_by_the_command(
                temporal_server,
                handle.id,
                "--codec-endpoint",
                f"http://127.0.0.1:{port}",
                folder=tmp_path,
            )
            without = await shown_by_the_command(temporal_server, handle.id, folder=tmp_path)
        finally:
            await asyncio.to_thread(server.stop)
    for word in ("reminder_type", "30min", "due_at"):
        assert word in readable(plain)
        assert word not in readable(without)
    log = server.log_file.read_text()
    assert "POST /decode" in log
    assert "30min" not in log
