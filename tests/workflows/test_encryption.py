"""With keys, Temporal stores nothing that it could read; what it stored before is still understood."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from reminders.codec import EncryptingCodec
from reminders.db.engine import Database
from reminders.embedded.temporal import EmbeddedTemporal
from reminders.errors import ConfigurationError
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.stage import Stage
from tests.workflows.strict import StrictPlugin

HISTORIES = Path(__file__).parent / "histories"


def readable(history: WorkflowHistory) -> str:
    """Whatever can be read of a history's payloads without a key."""
    text = ""

    def collect(node: object) -> None:
        nonlocal text
        if isinstance(node, dict):
            if isinstance(node.get("data"), str) and "metadata" in node:
                text += base64.b64decode(node["data"]).decode(errors="replace")
            for key, child in node.items():
                if key != "searchAttributes":  # typed and indexed, so never encrypted
                    collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)

    collect(json.loads(history.to_json()))
    return text


async def test_nothing_readable_is_in_a_history(
    settings: Settings,
    database: Database,
    temporal_server: EmbeddedTemporal,
    provider: ProviderClient,
) -> None:
    """Plan, updates, activities, summaries and results are encrypted; all of it works as ever."""
    codec = EncryptingCodec([os.urandom(32)])
    client = await Client.connect(temporal_server.address, plugins=[StrictPlugin(codec)])
    async with Stage(settings, database, client, provider) as stage:
        session = await stage.session(starts_in=timedelta(hours=3))
        handle = await stage.enroll(session)
        await stage.gateway.put_session(session)
        await stage.forward(timedelta(hours=1, minutes=5), handle)
        assert len((await stage.plan(handle)).reminders) == 3
        await stage.forward(timedelta(hours=2), handle)
        await handle.result()
    history = await handle.fetch_history()
    assert len(await provider.accepted()) == 2
    text = readable(history)
    for secret in (str(session.id), "reminder_type", "30min", "due_at", "accepted", "sent"):
        assert secret not in text
    await Replayer(workflows=[], plugins=[StrictPlugin(codec)]).replay_workflow(history)


@pytest.mark.parametrize("state", ["asleep", "moved", "retrying", "finished"])
async def test_what_was_plain_is_still_understood(state: str) -> None:
    """Keys may be added while people sleep: their histories replay."""
    text = await asyncio.to_thread((HISTORIES / f"v1-{state}.json").read_text)
    codec = EncryptingCodec([os.urandom(32)])
    history = WorkflowHistory.from_json(state, text)
    await Replayer(workflows=[], plugins=[StrictPlugin(codec)]).replay_workflow(history)


async def test_keys_are_exchanged_without_a_gap() -> None:
    """The first key encrypts; every listed one decrypts; one that is gone is named by its id only."""
    old, new = os.urandom(32), os.urandom(32)
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'{"plan": 1}')
    before = await EncryptingCodec([old]).encode([payload])
    during = EncryptingCodec([new, old])
    assert [payload] == await during.decode(before)
    after = await during.encode([payload])
    assert [payload] == await EncryptingCodec([new]).decode(after)
    with pytest.raises(ConfigurationError, match="not in TEMPORAL_PAYLOAD_KEYS"):
        await EncryptingCodec([new]).decode(before)


async def test_a_changed_payload_is_noticed() -> None:
    """Whoever can write to Temporal's database cannot change a plan unnoticed."""
    codec = EncryptingCodec([os.urandom(32)])
    [payload] = await codec.encode([Payload(data=b"2026-11-24T10:00:00Z")])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(InvalidTag):
        await codec.decode([payload])


@pytest.mark.parametrize("key", ["hunter2", "A" * 44, base64.b64encode(b"x" * 16).decode(), "ключ"])
def test_what_is_no_key_is_refused_by_the_variable_s_name(key: str) -> None:
    """At the start, with the remedy and without the key."""
    with pytest.raises(ValidationError) as refused:
        Settings(temporal_payload_keys=key)
    told = "; ".join(problem["msg"] for problem in refused.value.errors())
    assert "TEMPORAL_PAYLOAD_KEYS" in told
    assert "openssl rand -base64 32" in told
    assert key not in told
