"""Parts that accept connections and never answer: one budget for all that a request waits, and the part named."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from reminders import budget
from reminders.db.engine import Database
from reminders.domain.errors import DatabaseUnavailableError
from reminders.settings import Settings
from starter.health import examiner
from tests.starter.admin.conftest import Pages, with_sign_in
from tests.starter.conftest import a_body, serving

SOON = 30
"""Seconds; more than a budget of half a second, and less than any single time-out of a part here."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget that a test can wait for, of the part that is silent."""
    monkeypatch.setitem(budget.PATIENCE, "Temporal", 0.5)
    monkeypatch.setattr(examiner, "PATIENCE", timedelta(seconds=1))


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """Where a server takes connections and says nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            while await reader.read(4096):
                pass

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    server.close()
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_a_request_waits_once_for_temporal_and_says_what_holds(
    settings: Settings, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled all the same; the answers, of API and page, say so and what follows by itself."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", silent)
    async with serving(with_sign_in(settings)) as api, Pages(api) as pages:
        await pages.sign_in()
        session_id = uuid4()
        await api.put(f"/v1/sessions/{session_id}", json=a_body())
        began = monotonic()
        answer = await api.post(f"/v1/sessions/{session_id}/cancel", json={})
        assert monotonic() - began < SOON
        assert 503 == answer.status_code
        assert (
            "Temporal does not answer now; what was asked for is stored" in answer.json()["detail"]
        )
        assert "cancelled" == (await api.get(f"/v1/sessions/{session_id}")).json()["status"]
        page = await pages.submit(f"/admin/sessions/{session_id}/restore", reason="after all")
        assert 503 == page.status_code
        assert "Stored, but Temporal does not answer" in page.text
        assert f'href="/admin/sessions/{session_id}"' in page.text
        assert "scheduled" == (await api.get(f"/v1/sessions/{session_id}")).json()["status"]
        runs = await pages.get("/admin/runs")
        assert (503, False) == (runs.status_code, "is stored" in runs.text)
        sweep = await pages.submit("/admin/sweeps", reason="x")
        assert (503, False) == (sweep.status_code, "is stored" in sweep.text)


async def test_an_enrollment_is_explained_while_temporal_is_silent(
    settings: Settings, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workflow is not said to be unknown to Temporal, which nobody could ask."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", silent)
    async with serving(settings) as api:
        session_id, user_id = await api.session(), await api.user()
        assert 503 == (await api.enroll(session_id, user_id)).status_code
        began = monotonic()
        why = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
        assert monotonic() - began < SOON
        assert "unknown" == why["workflow"]["status"]
        assert 3 == len(why["reminders"])


async def test_a_page_waits_once_for_postgresql_and_names_it_once(
    settings: Settings, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The overview asks it many things; a person's page several, one after the other."""
    monkeypatch.setitem(budget.PATIENCE, "PostgreSQL", 0.5)
    away = Settings.model_validate({
        **dict(settings), "database_url": f"postgresql://u:p@{silent}/away",
    })  # fmt: skip
    async with serving(with_sign_in(away)) as api, Pages(api) as pages:
        await pages.sign_in()
        for path in (f"/admin/people/{uuid4()}", f"/admin/sessions/{uuid4()}", "/admin/failed"):
            began = monotonic()
            answer = await pages.get(path)
            assert (503, True) == (answer.status_code, "PostgreSQL" in answer.text)
            assert monotonic() - began < SOON
        overview = (await pages.get("/admin")).text
        attention = overview.partition('class="attention')[2].partition("</section>")[0]
        assert 1 == attention.count("PostgreSQL does not answer")
        ready = await api.get("/readyz")
        assert "PostgreSQL does not answer" in ready.json()["cause"]


async def test_a_connection_that_falls_silent_is_not_waited_for_once_more(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving it up takes no two seconds more: whoever asked has waited already."""
    monkeypatch.setitem(budget.PATIENCE, "PostgreSQL", 0.5)
    took: list[float] = []
    for _ in range(3):  # a machine may stand still once
        answers = await database.scalar(select(func.pg_backend_pid()))
        os.kill(answers, signal.SIGSTOP)
        try:
            began = monotonic()
            with budget.one_budget(), pytest.raises(DatabaseUnavailableError):
                await database.rows(select(1))
            took.append(monotonic() - began)
        finally:
            os.kill(answers, signal.SIGCONT)
    assert min(took) < 2
