"""Every route, against PostgreSQL and Temporal: what it answers, and what it leaves behind."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import CancelledError

from devstack.ports import free_ports
from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.db.ledger import ReminderQueries
from reminders.db.sessions import Catalogue
from reminders.domain.keys import session_change_workflow_id, session_reminder_workflow_id
from reminders.settings import Settings
from tests.databases import migrated
from tests.starter.conftest import ADDRESS, Api, Json, a_body, a_worker, serving

SOME_ID = UUID("5e551000-0000-4000-8000-000000000042")


def workflow_of(session_id: UUID, user_id: UUID) -> str:
    """Workflow Id of an enrollment."""
    return session_reminder_workflow_id(session_id, user_id)


class TestSessions:
    """PUT and GET /v1/sessions/{session_id}."""

    async def test_put_creates_then_changes(self, api: Api) -> None:
        """The first PUT answers 201, the next 200 with the session as it now is."""
        session_id = uuid4()
        body = a_body(time_zone="Europe/Madrid", location=" Aula 1 ", speaker_name="")
        first = await api.put(f"/v1/sessions/{session_id}", json=body)
        second = await api.put(
            f"/v1/sessions/{session_id}", json={**body, "title": "Cardiology, part 2"}
        )
        assert (first.status_code, second.status_code) == (201, 200)
        stored = second.json()
        assert stored["id"] == str(session_id)
        assert stored["title"] == "Cardiology, part 2"
        assert stored["location"] == "Aula 1"
        assert stored["speaker_name"] is None
        assert stored["changes"] == dict.fromkeys(
            (
                "enrollments",
                "replanned",
                "unconfirmed",
                "cancelled",
                "already_sent",
                "in_flight",
                "told",
            ),
            0,
        )

    async def test_who_is_told_is_counted_beforehand_or_nobody_is(
        self, api: Api, settings: Settings, client: Client
    ) -> None:
        """`would_be_told` and the dry run count, `tell_nobody` has it told to nobody."""
        session_id, user_id = await api.enrolled()
        path = f"/v1/sessions/{session_id}"
        for kind in ("cancelled", "moved"):
            rule = f"/v1/reminder-configurations/{kind}"
            own = {"session_id": str(session_id)}
            switched = await api.patch(rule, json={"is_enabled": True}, params=own)
            assert 200 == switched.status_code
            for refused in (
                await api.patch(rule, json={"minutes_before": 5}),
                await api.delete(rule),
            ):
                assert 422 == refused.status_code
        stored = (await api.get(path)).json()
        assert {"cancelled": 1, "moved": 1} == stored["would_be_told"]
        body = a_body(start_time="2031-12-01T15:00:00Z")
        async with a_worker(client, settings):
            moved = await api.put(path, json=body, params={"tell_nobody": True})
            counted = await api.post(f"{path}/cancel", json={"dry_run": True})
            done = await api.post(f"{path}/cancel", json={"tell_nobody": True})
            back = (await api.post(f"{path}/restore", json={"dry_run": True})).json()
        assert (1, 1, 0) == (back["enrollments"], back["replanned"], back["told"])
        assert (0, 1, 0) == (
            moved.json()["changes"]["told"], counted.json()["told"], done.json()["told"],
        )  # fmt: skip
        story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
        kinds = {r["reminder_type"]: r["status_reason"] for r in story["reminders"]}
        assert "untold" == kinds["moved"] == kinds["cancelled"]

    async def test_instants_are_told_in_utc(self, api: Api) -> None:
        """An instant with another offset comes back as the same instant in UTC."""
        body = a_body(start_time="2031-12-01T15:00:00+01:00", end_time="2031-12-01T17:00:00.5Z")
        answer = await api.put(f"/v1/sessions/{uuid4()}", json=body)
        assert answer.json()["start_time"] == "2031-12-01T14:00:00Z"
        assert answer.json()["end_time"] == "2031-12-01T17:00:00.500000Z"

    async def test_get_counts_by_status(self, api: Api) -> None:
        """GET names every status; an enrollment 90 minutes ahead has one reminder left."""
        session_id, _ = await api.enrolled(starts_in=timedelta(minutes=90))
        answer = await api.get(f"/v1/sessions/{session_id}")
        assert answer.status_code == 200
        counts = answer.json()["counts"]
        assert {status: n for status, n in counts.items() if n} == {"scheduled": 1, "skipped": 2}
        assert counts["failed"] == 0

    async def test_get_of_an_unknown_session(self, api: Api) -> None:
        """A session that does not exist is a 404."""
        answer = await api.get(f"/v1/sessions/{uuid4()}")
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(":session-not-found")

    async def test_a_cancelled_session_cancels_all(
        self, api: Api, settings: Settings, client: Client
    ) -> None:
        """Putting a session as cancelled calls off everybody's reminders and ends the workflows."""
        body = a_body()
        session_id = uuid4()
        await api.put(f"/v1/sessions/{session_id}", json=body)
        users = [await api.user() for _ in range(2)]
        for user_id in users:
            await api.enroll(session_id, user_id)
        cancelled = {**body, "status": "cancelled"}
        async with a_worker(client, settings):
            answer = await api.put(f"/v1/sessions/{session_id}", json=cancelled)
            for user_id in users:
                with pytest.raises(WorkflowFailureError):
                    await client.get_workflow_handle(workflow_of(session_id, user_id)).result()
        assert answer.status_code == 200
        assert answer.json()["under_way"] is None
        assert answer.json()["changes"]["enrollments"] == 2
        assert answer.json()["changes"]["cancelled"] == 6

    async def test_a_copy_without_a_status(
        self, api: Api, settings: Settings, client: Client
    ) -> None:
        """A session that was cancelled stays so until somebody says that it is `scheduled`."""
        body, session_id = a_body(), uuid4()
        await api.put(f"/v1/sessions/{session_id}", json=body)
        await api.enroll(session_id, await api.user())
        async with a_worker(client, settings):
            await api.post(f"/v1/sessions/{session_id}/cancel")
            copy = await api.put(f"/v1/sessions/{session_id}", json=body)
            held = await api.put(f"/v1/sessions/{session_id}", json={**body, "status": "scheduled"})
        assert ("cancelled", 200) == (copy.json()["status"], copy.status_code)
        assert {0} == set(copy.json()["changes"].values())
        assert "scheduled" == held.json()["status"]
        assert 1 == held.json()["changes"]["enrollments"]

    async def test_cancel(self, api: Api, settings: Settings, client: Client) -> None:
        """POST .../cancel counts when asked to, then does it, once, and for all who come later."""
        session_id, _ = await api.enrolled()
        await api.enroll(session_id, await api.user())
        path, nothing = (
            f"/v1/sessions/{session_id}/cancel",
            {"already_sent": 0, "in_flight": 0, "told": 0},
        )
        async with a_worker(client, settings):
            counted = await api.post(path, json={"dry_run": True})
            done = await api.post(path)
            again = await api.post(path, json={})
        assert [200, 200, 200] == [a.status_code for a in (counted, done, again)]
        assert counted.json() == done.json() == {"cancelled": 6, **nothing}
        assert again.json() == {"cancelled": 0, **nothing}
        stored = (await api.get(f"/v1/sessions/{session_id}")).json()
        assert (stored["status"], stored["counts"]["cancelled"]) == ("cancelled", 6)
        late = await api.enroll(session_id, await api.user())
        assert late.json()["reminders"] == []

    @pytest.mark.parametrize("verb", ["cancel", "changed"])
    async def test_without_a_worker_a_change_is_accepted(
        self, api: Api, settings: Settings, client: Client, verb: str
    ) -> None:
        """It answers 202 with the workflow that has the change; a worker does it later."""
        session_id, _ = await api.enrolled()
        answer = await api.post(f"/v1/sessions/{session_id}/{verb}")
        assert answer.status_code == 202
        assert answer.json()["workflow_id"] == session_change_workflow_id(session_id)
        async with a_worker(client, settings):
            handle = client.get_workflow_handle(
                answer.json()["workflow_id"], run_id=answer.json()["run_id"]
            )
            counts = await handle.result()
        assert (counts["enrollments"], counts["replanned"]) == (1, 1)
        assert counts["cancelled"] == (3 if verb == "cancel" else 0)

    async def test_changed(
        self, api: Api, database: Database, settings: Settings, client: Client
    ) -> None:
        """POST .../changed has a session read again that was moved in the tables only."""
        session_id, user_id = await api.enrolled()
        async with database.transaction() as connection:
            await connection.exec_driver_sql(
                "UPDATE sessions SET start_time = start_time + interval '2 days' WHERE id = $1",
                (session_id,),
            )
        before = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()["reminders"]
        async with a_worker(client, settings):
            answer = await api.post(f"/v1/sessions/{session_id}/changed")
        after = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()["reminders"]
        assert answer.status_code == 200
        assert (answer.json()["enrollments"], answer.json()["replanned"]) == (1, 1)
        assert all(a["due_at"] > b["due_at"] for a, b in zip(after, before, strict=True))

    @pytest.mark.parametrize("verb", ["cancel", "changed"])
    async def test_a_change_of_an_unknown_session(self, shared_api: Api, verb: str) -> None:
        """A session that does not exist is a 404, and nothing is started."""
        answer = await shared_api.post(f"/v1/sessions/{uuid4()}/{verb}")
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(":session-not-found")

    async def test_a_cancelled_session_refuses_late_starters(self, api: Api) -> None:
        """Whoever enrolls in a cancelled session gets no reminders."""
        session_id = await api.session(status="cancelled")
        answer = await api.enroll(session_id, await api.user())
        assert answer.status_code == 200
        assert answer.json()["scheduled_reminders"] == 0

    async def test_a_move_reaches_the_sleeping_workflow(
        self, api: Api, settings: Settings, client: Client
    ) -> None:
        """Moving a session re-plans the enrollment, and a worker confirms it."""
        body, session_id = a_body(), uuid4()
        await api.put(f"/v1/sessions/{session_id}", json=body)
        user_id = await api.user()
        await api.enroll(session_id, user_id)
        moved = a_body(timedelta(days=9))
        async with a_worker(client, settings):
            answer = await api.put(f"/v1/sessions/{session_id}", json=moved)
        changes = answer.json()["changes"]
        assert (changes["replanned"], changes["unconfirmed"]) == (1, 0)
        story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
        assert story["reminders"][0]["due_at"] > body["start_time"]


