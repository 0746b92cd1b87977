"""Somebody at a terminal follows the change of a session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import Client

from reminders.settings import Settings
from starter import standing
from starter.assembly import Parts, assembled
from starter.standing import Standing, followed
from tests.starter.conftest import Api, a_worker


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """What commands ask with."""
    async with assembled(settings) as parts:
        yield parts


async def test_a_change_is_followed_to_its_counts(
    api: Api, parts: Parts, client: Client, settings: Settings
) -> None:
    """Nobody works yet, so it is under way; once somebody does, the counts are those of its end."""
    session_id, _ = await api.enrolled()
    under_way = await parts.gateway.cancel_session(session_id, wait=None)
    assert not under_way.is_done
    seen: list[Standing] = []
    async with a_worker(client, settings):
        done = await followed(parts, session_id, under_way, seen.append)
    assert (True, 1, 3) == (done.is_done, done.enrollments, done.reminders.cancelled)
    assert {3} == {now.total for now in seen}
    assert done == await followed(parts, session_id, done, seen.append)


async def test_nobody_is_kept_waiting_for_what_does_not_move(
    api: Api, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker the receipt is given back as it was, and the change stays under way."""
    monkeypatch.setattr(standing, "STILL", timedelta(milliseconds=100))
    session_id, _ = await api.enrolled()
    under_way = await parts.gateway.cancel_session(session_id, wait=None)
    seen: list[Standing] = []
    assert under_way == await followed(parts, session_id, under_way, seen.append)
    assert [Standing(0, 3, "reminders called off")] == seen[:1]
