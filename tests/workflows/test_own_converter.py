"""A host may write payloads in its own way, such as encrypted: everything works as ever."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import (
    ActivitySerializationContext,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from temporalio.worker import Replayer

from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.settings import Settings
from tests.provider import ProviderClient
from tests.stage import Stage
from tests.workflows.strict import StrictPlugin
from workflows.plugin import data_converter


class Mirror(PayloadCodec):
    """Writes backwards, which is as good as encrypted for whoever looks for words."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        return [
            Payload(metadata={"encoding": b"mirrored"}, data=payload.SerializeToString()[::-1])
            for payload in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        return [
            Payload.FromString(payload.data[::-1])
            if payload.metadata["encoding"] == b"mirrored"
            else payload
            for payload in payloads
        ]


class Keyed(Mirror, WithSerializationContext):
    """Writes for each workflow with a key of its own, and reads with no other."""

    def __init__(self, key: bytes = b"") -> None:
        """Use the key of nobody, or of a workflow."""
        self.key = key

    def with_context(self, context: SerializationContext) -> Self:
        """See base class."""
        assert isinstance(context, (WorkflowSerializationContext, ActivitySerializationContext))
        return type(self)((context.workflow_id or "").encode())

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        encoded = await super().encode(payloads)
        for payload in encoded:
            payload.metadata["key"] = self.key
        return encoded

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        # What tests before this one left in the namespace has none.
        keys = {p.metadata["key"] for p in payloads if "key" in p.metadata}
        assert keys <= {self.key}
        return await super().decode(payloads)


def readable(history: WorkflowHistory) -> str:
    """Whatever can be read of a history's payloads as they are stored."""
    text = ""

    def collect(node: object) -> None:
        nonlocal text
        if isinstance(node, dict):
            if isinstance(node.get("data"), str) and "metadata" in node:
                text += base64.b64decode(node["data"]).decode(errors="replace")
            for key, child in node.items():
                if key != "searchAttributes":  # typed and indexed, so never encoded
                    collect(child)
        elif isinstance(node, list):
            for child in node:
                collect(child)

    collect(json.loads(history.to_json()))
    return text


@pytest.mark.parametrize("codec", [Mirror(), Keyed()], ids=["mirror", "keyed"])
async def test_nothing_is_stored_but_by_the_host_s_converter(
    codec: PayloadCodec,
    settings: Settings,
    database: Database,
    temporal_server: EmbeddedTemporal,
    provider: ProviderClient,
) -> None:
    """Plan, updates, activities, summaries and results pass through it; the history replays."""
    own = StrictPlugin(
        dataclasses.replace(
            data_converter,
            payload_codec=codec,
            failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
        )
    )
    client = await Client.connect(temporal_server.address, plugins=[own])
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
    for word in (str(session.id), "reminder_type", "30min", "due_at", "accepted", "sent"):
        assert word not in text
    await Replayer(workflows=[], plugins=[own]).replay_workflow(history)
