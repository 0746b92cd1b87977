"""Preferences, pending enrollments and erasure over HTTP and by command."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from temporalio.client import Client
from typer.testing import CliRunner, Result

from reminders import temporal
from reminders.db import preferences
from reminders.db.audit import AuditLog
from reminders.db.engine import Database
from reminders.db.preference_store import PreferenceStore
from reminders.db.sessions import Catalogue
from reminders.domain.errors import DatabaseUnavailableError
from reminders.domain.model import StatusReason
from reminders.settings import Settings
from starter.cli.main import app
from tests.starter.conftest import Api, Json, a_worker


async def decisions(api: Api, session_id: UUID, user_id: UUID) -> set[str]:
    """What became of an enrollment's reminders, in words."""
    story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
    return {reminder["decision"] for reminder in story["reminders"]}


class TestPreferences:
    """GET and PUT /v1/users/{user_id}/preferences."""

    async def test_put_then_get(
        self, api: Api, client: Client, settings: Settings, database: Database
    ) -> None:
        """What was put is what is got; the same call twice changes nothing the second time."""
        session_id, user_id = await api.enrolled()
        path = f"/v1/users/{user_id}/preferences"
        body = {"opt_outs": [{"reminder_type": "24h"}, {"session_id": str(uuid4())}]}
        body["opt_outs"][1] = {"session_id": str(session_id), "reminder_type": "2h"}
        async with a_worker(client, settings):
            first, second = [await api.put(path, json=body) for _ in range(2)]
        assert 200 == first.status_code, first.text
        told = first.json()
        assert (2, 1, 0) == (told["skipped"], told["scheduled"], told["in_flight"])
        assert (0, 1) == (second.json()["skipped"], second.json()["scheduled"])
        got = (await api.get(path)).json()
        assert got == {
            "user_id": str(user_id),
            "opt_outs": [
                {"session_id": None, "reminder_type": "24h"},
                {"session_id": str(session_id), "reminder_type": "2h"},
            ],
            "withheld": [],
        }
        (entry,) = await AuditLog(database).entries(user_id=user_id)
        assert "api" == entry.actor
        assert 2 == len(entry.details["opted_out"])

    @pytest.mark.parametrize(
        ("opt_out", "field"),
        [
            ({"reminder_type": "25h"}, "opt_outs.reminder_type"),
            ({"session_id": str(uuid4())}, "opt_outs.session_id"),
            ({"session": "x"}, "opt_outs.0.session"),
            ({"reminder_type": ""}, "opt_outs.0.reminder_type"),
        ],
    )
    async def test_what_does_not_exist_is_refused(
        self, api: Api, opt_out: Json, field: str
    ) -> None:
        """A misspelt type or session would be silently without effect: the field is named."""
        path = f"/v1/users/{await api.user()}/preferences"
        answer = await api.put(path, json={"opt_outs": [opt_out]})
        assert 422 == answer.status_code
        assert field == answer.json()["errors"][0]["field"]
        assert [] == (await api.get(path)).json()["opt_outs"]

    async def test_of_nobody(self, shared_api: Api) -> None:
        """A person who does not exist is a 404."""
        path = f"/v1/users/{uuid4()}/preferences"
        for answer in (
            await shared_api.get(path),
            await shared_api.put(path, json={"opt_outs": []}),
        ):
            assert 404 == answer.status_code
            assert answer.json()["type"].endswith(":user-not-found")


