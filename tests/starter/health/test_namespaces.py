"""Namespaces as they are found: attributes of another type, no room for more, short retention."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client

import worker
from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.domain.errors import ConfigurationError
from reminders.domain.model import Session
from reminders.settings import Settings
from starter.assembly import assembled
from starter.health.diagnosis import Check, Level
from tests.namespaces import a_namespace

INT, KEYWORD = (
    IndexedValueType.INDEXED_VALUE_TYPE_INT,
    IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
)


async def namespaced(
    client: Client, attributes: Mapping[str, IndexedValueType.ValueType], **options: timedelta
) -> str:
    """The name of a namespace with these search attributes."""
    name = await a_namespace(client, **options)
    if attributes:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=name, search_attributes=attributes)
        )
    return name


async def start(settings: Settings) -> None:
    """Start a worker that stops at once."""
    stop = asyncio.Event()
    stop.set()
    await worker.run(settings.model_copy(update={"resend_api_key": "re_test"}), stop)


async def check(settings: Settings, name: str) -> Check:
    """What `doctor` finds."""
    async with assembled(settings) as parts:
        checks = (await parts.examiner.examine()).checks
    return next(found for found in checks if found.name == name)


async def test_a_search_attribute_of_another_type(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker does not start and `doctor` is red: both name it, both types and the command."""
    name = await namespaced(client, {"SessionId": INT})
    monkeypatch.setenv("TEMPORAL_NAMESPACE", name)
    words = "SessionId as Int, and Keyword is needed; .*search-attribute remove --name SessionId"
    with pytest.raises(ConfigurationError, match=words):
        await start(settings)
    found = await check(settings, "search_attributes")
    assert (Level.RED, True) == (found.level, "as Int" in found.detail)
    assert "search-attribute remove" in (found.remedy or "")


async def test_no_room_for_another_search_attribute(
    settings: Settings,
    client: Client,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server's own words are passed on in one line, with the remedy."""
    name = await namespaced(client, {f"Other{n}": KEYWORD for n in range(9)})
    monkeypatch.setenv("TEMPORAL_NAMESPACE", name)
    with pytest.raises(
        ConfigurationError, match=r"does not take .*SessionId.*remove some"
    ) as error:
        await start(settings)
    assert "\n" not in str(error.value)
    full = await Client.connect(temporal_server.address, namespace=name)
    assert "SessionId" in await temporal.missing_search_attributes(full)


async def test_a_namespace_that_soon_forgets(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept for less than a day is a warning, with the command."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", await namespaced(client, {}))
    assert Level.OK is (await check(settings, "temporal")).level
    short = await namespaced(client, {}, retention=timedelta(hours=2))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", short)
    found = await check(settings, "temporal")
    assert (Level.WARNING, True) == (found.level, "2 h after their end" in found.detail)
    assert f"--namespace {short} --retention" in (found.remedy or "")


async def test_a_session_that_is_longer_than_runs_are_kept(
    settings: Settings, client: Client, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A course of ten days, and a week of retention: named, with a command that suffices."""
    own = settings.model_copy(update={"database_url": SecretStr(database_url)})
    week = await namespaced(client, {}, retention=timedelta(days=7))
    monkeypatch.setenv("TEMPORAL_NAMESPACE", week)
    starts_at = datetime.now(UTC) + timedelta(days=1)
    course = Session(id=uuid4(), title="A course", starts_at=starts_at)
    async with assembled(own) as parts:
        for length in (None, timedelta(days=7)):
            ends_at = starts_at + length if length else None
            await parts.catalogue.put_session(replace(course, ends_at=ends_at))
            assert Level.OK is (await check(own, "temporal")).level
        ends_at = starts_at + timedelta(days=9, hours=6)
        await parts.catalogue.put_session(replace(course, ends_at=ends_at))
    found = await check(own, "temporal")
    assert (Level.WARNING, True) == (found.level, "a coming session takes 222 h" in found.detail)
    assert f"--namespace {week} --retention 10d" in (found.remedy or "")
