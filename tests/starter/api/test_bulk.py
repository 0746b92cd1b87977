"""Many enrollments in one call: each answered, none lost, and as many locks, statements and bytes as fit."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from temporalio.client import Client

from devstack.ports import free_ports
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.sessions import Catalogue
from reminders.settings import Settings
from starter.services import handover
from tests.starter.conftest import Api, Json, serving


async def enroll(api: Api, session_id: UUID, *entries: Json | UUID, **more: Any) -> Json:
    """The answer to a call."""
    people = [e if isinstance(e, dict) else {"user_id": str(e)} for e in entries]
    response = await api.post(
        f"/v1/sessions/{session_id}/enrollments", json={"enrollments": people, **more}
    )
    assert response.status_code == 200, response.text
    answer: Json = response.json()
    return answer


def outcomes(answer: Json) -> list[str]:
    """What became of each entry, in their order."""
    return [one["outcome"] for one in answer["enrollments"]]


async def test_each_entry_is_answered(api: Api, client: Client) -> None:
    """New people get a run, known ones keep theirs, and who is unknown stops nobody else."""
    session_id, before = await api.enrolled()
    new, pending, nobody = await api.user(), await api.user(), uuid4()
    entries: list[Json | UUID] = [
        before,
        nobody,
        new,
        {"user_id": str(pending), "status": "pending"},
    ]
    answer = await enroll(api, session_id, *entries)
    assert outcomes(answer) == ["unchanged", "refused", "enrolled", "enrolled"]
    assert (answer["enrolled"], answer["unchanged"], answer["refused"]) == (2, 1, 1)
    known, unknown, one, other = answer["enrollments"]
    assert unknown["error"]["type"] == "urn:session-reminders:problem:user-not-found"
    assert unknown["run_id"] is None
    assert (known["scheduled_reminders"], one["scheduled_reminders"]) == (3, 3)
    assert other["scheduled_reminders"] == 0
    for item in (known, one, other):
        run = client.get_workflow_handle(item["workflow_id"], run_id=item["run_id"])
        assert (await run.describe()).id == item["workflow_id"]
    again = await enroll(api, session_id, *entries)
    assert outcomes(again) == ["unchanged", "refused", "unchanged", "unchanged"]
    assert [one["run_id"] for one in again["enrollments"]] == [
        one["run_id"] for one in answer["enrollments"]
    ]


async def test_it_does_what_single_calls_do(api: Api, database: Database) -> None:
    """The rows of the ledger are the same, but for ids, versions and instants of writing."""
    (session_id, single), many = await api.enrolled(), await api.user()
    await enroll(api, session_id, many)
    queries = ReminderQueries(database)
    seen = [
        [
            (r.reminder_type, r.generation, r.due_at, r.starts_at, r.status, r.reason)
            for r in await queries.of_enrollment(session_id, user_id)
        ]
        for user_id in (single, many)
    ]
    assert seen[0] == seen[1]


async def test_ids_and_repetitions(api: Api) -> None:
    """An id belongs to one enrollment; who is there twice is enrolled once."""
    session_id, taken, twice = await api.session(), uuid4(), uuid4()
    people = [str(await api.user()) for _ in range(5)]
    await enroll(api, session_id, {"user_id": people[0], "enrollment_id": str(taken)})
    answer = await enroll(
        api,
        session_id,
        {"user_id": people[0], "enrollment_id": str(taken)},
        {"user_id": people[1], "enrollment_id": str(taken)},
        {"user_id": people[2], "enrollment_id": str(twice)},
        {"user_id": people[3], "enrollment_id": str(twice)},
        {"user_id": people[4], "status": "pending"},
        {"user_id": people[4]},
    )
    assert outcomes(answer) == [
        "unchanged",
        "refused",
        "refused",
        "refused",
        "enrolled",
        "enrolled",
    ]
    assert "enrollment_id" in answer["enrollments"][1]["error"]["detail"]
    assert answer["enrollments"][4] == answer["enrollments"][5]
    assert answer["enrollments"][5]["scheduled_reminders"] == 3


@pytest.mark.parametrize("order", [1, -1])
async def test_two_entries_of_one_person_are_two_calls(
    api: Api, database: Database, order: int
) -> None:
    """Whichever comes last: who is confirmed stays so and is reminded, with the link of their own."""
    session_id, user_id = await api.session(), await api.user()
    link = "https://meet.example/theirs"
    entries = [
        {"user_id": str(user_id), "join_url": link},
        {"user_id": str(user_id), "status": "pending"},
    ]
    answer = await enroll(api, session_id, *entries[::order])
    assert [3, 3] == [one["scheduled_reminders"] for one in answer["enrollments"]]
    row = await database.row(
        text("SELECT status, join_url FROM enrollments WHERE user_id = :id"), {"id": user_id}
    )
    assert {"status": "confirmed", "join_url": link} == dict(row or {})


async def test_who_was_unenrolled_is_planned_anew(api: Api) -> None:
    """As by a single call, and with their entry in the audit log."""
    session_id, user_id = await api.enrolled()
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}")
    answer = await enroll(api, session_id, user_id, reason="came back")
    assert outcomes(answer) == ["enrolled"]
    events = (await api.get("/v1/events", params={"user_id": str(user_id)})).json()["items"]
    assert [e["action"] for e in events] == ["enrolled", "unenrolled"]
    assert events[0]["reason"] == "came back"


async def test_what_is_not_acceptable(api: Api, database: Database) -> None:
    """A malformed entry is named and nobody is enrolled; too many, none, and unknown sessions."""
    session_id, user_id = await api.session(), await api.user()
    path = f"/v1/sessions/{session_id}/enrollments"
    good = {"user_id": str(user_id)}
    for entries, field in (
        ([good, {"user_id": "42"}], "enrollments.1.user_id"),
        ([good, {**good, "e_mail": "x"}], "enrollments.1.e_mail"),
        ([], "enrollments"),
        ([good] * 1001, "enrollments"),
    ):
        refused = await api.post(path, json={"enrollments": entries})
        assert refused.status_code == 422
        assert [field] == [error["field"] for error in refused.json()["errors"]]
    missing = await api.post(f"/v1/sessions/{uuid4()}/enrollments", json={"enrollments": [good]})
    assert missing.json()["type"].endswith(":session-not-found")
    assert () == await ReminderQueries(database).of_enrollment(session_id, user_id)


async def test_a_thousand_fit(api: Api) -> None:
    """Of the body, of the locks, and of the statements."""
    session_id = await api.session()
    entries = [
        {"user_id": str(uuid4()), "enrollment_id": str(uuid4()), "status": "confirmed"}
        for _ in range(1000)
    ]
    assert (await enroll(api, session_id, *entries))["refused"] == 1000


async def test_temporal_away(
    api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """A 503; the plans are stored, and the same call repeated starts every run."""
    monkeypatch.setattr(handover, "PER_TRANSACTION", 2)
    session_id = await api.session()
    people = [await api.user() for _ in range(5)]
    with monkeypatch.context() as away:
        away.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
        async with serving(settings) as alone:
            body = {"enrollments": [{"user_id": str(user_id)} for user_id in people]}
            refused = await alone.post(f"/v1/sessions/{session_id}/enrollments", json=body)
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    assert await ReminderQueries(database).tally(session_id)
    answer = await enroll(api, session_id, *people)
    assert answer["refused"] == 0
    assert all(one["run_id"] for one in answer["enrollments"])


async def test_postgresql_away(settings: Settings) -> None:
    """A 503, and nothing was done."""
    url = SecretStr(f"postgresql://nobody@127.0.0.1:{free_ports(1)[0]}/none")
    async with serving(settings.model_copy(update={"database_url": url})) as alone:
        refused = await alone.post(
            f"/v1/sessions/{uuid4()}/enrollments", json={"enrollments": [{"user_id": str(uuid4())}]}
        )
    assert refused.status_code == 503


async def test_links_of_their_own(api: Api, database: Database) -> None:
    """Taken singly and by the many, taken back by null, and shown in no answer whatever."""
    session_id, (one, other) = await api.session(), [await api.user() for _ in range(2)]
    own = "https://join.hospital.example/w/1"
    await api.enroll(session_id, one, join_url=own)
    await enroll(api, session_id, one, {"user_id": str(other), "join_url": own})
    catalogue = Catalogue(database)
    for user_id in (one, other):
        assert await catalogue.has_own_link(session_id, user_id)
    for path in (
        f"/v1/enrollments/{session_id}/{one}",
        f"/v1/sessions/{session_id}",
        f"/v1/sessions/{session_id}/enrollments",
        f"/v1/reminders?session_id={session_id}",
        f"/v1/users/{one}/enrollments",
        f"/v1/events?session_id={session_id}",
        f"/v1/preview?session_id={session_id}&user_id={one}",
    ):
        answer = await api.get(path)
        assert answer.status_code == 200, path
        assert "join.hospital" not in answer.text, path
    await enroll(api, session_id, {"user_id": str(other), "join_url": None})
    assert not await catalogue.has_own_link(session_id, other)
    refused = await api.enroll(session_id, one, join_url="ftp://join.hospital.example")
    assert [error["field"] for error in refused.json()["errors"]] == ["join_url"]
    assert (await api.delete(f"/v1/users/{one}")).status_code == 200
    assert not await catalogue.has_own_link(session_id, one)
