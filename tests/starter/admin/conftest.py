"""The pages without a browser: the real application on real servers, signed in or not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx2
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from devstack.temporal import EmbeddedTemporal
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import ReminderStatus
from reminders.settings import Settings
from tests.starter.conftest import Api, serving, shared
from workflows.session_reminder import SessionReminderWorkflow

NAME, PASSWORD = "maria", "correct horse battery"

_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]+)"')


class Pages(Api):
    """A browser without a screen: keeps cookies, and sends forms as a browser would."""

    def __init__(self, api: Api) -> None:
        """Visit the pages of a running API."""
        httpx2.AsyncClient.__init__(
            self, transport=api._transport, base_url="http://127.0.0.1:8000"
        )
        self.api = api

    async def sign_in(self, name: str = NAME, password: str = PASSWORD) -> httpx2.Response:
        """The answer to name and password."""
        return await self.post("/admin/sign-in", data={"username": name, "password": password})

    async def token(self) -> str:
        """What the forms of this session carry."""
        found = _TOKEN.search((await self.get("/admin/people")).text)
        assert found is not None
        return found[1]

    async def submit(self, path: str, **fields: str) -> httpx2.Response:
        """The answer to a form of ours."""
        return await self.post(path, data={"csrf": await self.token(), **fields})


async def planned(
    client: Client, session_id: UUID, user_id: UUID
) -> dict[str, tuple[int, ReminderStatus, datetime]]:
    """What an enrollment's workflow itself says it will do: generation, status, due instant by type."""
    handle = client.get_workflow_handle(session_reminder_workflow_id(session_id, user_id))
    plan = await handle.query(SessionReminderWorkflow.plan)
    return {r.reminder_type: (r.generation, r.status, r.due_at) for r in plan.reminders}


async def updates(client: Client, session_id: UUID, user_id: UUID) -> int:
    """How many new plans the newest run of an enrollment's workflow has in its history."""
    handle = client.get_workflow_handle(session_reminder_workflow_id(session_id, user_id))
    accepted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    return sum(e.event_type == accepted for e in (await handle.fetch_history()).events)


@pytest.fixture
def admin_settings(settings: Settings) -> Settings:
    """Settings with somebody who may sign in."""
    return with_sign_in(settings)


def with_sign_in(settings: Settings, **more: Any) -> Settings:
    """The same settings, with somebody who may sign in."""
    return Settings.model_validate(
        {**dict(settings), "admin_username": NAME, "admin_password": PASSWORD, **more}
    )


@pytest.fixture
async def visit(admin_settings: Settings) -> AsyncIterator[Pages]:
    """Somebody who is not signed in yet."""
    async with serving(admin_settings) as api, Pages(api) as pages:
        yield pages


@pytest.fixture
async def pages(visit: Pages) -> Pages:
    """Somebody who is signed in."""
    assert 303 == (await visit.sign_in()).status_code
    return visit


@pytest.fixture(scope="session")
async def shared_pages(
    shared_database_url: str, temporal_server: EmbeddedTemporal
) -> AsyncIterator[Api]:
    """One application with pages for all tests of what they refuse."""
    who = {"admin_username": NAME, "admin_password": PASSWORD}
    async with shared(shared_database_url, temporal_server, **who) as api:
        yield api
