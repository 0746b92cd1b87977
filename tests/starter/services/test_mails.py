"""Previews and test e-mails, by API and by command: the same e-mail, and at most five a minute."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from devstack.provider.server import EmbeddedProvider
from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.db.engine import Database
from reminders.mail.samples import OWN_JOIN_URL
from reminders.settings import Settings
from starter.cli.main import app
from starter.services.mails import AT_MOST
from tests.provider import ProviderClient
from tests.starter.conftest import KEY, Api, serving

INBOX = "qa@hospital.example"
START = "2030-03-31T09:00:00+02:00"


@pytest.fixture
async def mailing(
    database_url: str,
    temporal_server: EmbeddedTemporal,
    provider_server: EmbeddedProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Api]:
    """The API with a test address, on a database of its own; commands find the same."""
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)
    for name, value in {
        "TEMPORAL_ADDRESS": temporal_server.address,
        "DATABASE_URL": database_url,
        "VERIFIED_TEST_EMAIL": INBOX,
        "RESEND_API_URL": provider_server.url,
        "RESEND_API_KEY": provider_server.api_key,
        "TEMPORAL_TASK_QUEUE": f"test-{uuid4()}",
        "API_KEYS": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    async with serving(Settings()) as api:
        yield api


async def command(*arguments: object, exit_code: int = 0) -> str:
    """What a command prints."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(a) for a in arguments])
    assert result.exit_code == exit_code, result.output
    return result.stdout


async def previewed(api: Api, **choice: Any) -> Any:
    """A preview's JSON."""
    response = await api.get("/v1/preview", params=choice)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_preview_is_of_any_moment(mailing: Api, tmp_path: Path) -> None:
    """At the rule's instant, late by minutes, before the start; for a sample or a real person."""
    session_id = uuid4()
    body = {"title": "Sepsis", "start_time": START, "time_zone": "Europe/Madrid"}
    await mailing.put(f"/v1/sessions/{session_id}", json=body)
    user_id = await mailing.user()
    own = await previewed(mailing, session_id=session_id, reminder_type="30min")
    assert own["at"] == "2030-03-31T06:30:00Z"
    assert own["start_time"] == "2030-03-31T07:00:00Z"
    late = await previewed(mailing, session_id=session_id, reminder_type="30min", minutes_late=3)
    assert "27 minutes" in late["text"]
    early = await previewed(mailing, session_id=session_id, minutes_before=25 * 60, locale="de")
    assert "Sepsis" in early["subject"]
    assert "Morgen" in early["text"] or "morgen" in early["text"]
    theirs = await previewed(mailing, session_id=session_id, user_id=user_id)
    assert "hospital.example" not in json.dumps(theirs)

    same = json.loads(
        await command("preview", session_id, "--type", "30min", "--late", "3m", "--json")
    )
    assert same == late
    page = tmp_path / "mail.html"
    text = await command(
        "preview", session_id, "--type", "30min", "--late", "3m", "--text", "--html", page
    )
    assert text.strip() == late["text"].strip()
    assert page.read_text(encoding="utf-8") == late["html"]
    assert "30 min before the start" in await command("preview", session_id, "--type", "30min")


async def test_a_preview_knows_of_a_move(mailing: Api, database_url: str) -> None:
    """As the e-mail itself: to whom another start was told, that lay ahead when it is sent."""
    session_id, user_id = await mailing.session(start_time=START), await mailing.user()
    await mailing.enroll(session_id, user_id)
    about = {"session_id": session_id, "user_id": user_id, "reminder_type": "2h"}
    plain = await previewed(mailing, **about)
    database = Database(database_url)
    for told, is_move in (("2030-03-31T07:00:00Z", False), ("2030-04-01T07:00:00Z", True)):
        async with database.transaction() as connection:
            await connection.exec_driver_sql(
                "UPDATE session_reminder_emails SET starts_at = $1, sent_at = now()"
                " WHERE reminder_type = '24h'",
                (datetime.fromisoformat(told),),
            )
        assert is_move == ((await previewed(mailing, **about))["subject"] != plain["subject"])
    await database.aclose()


async def test_what_cannot_be_previewed_is_said(mailing: Api) -> None:
    """A rule or a session that is not there, an instant said twice, one after the start."""
    assert (await mailing.get(f"/v1/preview?session_id={uuid4()}")).status_code == 404
    assert (await mailing.get("/v1/preview?reminder_type=7d")).status_code == 404
    twice = await mailing.get("/v1/preview?minutes_before=5&minutes_late=5")
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "at")
    after = await mailing.get("/v1/preview", params={"at": "2031-01-01T00:00:00Z"})
    assert after.json()["errors"][0]["message"].startswith("the session has begun")
    await command("preview", uuid4(), exit_code=3)
    await command("preview", "--before", "soon", exit_code=2)
    await command("preview", "--before", "9999999999d", exit_code=2)
    await command("preview", "--before", "800000d", exit_code=1)


async def test_a_test_e_mail_goes_to_the_test_address_only(
    mailing: Api, provider: ProviderClient
) -> None:
    """Whoever it is worded for; audited, and at most five a minute for all processes together."""
    session_id, user_id = await mailing.session(title="Sepsis"), await mailing.user()
    body = {"session_id": str(session_id), "user_id": str(user_id), "reason": "new logo"}
    first = await mailing.post("/v1/test-sends", json=body)
    assert first.status_code == 201, first.text
    told = json.loads(await command("test-send", session_id, "--reason", "look", "--json"))
    accepted = await provider.accepted()
    assert [INBOX, INBOX] == [to for mail in accepted for to in mail["to"]]
    assert told["resend_email_id"] == accepted[1]["id"]
    for _ in range(AT_MOST - 2):
        assert (await mailing.post("/v1/test-sends", json={})).status_code == 201
    refused = await mailing.post("/v1/test-sends", json={})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    await command("test-send", exit_code=1)
    assert len(await provider.accepted()) == AT_MOST


async def test_a_link_of_ones_own_is_for_nobody_else(
    mailing: Api, provider: ProviderClient
) -> None:
    """Preview and test e-mail of somebody who has one show where it would stand."""
    session_id, user_id = await mailing.session(), await mailing.user()
    await mailing.enroll(session_id, user_id, join_url="https://join.hospital.example/w/7")
    choice = {"session_id": str(session_id), "user_id": str(user_id)}
    assert OWN_JOIN_URL in (await previewed(mailing, **choice))["text"]
    assert (await mailing.post("/v1/test-sends", json=choice)).status_code == 201
    (mail,) = await provider.accepted(bodies=True)
    assert OWN_JOIN_URL in mail["text"]
    assert "join.hospital" not in mail["text"] + mail["html"]


async def test_without_a_test_address_nothing_is_sent(api: Api) -> None:
    """The answer names the setting."""
    response = await api.post("/v1/test-sends", json={})
    assert response.status_code == 409
    assert "VERIFIED_TEST_EMAIL" in response.json()["detail"]