class TestUnblock:
    """POST /v1/users/{user_id}/unblock."""

    async def test_a_block_is_lifted(
        self, api: Api, client: Client, settings: Settings, database: Database
    ) -> None:
        """With a reason, in the audit log; what lies ahead is planned anew. Nothing to lift is none."""
        session_id, user_id = await api.enrolled()
        path = f"/v1/users/{user_id}/unblock"
        async with database.transaction() as connection:
            await preferences.block(
                connection, user_id, await address(database, user_id), StatusReason.ADDRESS_BOUNCED
            )
        async with a_worker(client, settings):
            await api.put(f"/v1/users/{user_id}/preferences", json={"opt_outs": []})
            assert ["address_bounced"] == (await withheld(api, user_id))
            assert not any("is due" in d for d in await decisions(api, session_id, user_id))
            first, second = [await api.post(path, json={"reason": "it works"}) for _ in range(2)]
        assert [200, 200] == [first.status_code, second.status_code], first.text
        assert [[], 3] == [first.json()["withheld"], first.json()["scheduled"]]
        entries = await AuditLog(database).entries(user_id=user_id)
        assert [["address_bounced"]] == [
            entry.details["lifted"] for entry in entries if "lifted" in entry.details
        ]


async def test_a_new_address_is_reminded_at_once(
    api: Api, client: Client, settings: Settings, database: Database
) -> None:
    """What was skipped because the old one had bounced is planned anew, and not at the next sweep.

    That may be minutes after it was due. The same address once more changes nothing.
    """
    session_id, user_id = await api.enrolled()
    old = await address(database, user_id)
    async with database.transaction() as connection:
        await preferences.block(connection, user_id, old, StatusReason.ADDRESS_BOUNCED)
    async with a_worker(client, settings):
        for email, waiting in ((old.upper(), 0), ("corrected@hospital.example", 3)):
            stored = await api.put(f"/v1/users/{user_id}", json={"email": email})
            assert 200 == stored.status_code, stored.text
            story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
            assert waiting == sum(r["email_status"] == "scheduled" for r in story["reminders"])


