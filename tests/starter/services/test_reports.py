"""What operators look for, by API and by command: the same answers, page by page."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from reminders import temporal
from reminders.db.engine import Database
from reminders.db.lookups import Browser
from reminders.db.tables import ReminderRow, SessionRow
from reminders.settings import Settings
from starter.cli.main import app
from tests.starter.conftest import ADDRESS, Api

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the test's parts in the environment."""
    monkeypatch.setenv("DATABASE_URL", settings.require_database_url())
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)


async def command(*arguments: object) -> str:
    """What a command prints."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


async def got(api: Api, path: str, **params: Any) -> Any:
    """An answer's JSON."""
    response = await api.get(path, params={k: str(v) for k, v in params.items()})
    assert response.status_code == 200, response.text
    return response.json()


async def test_sessions_are_found_by_title_and_listed_by_page(api: Api) -> None:
    """Upcoming ones, the next first; an id finds its session in either period."""
    name = "Sepsis after midnight"
    made = [str(await api.session(title=name)) for _ in range(3)]
    pages, cursor = [], None
    while True:
        page = await got(
            api, "/v1/sessions", query=name, limit=2, **({"cursor": cursor} if cursor else {})
        )
        pages.append([s["id"] for s in page["items"]])
        if (cursor := page["next_cursor"]) is None:
            break
    assert [2, 1] == [len(page) for page in pages]
    assert set(made) == {s for page in pages for s in page}
    by_id = json.loads(await command("session", "list", made[0], "--past", "--json"))
    assert [made[0]] == [s["id"] for s in by_id["items"]]
    assert name in await command("session", "list", name)


async def test_people_are_found_by_address_and_told_by_id(api: Api) -> None:
    """Their sessions and their session's roster name ids; nobody's address comes out."""
    session_id, user_id = await api.enrolled(title="Burns")
    await api.put(f"/v1/users/{user_id}", json={"email": f"{user_id.hex}@hospital.example"})
    found = await api.post("/v1/users/search", json={"query": user_id.hex})
    assert [str(user_id)] == found.json()["items"]
    assert str(user_id) in await command("user", "find", user_id.hex)
    theirs = await got(api, f"/v1/users/{user_id}/enrollments")
    assert [str(session_id)] == [s["session_id"] for s in theirs["items"]]
    assert theirs == json.loads(await command("user", "show", user_id, "--json"))
    at = f"/v1/sessions/{session_id}/enrollments"
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}")
    assert 1 == len((await got(api, at, email_status="cancelled"))["items"])
    await api.enroll(session_id, user_id)
    assert [] == (await got(api, at, email_status="cancelled"))["items"], "what they were"
    roster = await got(api, at, email_status="scheduled")
    assert [(str(user_id), 3)] == [(e["user_id"], len(e["reminders"])) for e in roster["items"]]
    assert roster == json.loads(await command("session", "roster", session_id, "--json"))
    said = json.dumps([theirs, roster]) + await command("session", "roster", session_id)
    assert "hospital.example" not in said


async def test_the_audit_log_is_read_page_by_page(api: Api) -> None:
    """The newest first, about one session."""
    session_id, user_id = await api.enrolled()
    for reason in ("one", "two", "three"):
        route = f"/v1/enrollments/{session_id}/{user_id}"
        await api.delete(route, params={"reason": reason})
    first = await got(api, "/v1/events", session_id=session_id, limit=2)
    rest = await got(api, "/v1/events", session_id=session_id, cursor=first["next_cursor"])
    assert ["three", "two", "one"] == [e["reason"] for e in first["items"] + rest["items"]]
    assert rest["next_cursor"] is None
    printed = json.loads(await command("events", "--session", session_id, "--limit", 2, "--json"))
    assert printed["items"] == first["items"]
    assert "unenrolled" in await command("events", "--session", session_id)


