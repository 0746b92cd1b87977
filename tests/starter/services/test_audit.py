"""Who did what and why is written down once, whichever entrance it came through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from devstack.ports import free_ports
from reminders import temporal
from reminders.db.audit import Action, AuditLog, By
from reminders.db.engine import Database
from reminders.settings import Settings
from starter.assembly import assembled
from starter.cli.main import app
from starter.services.handover import Handover
from starter.services.session_changes import SessionChanges
from tests.starter.conftest import Api, a_worker, serving

WHY = "ticket 4711"

SESSION_VERBS = [
    (Action.SESSION_REPLANNED, "changed", ("session", "changed")),
    (Action.SESSION_CANCELLED, "cancel", ("cancel", "--yes")),
    (Action.SESSION_RESTORED, "restore", ("session", "restore")),
]
"""The entry, its route below the session, and its command."""


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the test's parts in the environment."""
    monkeypatch.setenv("DATABASE_URL", settings.require_database_url())
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)


@pytest.fixture
async def log(database: Database) -> AuditLog:
    """What is written down."""
    return AuditLog(database)


@pytest.fixture
async def working(client: Client, settings: Settings) -> AsyncIterator[None]:
    """A worker, so that counts come at once."""
    async with a_worker(client, settings):
        yield


async def command(*arguments: object) -> None:
    """A command that does as it is told."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output


async def told(log: AuditLog, session_id: UUID) -> list[tuple[Action, str, str | None]]:
    """Everything that is written down about a session, the earliest first."""
    entries = reversed(await log.entries(session_id=session_id))
    return [(e.action, e.actor, e.reason) for e in entries]


@pytest.mark.usefixtures("working")
async def test_a_session_is_replanned_cancelled_and_restored_on_record(
    api: Api, log: AuditLog
) -> None:
    """By route and by command: one entry each, with its counts; a dry run leaves none."""
    session_id, _ = await api.enrolled()
    await api.post(f"/v1/sessions/{session_id}/cancel", json={"dry_run": True})
    await command("cancel", session_id, "--dry-run")
    for _, path, words in SESSION_VERBS:
        route = f"/v1/sessions/{session_id}/{path}"
        response = await api.post(route, json={"reason": WHY})
        assert response.status_code == 200, response.text
        await command(*words, session_id, "--reason", WHY)
    expected = [(action, actor, WHY) for action, _, _ in SESSION_VERBS for actor in ("api", "cli")]
    assert expected == await told(log, session_id)
    newest = (await log.entries(session_id=session_id))[0]
    assert newest.details["enrollments"] == 1


async def test_an_enrollment_is_ended_on_record(api: Api, log: AuditLog) -> None:
    """By route, whose reason is in the query, and by command; whose enrollment is said by its id."""
    session_id, user_id = await api.enrolled()
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}", params={"reason": WHY})
    await command("cancel", session_id, user_id, "--reason", WHY)
    expected = [(Action.UNENROLLED, "api", WHY), (Action.UNENROLLED, "cli", WHY)]
    assert expected == await told(log, session_id)
    assert {user_id} == {e.user_id for e in await log.entries(session_id=session_id)}


@pytest.mark.usefixtures("working")
async def test_a_session_that_is_stored_is_on_record(api: Api, log: AuditLog) -> None:
    """Renamed, moved, cancelled and restored; new, or stored as it is, nothing has changed."""
    session_id = await api.session()
    body = (await api.get(f"/v1/sessions/{session_id}")).json()
    stored = {k: body[k] for k in ("title", "start_time", "time_zone", "status")}
    later = (datetime.fromisoformat(stored["start_time"]) + timedelta(hours=1)).isoformat()
    for change in (
        {"title": "Another"},
        {"start_time": later},
        {},
        {"status": "cancelled"},
        {"status": "scheduled"},
    ):
        stored |= change
        assert (await api.put(f"/v1/sessions/{session_id}", json=stored)).is_success
    assert [
        Action.SESSION_CHANGED,
        Action.SESSION_MOVED,
        Action.SESSION_CANCELLED,
        Action.SESSION_RESTORED,
    ] == [action for action, *_ in await told(log, session_id)]
    *_, moved, changed = await log.entries(session_id=session_id)
    assert later == moved.details["after"]["start_time"]
    assert ["title"] == changed.details["fields"]


@pytest.mark.usefixtures("impatient")
async def test_who_is_enrolled_by_hand_or_once_more_is_on_record(api: Api, log: AuditLog) -> None:
    """What a platform enrolls for the first time is not: its enrollments tell that."""
    session_id, user_id = await api.enrolled()
    enrollment = {"session_id": str(session_id), "user_id": str(user_id)}
    await api.post("/v1/enrollments", json=enrollment)
    assert [] == await told(log, session_id)
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}")
    await api.post("/v1/enrollments", json={**enrollment, "reason": WHY})
    await command("enroll", session_id, await api.user(), "--reason", WHY)
    assert [
        (Action.UNENROLLED, "api", None),
        (Action.ENROLLED, "api", WHY),
        (Action.ENROLLED, "cli", WHY),
    ] == await told(log, session_id)


@pytest.mark.usefixtures("impatient")
async def test_what_becomes_of_a_person_is_on_record(api: Api, log: AuditLog) -> None:
    """Preferences and erasure, with why; what was written of them before keeps no reason."""
    _, user_id = await api.enrolled()
    await api.put(
        f"/v1/users/{user_id}/preferences",
        json={"opt_outs": [{"reminder_type": "24h"}], "reason": WHY},
    )
    await command("preferences", "stop", user_id, "--type", "2h", "--reason", WHY)
    await command("preferences", "resume", user_id, "--type", "2h", "--reason", WHY)
    entries = await log.entries(user_id=user_id)
    assert [("cli", WHY), ("cli", WHY), ("api", WHY)] == [(e.actor, e.reason) for e in entries]
    await command("erase", user_id, "--yes", "--reason", WHY)
    await api.delete(f"/v1/users/{user_id}", params={"reason": "once more"})
    (again, _, *before) = await log.entries(user_id=user_id)
    assert (Action.USER_ERASED, "api", "once more") == (again.action, again.actor, again.reason)
    assert {None} == {entry.reason for entry in before}


@pytest.mark.usefixtures("no_sweep_left")
async def test_a_sweep_by_hand_is_on_record(api: Api, log: AuditLog) -> None:
    """By route and by command, with the run."""
    before = (await log.entries(limit=1) or (None,))[0]
    since = before.id if before and before.id else 0
    assert (await api.post("/v1/sweeps", json={"reason": WHY})).status_code == 202
    await command("sweep", "--reason", WHY)
    mine = [e for e in await log.entries() if (e.id or 0) > since and e.reason == WHY]
    assert [("cli", True), ("api", False)] == [(e.actor, e.details["was_running"]) for e in mine]


async def test_what_is_done_without_temporal_is_on_record(
    settings: Settings, log: AuditLog, monkeypatch: pytest.MonkeyPatch, api: Api
) -> None:
    """The ledger is cancelled and nothing is sent any more: that is on record, whoever is away."""
    session_id, user_id = await api.enrolled()
    (port,) = free_ports(1)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{port}")
    async with serving(settings) as cut_off:
        refused = await cut_off.delete(f"/v1/enrollments/{session_id}/{user_id}")
    assert refused.status_code == 503
    assert [(Action.UNENROLLED, "api", None)] == await told(log, session_id)


@pytest.mark.parametrize("verb", ["cancel_session", "restore_session", "unenroll"])
async def test_what_a_process_did_before_it_died_is_on_record(
    settings: Settings, log: AuditLog, monkeypatch: pytest.MonkeyPatch, api: Api, verb: str
) -> None:
    """Ledger and audit log are written together, whatever becomes of the rest."""

    class KilledError(BaseException):
        """Nothing after it runs."""

    async def killed(*_: object, **__: object) -> None:
        raise KilledError

    session_id, user_id = await api.enrolled()
    monkeypatch.setattr(SessionChanges, "start", killed)
    monkeypatch.setattr(Handover, "hand_over", killed)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    async with assembled(settings) as parts:
        call = getattr(parts.gateway, verb)
        whom = (session_id, user_id) if verb == "unenroll" else (session_id,)
        with pytest.raises(KilledError):
            await call(*whom, By("test", WHY))
    assert [("test", WHY)] == [(actor, why) for _, actor, why in await told(log, session_id)]


async def test_a_reason_that_cannot_be_kept_is_refused_before_anything_is_done(
    api: Api, log: AuditLog
) -> None:
    """It is too long: the session is not cancelled, and nothing is written down."""
    session_id = await api.session()
    body = {"reason": "x" * 501}
    assert (await api.post(f"/v1/sessions/{session_id}/cancel", json=body)).status_code == 422
    assert (await api.get(f"/v1/sessions/{session_id}")).json()["status"] == "scheduled"
    assert [] == await told(log, session_id)