async def test_an_address_whose_plan_failed_is_followed_all_the_same(
    api: Api, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored is noted with it: the log has it, and the sweep begins with it."""
    session_id, user_id = await api.enrolled()
    old = await address(database, user_id)
    async with database.transaction() as connection:
        await preferences.block(connection, user_id, old, StatusReason.ADDRESS_BOUNCED)
        await connection.execute(text("DELETE FROM unconfirmed_plans"))

    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailableError

    with monkeypatch.context() as patch:
        patch.setattr(PreferenceStore, "change", away)
        body = {"email": "corrected@hospital.example"}
        assert 503 == (await api.put(f"/v1/users/{user_id}", json=body)).status_code
    assert 200 == (await api.put(f"/v1/users/{user_id}", json=body)).status_code
    (entry,) = await AuditLog(database).entries(user_id=user_id)
    assert ["address_bounced"] == entry.details["lifted"]
    async with database.transaction() as connection:
        noted = await connection.execute(text("SELECT session_id, user_id FROM unconfirmed_plans"))
        assert [(session_id, user_id)] == [tuple(row) for row in noted]


async def address(database: Database, user_id: UUID) -> str:
    """Of a person."""
    return (await Catalogue(database).user(user_id)).email


async def withheld(api: Api, user_id: UUID) -> list[str]:
    """Why nothing goes to a person."""
    found: list[str] = (await api.get(f"/v1/users/{user_id}/preferences")).json()["withheld"]
    return found


class TestPending:
    """POST /v1/enrollments with a status."""

    async def test_pending_then_confirmed(
        self, api: Api, client: Client, settings: Settings
    ) -> None:
        """A pending enrollment has reasons and no reminders; confirmed, it has its reminders."""
        session_id, user_id = await api.session(), await api.user()
        pending = await api.enroll(session_id, user_id, status="pending")
        assert 201 == pending.status_code
        assert 0 == pending.json()["scheduled_reminders"]
        assert {"not sent: the enrollment was not confirmed"} == await decisions(
            api, session_id, user_id
        )
        async with a_worker(client, settings):
            confirmed = await api.enroll(session_id, user_id)
            late = await api.enroll(session_id, user_id, status="pending")
        assert [3, 3] == [a.json()["scheduled_reminders"] for a in (confirmed, late)]
        story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
        assert "confirmed" == story["enrollment_status"]

    async def test_another_status(self, shared_api: Api) -> None:
        """Anything but confirmed and pending is refused, by the field's name."""
        answer = await shared_api.enroll(uuid4(), uuid4(), status="cancelled")
        assert (422, "status") == (answer.status_code, answer.json()["errors"][0]["field"])


class TestErasure:
    """DELETE /v1/users/{user_id}."""

    async def test_erase(self, api: Api, client: Client, settings: Settings) -> None:
        """Counted beforehand, then done, then done already; and the links' owner is gone."""
        session_id, user_id = await api.enrolled()
        path = f"/v1/users/{user_id}"
        async with a_worker(client, settings):
            answers = [
                await api.delete(path, params={"dry_run": True}),
                await api.delete(path),
                await api.delete(path),
            ]
        assert [200] * 3 == [answer.status_code for answer in answers]
        counted, done, again = [answer.json() for answer in answers]
        assert {**counted, "dry_run": False} == done
        assert (1, 3, 3) == (done["workflows"], done["cancelled"], done["kept"])
        assert (True, 0, 3) == (again["already_erased"], again["cancelled"], again["kept"])
        assert 3 == len(done["remains"])
        assert 404 == (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).status_code
        enrolled = await api.enroll(session_id, user_id)
        assert enrolled.json()["type"].endswith(":user-not-found")

    async def test_nobody(self, shared_api: Api) -> None:
        """Somebody who never was is a 404."""
        assert 404 == (await shared_api.delete(f"/v1/users/{uuid4()}")).status_code


class TestCommands:
    """`reminders preferences` and `reminders erase`."""

    @pytest.fixture(autouse=True)
    def _environment(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", settings.require_database_url())
        monkeypatch.setenv("TEMPORAL_TASK_QUEUE", settings.temporal_task_queue)
        monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)  # this process does not exit

    @staticmethod
    async def reminders(*arguments: object) -> Result:
        """The outcome of a command; in a thread, because it runs an event loop of its own."""
        words = [str(argument) for argument in arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, words)

    async def answer(self, *arguments: object) -> Any:
        """A command's JSON."""
        result = await self.reminders(*arguments, "--json")
        assert 0 == result.exit_code, result.output
        return json.loads(result.stdout)

    async def test_stop_show_resume(self, api: Api, client: Client, settings: Settings) -> None:
        """A stop by type is shown, skips that type, and is taken back."""
        _, user_id = await api.enrolled()
        async with a_worker(client, settings):
            stopped = await self.answer("preferences", "stop", user_id, "--type", "24h")
            shown = await self.reminders("preferences", "show", user_id)
            unset = await self.reminders("preferences", "stop", user_id, "--type", "")
            resumed = await self.answer("preferences", "resume", user_id, "--type", "24h")
        assert (1, 2) == (stopped["skipped"], stopped["scheduled"])
        assert (1, True) == (unset.exit_code, "no reminder type ''" in unset.stderr)
        assert "every session" in shown.stdout
        assert "24h" in shown.stdout
        assert ([], 3) == (resumed["opt_outs"], resumed["scheduled"])

    async def test_erase(self, api: Api, client: Client, settings: Settings) -> None:
        """Nothing happens without --yes where nobody can be asked; the table says what was done."""
        _, user_id = await api.enrolled()
        refused = await self.reminders("erase", user_id)
        assert 2 == refused.exit_code
        assert "--yes" in refused.stderr
        assert 3 == (await self.answer("erase", user_id, "--dry-run"))["cancelled"]
        async with a_worker(client, settings):
            done = await self.reminders("erase", user_id, "--yes")
        assert 0 == done.exit_code
        assert "ledger rows, anonymised and kept" in done.stdout
        assert 3 == (await self.reminders("erase", uuid4(), "--yes")).exit_code