async def test_the_audit_log_is_filtered_as_on_the_pages(api: Api) -> None:
    """By what was done and by whom, over HTTP and at a terminal: one query."""
    session_id, user_id = await api.enrolled()
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}")
    await command("cancel", session_id, user_id, "--yes")
    await api.post(f"/v1/sessions/{session_id}/cancel")

    async def found(**filters: Any) -> list[tuple[str, str]]:
        items = (await got(api, "/v1/events", session_id=session_id, **filters))["items"]
        given = [f"--{name}={value}" for name, value in filters.items()]
        printed = await command("events", "--session", session_id, *given, "--json")
        assert items == json.loads(printed)["items"]
        return [(item["action"], item["actor"].partition(":")[0]) for item in items]

    everything = [("session_cancelled", "api"), ("unenrolled", "cli"), ("unenrolled", "api")]
    assert everything == await found()
    assert everything[1:] == await found(action="unenrolled")
    assert everything[::2] == await found(actor="api")
    assert everything[2:] == await found(action="unenrolled", actor="api")
    refused = await api.get("/v1/events", params={"action": "nonsense"})
    assert (422, "action") == (refused.status_code, refused.json()["errors"][0]["field"])


async def test_failures_are_counted_by_cause(api: Api, database: Database) -> None:
    """With what they mean, and how many can still be sent; the ledger lists those of one cause."""
    session_id, _ = await api.enrolled()
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.session_id == session_id, ReminderRow.reminder_type == "24h")
            .values(email_status="failed", status_reason="rejected")
        )
    (cause,) = (await got(api, "/v1/failures", session_id=session_id))["items"]
    assert ("rejected", 1, 1) == (cause["status_reason"], cause["reminders"], cause["redrivable"])
    listed = await got(api, "/v1/reminders", session_id=session_id, status_reason="rejected")
    assert ["24h"] == [r["reminder_type"] for r in listed["items"]]
    assert cause["meaning"] in " ".join((await command("failed", "--session", session_id)).split())
    same = json.loads(
        await command("list", "--session", session_id, "--reason", "rejected", "--json")
    )
    assert same == listed
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.session_id == session_id, ReminderRow.reminder_type == "2h")
            .values(email_status="sent")
        )
    (cause,) = (await got(api, "/v1/failures", session_id=session_id))["items"]
    assert 0 == cause["redrivable"], "a later reminder went out"


async def test_a_notice_of_a_cancel_is_of_use_while_it_holds(api: Api, database: Database) -> None:
    """That it failed is what an operator must see; of a session that takes place it is of none."""
    session_id, _ = await api.enrolled()
    for status, redrivable in (("cancelled", 1), ("scheduled", 0)):
        async with database.transaction() as connection:
            await connection.execute(
                update(ReminderRow)
                .where(
                    ReminderRow.session_id == session_id,
                    ReminderRow.reminder_type.in_(("24h", "cancelled")),
                )
                .values(
                    reminder_type="cancelled", email_status="failed", status_reason="render_error"
                )
            )
            await connection.execute(
                update(SessionRow).where(SessionRow.id == session_id).values(status=status)
            )
        (cause,) = (await got(api, "/v1/failures", session_id=session_id))["items"]
        assert redrivable == cause["redrivable"]


async def test_the_overview_counts_what_is_to_come(api: Api) -> None:
    """In the hour that it is due in."""
    before = await got(api, "/v1/overview")
    session_id, _ = await api.enrolled(starts_in=timedelta(hours=5))
    after = await got(api, "/v1/overview")
    listed = await got(api, "/v1/reminders", session_id=session_id, email_status="scheduled")
    due = [datetime.fromisoformat(r["due_at"]) for r in listed["items"]]
    assert after["waiting"] - before["waiting"] == len(due)
    first, *_ = begins = [datetime.fromisoformat(h["begins_at"]) for h in after["next_hours"]]
    assert begins == [first.replace(minute=0, second=0) + n * HOUR for n in range(24)]
    others = {h["begins_at"]: h["reminders"] for h in before["next_hours"]}
    counts = [h["reminders"] - others.get(h["begins_at"], 0) for h in after["next_hours"]]
    assert counts == [sum(at <= one < at + HOUR for one in due) for at in begins]
    assert "waiting" in await command("overview")
    assert ADDRESS not in json.dumps(after)


async def test_of_many_enrollments_the_nearest_are_shown(api: Api, database: Database) -> None:
    """Somebody in a daily class for a year is asked about today's, not about the last one's."""
    user_id = await api.user()
    days = {n: await api.session(starts_in=timedelta(days=n)) for n in (1, 2, 200, 300)}
    for session_id in days.values():
        await api.enroll(session_id, user_id)
    shown = await Browser(database, "en").enrollments(user_id, limit=2)
    assert [days[2], days[1]] == [one.session_id for one in shown]