class TestUsers:
    """PUT /v1/users/{user_id}."""

    async def test_put_creates_then_changes(self, api: Api, database: Database) -> None:
        """The first PUT answers 201, the next 200; neither repeats what was sent."""
        user_id = uuid4()
        body = {"email": ADDRESS, "full_name": "Ana", "time_zone": "Europe/Madrid", "locale": "es"}
        first = await api.put(f"/v1/users/{user_id}", json=body)
        second = await api.put(f"/v1/users/{user_id}", json={**body, "full_name": "Ana Ruiz"})
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json() == {"id": str(user_id)}
        stored = await Catalogue(database).user(user_id)
        assert (stored.email, stored.full_name, stored.locale) == (ADDRESS, "Ana Ruiz", "es")


class TestEnrollments:
    """POST, GET and DELETE /v1/enrollments."""

    async def test_enroll(self, api: Api, settings: Settings, client: Client) -> None:
        """An enrollment answers 201 with its plan, and its workflow runs without any worker."""
        session_id, user_id = await api.session(), await api.user()
        answer = await api.enroll(session_id, user_id, enrollment_id=str(uuid4()))
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/enrollments/{session_id}/{user_id}"
        plan = answer.json()
        statuses = {"enrollment_status", "session_status"}
        assert plan.keys() == {
            "workflow_id",
            "run_id",
            "scheduled_reminders",
            "reminders",
            *statuses,
        }
        assert [plan["enrollment_status"], plan["session_status"]] == ["confirmed", "scheduled"]
        assert plan["workflow_id"] == workflow_of(session_id, user_id)
        assert plan["scheduled_reminders"] == 3
        assert [r["reminder_type"] for r in plan["reminders"]] == ["24h", "2h", "30min"]
        fields = {"id", "reminder_type", "due_at", "email_status", "status_reason"}
        assert all(r.keys() == fields for r in plan["reminders"])
        found = await client.get_workflow_handle(plan["workflow_id"]).describe()
        assert found.run_id == plan["run_id"]
        assert found.task_queue == settings.temporal_task_queue

    async def test_enroll_twice(self, api: Api) -> None:
        """A repeated enrollment answers 200 with the same run and the same reminders."""
        session_id, user_id = await api.session(), await api.user()
        first = await api.enroll(session_id, user_id)
        second = await api.enroll(session_id, user_id)
        assert (first.status_code, second.status_code) == (201, 200)
        assert first.json() == second.json()

    async def test_enroll_late(self, api: Api) -> None:
        """Reminders whose instant has passed are skipped and say so."""
        session_id, user_id = await api.session(starts_in=timedelta(minutes=90)), await api.user()
        plan = (await api.enroll(session_id, user_id)).json()
        assert [(r["email_status"], r["status_reason"]) for r in plan["reminders"]] == [
            ("skipped", "past_due"),
            ("skipped", "past_due"),
            ("scheduled", None),
        ]

    @pytest.mark.parametrize("unknown", ["session", "user"])
    async def test_enroll_of_an_unknown(self, unknown: str, api: Api, database: Database) -> None:
        """An unknown session or user is a 404 of its own type that names it, and nothing is stored."""
        session_id = uuid4() if unknown == "session" else await api.session()
        user_id = uuid4() if unknown == "user" else await api.user()
        answer = await api.enroll(session_id, user_id)
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(f":{unknown}-not-found")
        assert (
            f"no {unknown} {user_id if unknown == 'user' else session_id}. "
            in answer.json()["detail"]
        )
        assert f"PUT /v1/{unknown}s" in answer.json()["detail"]
        assert await Catalogue(database).enrollment_status(session_id, user_id) is None

    async def test_enrollment_id_of_another(self, api: Api) -> None:
        """An `enrollment_id` that is taken is a 422 that names the field."""
        enrollment_id, session_id = str(uuid4()), await api.session()
        await api.enroll(session_id, await api.user(), enrollment_id=enrollment_id)
        answer = await api.enroll(session_id, await api.user(), enrollment_id=enrollment_id)
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == ["enrollment_id"]

    async def test_why(self, api: Api) -> None:
        """The story has every reminder with its decision, and the workflow with a link."""
        session_id, user_id = await api.enrolled(starts_in=timedelta(minutes=90))
        answer = await api.get(f"/v1/enrollments/{session_id}/{user_id}")
        story = answer.json()
        assert answer.status_code == 200
        assert story["enrollment_status"] == "confirmed"
        workflow_id = workflow_of(session_id, user_id)
        workflow = story["workflow"]
        assert (workflow["id"], workflow["status"]) == (workflow_id, "running")
        assert workflow["url"] == (
            "http://127.0.0.1:8233/namespaces/default/workflows/"
            f"{workflow_id.replace(':', '%3A')}/{workflow['run_id']}/history"
        )
        skipped, _, waiting = story["reminders"]
        assert skipped["decision"] == "not sent: its instant had passed when it was planned"
        assert waiting["decision"] == "waits for its due instant"
        assert waiting["attempts"] == 0
        assert waiting["resend_email_id"] is None
        assert ADDRESS not in answer.text

    async def test_why_without_enrollment(self, api: Api) -> None:
        """Somebody who never was enrolled has no story."""
        session_id, user_id = await api.session(), await api.user()
        answer = await api.get(f"/v1/enrollments/{session_id}/{user_id}")
        assert answer.status_code == 404
        assert answer.json()["type"].endswith(":enrollment-not-found")
        assert answer.json()["detail"].startswith(
            f"User {user_id} is not enrolled in session {session_id}. POST /v1/enrollments "
        )

    @pytest.mark.usefixtures("impatient")
    async def test_unenroll_and_enroll_again(self, api: Api) -> None:
        """Unenrolling cancels what waits, can be repeated, and enrolling again starts anew."""
        session_id, user_id = await api.enrolled()
        url = f"/v1/enrollments/{session_id}/{user_id}"
        first, second = await api.delete(url), await api.delete(url)
        assert first.status_code == second.status_code == 200
        assert first.json() == {"cancelled": 3, "already_sent": 0, "in_flight": 0, "told": 0}
        assert second.json() == {"cancelled": 0, "already_sent": 0, "in_flight": 0, "told": 0}
        again = await api.enroll(session_id, user_id)
        assert again.status_code == 201
        assert again.json()["scheduled_reminders"] == 3

    async def test_unenroll_without_enrollment(self, api: Api) -> None:
        """Somebody who never was enrolled cannot be unenrolled."""
        answer = await api.delete(f"/v1/enrollments/{await api.session()}/{await api.user()}")
        assert answer.status_code == 404


