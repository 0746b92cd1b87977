"""The API over HTTP semantics, without a socket: the real application on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI
from temporalio.client import Client

import worker
from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.domain.contracts import (
    CloseRemindersInput,
    CloseRemindersResult,
    SessionChangeResult,
)
from reminders.domain.keys import SWEEP_ID
from reminders.domain.ports import Deliverer
from reminders.observability.listening import listen
from reminders.settings import Settings
from reminders.temporal import ensure_schedule
from starter.app import create_app
from starter.assembly import assemble
from starter.plugin import activities
from starter.services import enrollments, session_changes
from starter.services.namespace import sweep_schedule
from tests.leaks import watch

KEY = "test-key-5Jq8vXw2Zr7LmT4c"
ADDRESS = "ana.ruiz@hospital.example"

Json = dict[str, Any]


class Api(httpx2.AsyncClient):
    """A client of one application, with a valid key and verbs that read as prose."""

    def __init__(self, app: FastAPI, **options: Any) -> None:
        """Talk to this application as a program on this machine would."""
        self.app = app
        super().__init__(
            transport=httpx2.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1:8000",
            **{"headers": {"Authorization": f"Bearer {KEY}"}, **options},
        )

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request; what it answers in its own words holds nothing private."""
        response = await super().send(request, **options)
        if response.is_error or request.url.path in ("/metrics", "/readyz"):
            await response.aread()
            watch.text(response.text, source=f"answer to {request.method} {request.url.path}")
        return response

    async def session(self, *, starts_in: timedelta = timedelta(days=7), **fields: Any) -> UUID:
        """A stored session."""
        session_id = uuid4()
        response = await self.put(f"/v1/sessions/{session_id}", json=a_body(starts_in, **fields))
        assert response.status_code == 201, response.text
        return session_id

    async def user(self) -> UUID:
        """A stored person."""
        user_id = uuid4()
        response = await self.put(f"/v1/users/{user_id}", json={"email": ADDRESS})
        assert response.status_code == 201, response.text
        return user_id

    async def enrolled(self, **fields: Any) -> tuple[UUID, UUID]:
        """Session and user of a new enrollment."""
        session_id, user_id = await self.session(**fields), await self.user()
        response = await self.enroll(session_id, user_id)
        assert response.status_code == 201, response.text
        return session_id, user_id

    async def enroll(self, session_id: UUID, user_id: UUID, **fields: Any) -> httpx2.Response:
        """The answer to an enrollment."""
        body = {"session_id": str(session_id), "user_id": str(user_id), **fields}
        return await self.post("/v1/enrollments", json=body)


def a_body(starts_in: timedelta = timedelta(days=7), **fields: Any) -> Json:
    """A session as it is put."""
    start = (datetime.now(UTC) + starts_in).replace(microsecond=0)
    return {"title": "Cardiology update", "start_time": start.isoformat(), **fields}


@asynccontextmanager
async def serving(settings: Settings, **options: Any) -> AsyncIterator[Api]:
    """An API with these settings, started and stopped as a server would."""
    app = create_app(settings)
    async with app.router.lifespan_context(app), Api(app, **options) as api:
        yield api


@asynccontextmanager
async def listening(settings: Settings, app: FastAPI | None = None) -> AsyncIterator[str]:
    """The API, or an application made of it, on a port of this machine, as uvicorn serves it; its URL."""

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Leave the signals to pytest."""
            yield

    config = uvicorn.Config(app or create_app(settings), log_config=None, lifespan="on", ws="none")
    server = Server(config)
    with listen("127.0.0.1", 0) as listener:
        serves = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serves


class _NobodyIsDue:
    """Stands in for the delivery where no reminder comes due; a workflow that ends asks it."""

    async def close(self, request: CloseRemindersInput) -> CloseRemindersResult:
        """Nothing is left waiting: the ledger was cancelled first."""
        return CloseRemindersResult(closed=0, in_doubt=0)


@asynccontextmanager
async def a_worker(client: Client, settings: Settings) -> AsyncIterator[None]:
    """A worker, for workflows that sleep, for changes of their sessions, and for sweeps.

    Where it runs, whoever asks for a change's counts gets them, however busy this machine is.
    """
    database = Database(settings.require_database_url())
    parts = assemble(settings, database, client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_changes, "result_in_time", _result_at_last)
        async with worker.build_worker(
            client,
            activities(parts, cast(Deliverer, _NobodyIsDue())),
            task_queue=settings.temporal_task_queue,
        ):
            yield
    await database.aclose()


async def _result_at_last(
    handle: session_changes.ChangeHandle, wait: timedelta
) -> SessionChangeResult | None:
    """What a caller waits for, with the patience of a test instead of his own."""
    return await _result_in_time(handle, max(wait, timedelta(minutes=1)))


_result_in_time = session_changes.result_in_time


@pytest.fixture(autouse=True, scope="session")
async def _scheduled(client: Client) -> None:
    """The sweep's Schedule, which readiness asks for, at an hour when no test runs."""
    await ensure_schedule(
        client, SWEEP_ID, sweep_schedule("0 0 1 1 *", task_queue="nobody-polls-this")
    )


@pytest.fixture(scope="session")
def shared_database_url(postgres: EmbeddedPostgres) -> str:
    """URL of a migrated database for all tests that look at their own sessions only."""
    postgres.create_database("starter", template="template")
    return postgres.url("starter")


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of the settings."""
    database = Database(settings.require_database_url())
    yield database
    await database.aclose()


@pytest.fixture
def settings(
    shared_database_url: str, temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings that point at the embedded parts, with a task queue of this test's own."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    return Settings(
        database_url=shared_database_url,
        temporal_task_queue=f"test-{uuid4()}",
        temporal_ui_url="http://127.0.0.1:8233/",
        api_keys=KEY,
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for workflows that no worker runs."""
    monkeypatch.setattr(enrollments, "UPDATE_TIMEOUT", timedelta(milliseconds=200))


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The API, on PostgreSQL and Temporal."""
    async with serving(settings) as api:
        yield api


@asynccontextmanager
async def shared(database_url: str, server: EmbeddedTemporal, **more: Any) -> AsyncIterator[Api]:
    """An API for many tests, with these settings as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", server.address)
        patch.setitem(Settings.model_config, "env_file", None)
        async with serving(Settings(database_url=database_url, api_keys=KEY, **more)) as api:
            yield api


@pytest.fixture(scope="session")
async def shared_api(
    shared_database_url: str, temporal_server: EmbeddedTemporal
) -> AsyncIterator[Api]:
    """One API for all tests that leave nothing behind: those of what is refused."""
    async with shared(shared_database_url, temporal_server) as api:
        yield api