class TestReminders:
    """GET /v1/reminders."""

    async def test_pages(self, api: Api) -> None:
        """Following `next_cursor` shows every reminder once, by due instant."""
        session_id = await api.session()
        for _ in range(3):
            await api.enroll(session_id, await api.user())
        seen: list[Json] = []
        params: dict[str, Any] = {"session_id": str(session_id), "limit": 4}
        sizes = []
        while True:
            page = (await api.get("/v1/reminders", params=params)).json()
            seen += page["items"]
            sizes.append(len(page["items"]))
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]
        assert sizes == [4, 4, 1]
        assert len({r["id"] for r in seen}) == 9
        assert [r["due_at"] for r in seen] == sorted(r["due_at"] for r in seen)

    async def test_filters(self, api: Api) -> None:
        """Session, user and status narrow the list."""
        session_id, user_id = await api.enrolled(starts_in=timedelta(minutes=90))
        await api.enroll(session_id, await api.user())
        await api.enrolled()

        async def found(**params: Any) -> int:
            return len((await api.get("/v1/reminders", params=params)).json()["items"])

        assert await found(session_id=session_id) == 6
        assert await found(session_id=session_id, user_id=user_id) == 3
        assert await found(user_id=user_id, email_status="skipped") == 2
        assert await found(session_id=session_id, email_status="sent") == 0


UNACCEPTABLE: dict[str, tuple[Json, str]] = {
    "naive start": ({"start_time": "2031-12-01T15:00:00"}, "start_time"),
    "number for a start": ({"start_time": 1_900_000_000}, "start_time"),
    "date for a start": ({"start_time": "2031-12-01"}, "start_time"),
    "no such day": ({"start_time": "2031-02-30T15:00:00Z"}, "start_time"),
    "before the calendar": ({"start_time": "0001-01-01T00:00:00+14:00"}, "start_time"),
    "beyond any timer": ({"start_time": "2999-01-01T00:00:00Z"}, "start_time"),
    "naive end": ({"end_time": "2031-12-01T15:00:00"}, "end_time"),
    "end before start": (
        {"start_time": "2031-12-01T15:00:00Z", "end_time": "2031-12-01T15:00:00+00:00"},
        "end_time",
    ),
    "unknown zone": ({"time_zone": "Europe/Atlantis"}, "time_zone"),
    "zone outside the zones": ({"time_zone": "../../etc/passwd"}, "time_zone"),
    "zone that is a folder": ({"time_zone": "America"}, "time_zone"),
    "script for a link": ({"join_url": "javascript:alert(1)"}, "join_url"),
    "link without host": ({"join_url": "https://"}, "join_url"),
    "title of two lines": ({"title": "a\nb"}, "title"),
    "blank title": ({"title": "  "}, "title"),
    "NUL in notes": ({"preparation_notes": "a\x00b"}, "preparation_notes"),
    "long title": ({"title": "x" * 301}, "title"),
    "unknown status": ({"status": "moved"}, "status"),
    "unknown field": ({"starttime": "2031-12-01T15:00:00Z"}, "starttime"),
    "lone surrogate": ({"title": "\ud800"}, "title"),
    "lone surrogate in a name": ({"\ud800": 1}, "body"),
}


class TestUnacceptable:
    """What is refused with a 422, and how it names the field."""

    @pytest.mark.parametrize(("fields", "field"), UNACCEPTABLE.values(), ids=UNACCEPTABLE)
    async def test_session(self, fields: Json, field: str, shared_api: Api) -> None:
        """A wrong field of a session is named, and nothing is stored."""
        session_id = uuid4()
        body = json.dumps({**a_body(), **fields})
        answer = await shared_api.put(
            f"/v1/sessions/{session_id}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
        assert [e["field"] for e in answer.json()["errors"]] == [field]
        assert answer.json()["detail"].startswith(field)
        assert (await shared_api.get(f"/v1/sessions/{session_id}")).status_code == 404

    async def test_all_wrong_fields_are_named(self, shared_api: Api) -> None:
        """One answer names every wrong field."""
        answer = await shared_api.put(
            f"/v1/sessions/{uuid4()}", json={"time_zone": "?", "extra": 1}
        )
        fields = {e["field"] for e in answer.json()["errors"]}
        assert fields == {"title", "start_time", "time_zone", "extra"}

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"email": "no address"}, "email"),
            ({"email": "Ana <ana@hospital.example>"}, "email"),
            ({"email": ADDRESS, "locale": "not a locale"}, "locale"),
            ({"email": ADDRESS, "time_zone": "Factory"}, "time_zone"),
            ({"email": ADDRESS, "full_name": "a\x00"}, "full_name"),
            ({}, "email"),
        ],
    )
    async def test_user(self, body: Json, field: str, shared_api: Api) -> None:
        """A wrong field of a user is named, and no value is repeated."""
        answer = await shared_api.put(f"/v1/users/{uuid4()}", json=body)
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == [field]
        assert "ana@" not in answer.text

    @pytest.mark.parametrize(
        ("method", "path", "field"),
        [
            ("GET", "/v1/sessions/42", "session_id"),
            ("DELETE", f"/v1/enrollments/{SOME_ID}/42", "user_id"),
            ("GET", "/v1/reminders?limit=201", "limit"),
            ("GET", "/v1/reminders?limit=0", "limit"),
            ("GET", "/v1/reminders?cursor=nonsense", "cursor"),
            ("GET", "/v1/reminders?email_status=unknown", "email_status"),
            ("GET", "/v1/reminders?session=42", "session"),
        ],
    )
    async def test_path_and_query(
        self, method: str, path: str, field: str, shared_api: Api
    ) -> None:
        """A wrong id, filter or cursor is named; a misspelt filter is not ignored."""
        answer = await shared_api.request(method, path)
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == [field]

    @pytest.mark.parametrize("body", ["{", "", "[]", '"text"', "null"])
    async def test_no_object(self, body: str, shared_api: Api) -> None:
        """A body that is no JSON object is a 422 about the body."""
        answer = await shared_api.post(
            "/v1/enrollments", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == ["body"]


class TestAway:
    """What happens while Temporal or PostgreSQL is away, and when they are back."""

    async def test_temporal_away(
        self, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The API starts without Temporal; a 503 keeps the plan, and the same call completes it."""
        (port,) = free_ports(1)
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{port}")
        async with serving(settings) as api:
            session_id, user_id = await api.session(), await api.user()
            refused = await api.enroll(session_id, user_id)
            assert refused.status_code == 503
            assert refused.json()["type"].endswith(":temporal-unavailable")
            assert int(refused.headers["retry-after"]) > 0
            page = await ReminderQueries(database).list(session_id=session_id)
            assert {r.status for r in page.reminders} == {"scheduled"}

            with EmbeddedTemporal(port=port, headless=True):
                repeated = await api.enroll(session_id, user_id)
                again = await api.enroll(session_id, user_id)
            assert repeated.status_code == 200
            assert repeated.json()["run_id"] == again.json()["run_id"]
            assert repeated.json()["scheduled_reminders"] == 3

    async def test_temporal_away_when_a_session_is_cancelled(
        self, api: Api, settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cancel that only reached the ledger is a 503, and the same call reaches the workflow."""
        body, session_id = a_body(), uuid4()
        await api.put(f"/v1/sessions/{session_id}", json=body)
        user_id = await api.user()
        await api.enroll(session_id, user_id)
        cancelled = {**body, "status": "cancelled"}
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
        async with serving(settings) as lonely:
            refused = await lonely.put(f"/v1/sessions/{session_id}", json=cancelled)
        async with a_worker(client, settings):
            repeated = await api.put(f"/v1/sessions/{session_id}", json=cancelled)
            assert (refused.status_code, repeated.status_code) == (503, 200)
            assert repeated.json()["changes"]["enrollments"] == 1
            with pytest.raises(WorkflowFailureError) as failure:
                await client.get_workflow_handle(workflow_of(session_id, user_id)).result()
        assert isinstance(failure.value.cause, CancelledError)

    async def test_why_without_temporal(
        self, api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The ledger's story is told while Temporal is away; the workflow's status is not known."""
        session_id, user_id = await api.enrolled()
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
        async with serving(settings) as lonely:
            answer = await lonely.get(f"/v1/enrollments/{session_id}/{user_id}")
        assert answer.status_code == 200
        assert answer.json()["workflow"]["status"] == "unknown"
        assert len(answer.json()["reminders"]) == 3

    async def test_postgres_away(self, settings: Settings) -> None:
        """While PostgreSQL is down every call is a 503; back up, the same calls succeed."""
        with EmbeddedPostgres(durable=False) as postgres:
            postgres.create_database("away")
            database = Database(postgres.url("away"))
            await migrated(database)
            away = settings.model_copy(update={"database_url": SecretStr(postgres.url("away"))})
            async with serving(away) as api:
                session_id, user_id = await api.session(), await api.user()
                # Such a server writes its log a moment after the commit.
                async with database.autocommit() as connection:
                    await connection.exec_driver_sql("CHECKPOINT")
                await database.aclose()
                postgres.kill()
                refused = await api.enroll(session_id, user_id)
                assert refused.status_code == 503
                assert refused.json()["type"].endswith(":database-unavailable")
                assert int(refused.headers["retry-after"]) > 0
                assert (await api.get(f"/v1/sessions/{session_id}")).status_code == 503
                postgres.start()
                assert (await api.enroll(session_id, user_id)).status_code == 201


async def test_addresses_stay_out_of_logs(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """No log line has an attendee's address, whatever the level."""
    caplog.set_level(logging.DEBUG)
    session_id, user_id = await api.enrolled()
    await api.put(f"/v1/users/{user_id}", json={"email": ADDRESS, "unknown": 1})
    await api.put(f"/v1/users/{user_id}", json={"email": f"<{ADDRESS}>"})
    await api.get(f"/v1/enrollments/{session_id}/{user_id}")
    await api.delete(f"/v1/enrollments/{session_id}/{user_id}")
    assert caplog.records
    assert "ana.ruiz" not in caplog.text
