"""Rules over HTTP and by command: what they answer, what they refuse, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.client import Client

from reminders import temporal
from reminders.db.rule_effects import RuleEffects
from reminders.domain.errors import DatabaseUnavailableError
from reminders.settings import Settings
from starter.gateway import ReminderGateway
from starter.services.receipts import ChangeReceipt
from tests.starter.cli.test_cli import answer, reminders
from tests.starter.conftest import Api, Json, a_worker

PATH = "/v1/reminder-configurations"
A_RULE: Json = {
    "reminder_type": "48h",
    "minutes_before": 2880,
    "email_subject_template": "{session_title} in two days",
}


@pytest.fixture
def settings(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the other tests, on that database, for the API and for commands."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)
    return settings.model_copy(
        update={"database_url": Settings(database_url=database_url).database_url}
    )


async def kinds(api: Api, **query: object) -> dict[str, tuple[int, bool]]:
    """Type to minutes and switch."""
    listed = await api.get(PATH, params={k: str(v) for k, v in query.items()})
    return {
        r["reminder_type"]: (r["minutes_before"], r["is_enabled"]) for r in listed.json()["items"]
    }


async def test_the_four_rules_of_every_installation(api: Api) -> None:
    """GET names them in their order, and the notices after them."""
    found = await kinds(api)
    notices = {"cancelled", "moved", "confirmed"}
    assert {"24h": (1440, True), "2h": (120, True), "1h": (60, False), "30min": (30, True)} == {
        kind: rule for kind, rule in found.items() if kind not in notices
    }
    assert dict.fromkeys(notices, 0) == {kind: found[kind][0] for kind in notices}


async def test_a_rule_from_its_diff_to_its_end(
    api: Api, settings: Settings, client: Client
) -> None:
    """Compared, added, changed, deleted: each answer has what it did to who is enrolled."""
    session_id, _ = await api.enrolled(starts_in=timedelta(hours=30))
    async with a_worker(client, settings):
        said = (await api.post(f"{PATH}/diff", json=A_RULE)).json()
        assert {"past_due": 1} == said["total"]["skipped"]
        assert [str(session_id)] == [s["session_id"] for s in said["sessions"]]
        assert "Nobody gets an e-mail for the past" in said["in_words"][-1]
        assert said["before"] is None
        added = await api.post(PATH, json=A_RULE)
        assert 201 == added.status_code
        assert (1, 1) == (
            added.json()["changes"]["enrollments"], added.json()["changes"]["replanned"]
        )  # fmt: skip
        again = await api.post(PATH, json=A_RULE)
        assert (409, "rule-exists") == (
            again.status_code, again.json()["type"].rpartition(":")[2]
        )  # fmt: skip
        moves = {"reminder_type": "24h", "minutes_before": 720}
        said = (await api.post(f"{PATH}/diff", json=moves)).json()
        assert 1 == said["total"]["moved"]
        assert said["moved_from"]["earliest"] < said["moved_to"]["earliest"]
        changed = await api.patch(
            f"{PATH}/24h", json={"minutes_before": 720, "reason": "too early"}
        )
        assert (200, 720) == (
            changed.status_code, changed.json()["configuration"]["minutes_before"]
        )  # fmt: skip
        said = (
            await api.post(f"{PATH}/diff", json={"reminder_type": "24h", "delete": True})
        ).json()
        assert 1 == said["total"]["switched_off"]
        both = {"reminder_type": "24h", "delete": True, "minutes_before": 5}
        assert 422 == (await api.post(f"{PATH}/diff", json=both)).status_code
        deleted = await api.delete(f"{PATH}/24h")
        assert (200, None) == (deleted.status_code, deleted.json()["configuration"])
    assert "24h" not in await kinds(api)


async def test_a_rule_of_one_session(api: Api) -> None:
    """PATCH with session_id gives that session a rule of its own; DELETE takes it back."""
    session_id = await api.session()
    other = await api.session()
    changed = await api.patch(
        f"{PATH}/24h", params={"session_id": str(session_id)}, json={"is_enabled": False}
    )
    assert 200 == changed.status_code
    assert (1440, False) == (await kinds(api, session_id=session_id))["24h"]
    assert (1440, True) == (await kinds(api, session_id=other))["24h"]
    for status in (200, 404):
        gone = await api.delete(f"{PATH}/24h", params={"session_id": str(session_id)})
        assert status == gone.status_code
    assert (1440, True) == (await kinds(api, session_id=session_id))["24h"]


async def test_without_a_worker_a_change_is_stored_and_under_way(api: Api) -> None:
    """202: the rule holds, and whoever sleeps is told when a worker is there."""
    await api.enrolled()
    nothing = await api.patch(f"{PATH}/24h", json={"reason": "none"})
    assert (422, "minutes_before") == (nothing.status_code, nothing.json()["errors"][0]["field"])
    changed = await api.patch(f"{PATH}/24h", json={"is_enabled": False})
    assert 202 == changed.status_code
    assert {"sessions": 1, "told": 1} == changed.json()["under_way"]
    assert (1440, False) == (await kinds(api))["24h"]


async def test_one_session_that_cannot_be_read_holds_no_other_up(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with it: the others are told, and the sweep has the one."""
    odd, _ = await api.enrolled()
    for _ in range(3):
        await api.enrolled()
    replan = ReminderGateway.replan

    async def unless_odd(self: ReminderGateway, session_id: UUID, **options: Any) -> ChangeReceipt:
        if session_id == odd:
            raise ZeroDivisionError
        return await replan(self, session_id, **options)

    monkeypatch.setattr(ReminderGateway, "replan", unless_odd)
    changed = await api.patch(f"{PATH}/24h", json={"is_enabled": False})
    assert 202 == changed.status_code
    assert {"sessions": 4, "told": 3} == changed.json()["under_way"]


async def test_a_rule_that_is_stored_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nobody can say by then whom it concerns: repeated, it would be there already."""
    await api.enrolled()

    async def away(*_: object) -> None:
        raise DatabaseUnavailableError

    monkeypatch.setattr(RuleEffects, "sessions", away)
    added = await api.post(PATH, json=A_RULE)
    assert (201, {"sessions": 0, "told": 0}) == (added.status_code, added.json()["under_way"])
    assert "48h" in await kinds(api)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minutes_before", 0),
        ("minutes_before", -5),
        ("minutes_before", 1.5),
        ("minutes_before", "soon"),
        ("minutes_before", 525_601),
        ("minutes_before", None),
        ("email_subject_template", "{nonsense}"),
        ("email_subject_template", "{session_title"),
        ("email_subject_template", ""),
        ("email_subject_template", None),
        ("reminder_type", "two days"),
        ("reminder_type", "x" * 33),
        ("reminder_type", "../24h"),
        ("sort_order", -1),
        ("is_enabled", "perhaps"),
        ("display_name", "two\nlines"),
        ("lead", 5),
    ],
)
async def test_what_is_no_rule_is_refused_by_the_field(
    shared_api: Api, field: str, value: object
) -> None:
    """A 422 names the field, and nothing is stored; the diff refuses the same."""
    body = {**A_RULE, field: value}
    for path in (PATH, f"{PATH}/diff"):
        refused = await shared_api.post(path, json=body)
        assert 422 == refused.status_code, refused.text
        assert [field] == [e["field"] for e in refused.json()["errors"]]
    assert "48h" not in await kinds(shared_api)


@pytest.mark.parametrize("verb", ["patch", "delete"])
async def test_unknown_rules_and_sessions(api: Api, verb: str) -> None:
    """Each is a 404 of its own type."""
    options: Json = {"json": {"is_enabled": True}} if verb == "patch" else {}
    unknown = await api.request(verb.upper(), f"{PATH}/9h", **options)
    assert (404, "rule-not-found") == (
        unknown.status_code, unknown.json()["type"].rpartition(":")[2]
    )  # fmt: skip
    assert unknown.json()["detail"].startswith("There is no reminder rule '9h'. GET /v1/")
    nowhere = await api.request(
        verb.upper(), f"{PATH}/24h", params={"session_id": str(uuid4())}, **options
    )
    assert (404, "session-not-found") == (
        nowhere.status_code, nowhere.json()["type"].rpartition(":")[2]
    )  # fmt: skip


@pytest.mark.usefixtures("impatient")
async def test_resend_send_now_and_redrive_over_http(api: Api) -> None:
    """A reason is required; each refusal names the remedy; asked twice is once; a redrive counts."""
    session_id, user_id = await api.enrolled(starts_in=timedelta(minutes=90))
    story = (await api.get(f"/v1/enrollments/{session_id}/{user_id}")).json()
    ids = {r["reminder_type"]: r["id"] for r in story["reminders"]}
    nameless = await api.post(f"/v1/reminders/{ids['2h']}/resend", json={})
    assert (422, "reason") == (nameless.status_code, nameless.json()["errors"][0]["field"])
    waits = await api.post(f"/v1/reminders/{ids['30min']}/resend", json={"reason": "r"})
    assert (409, True) == (waits.status_code, "still waits" in waits.json()["detail"])
    nobody = await api.post(f"/v1/reminders/{uuid4()}/resend", json={"reason": "r"})
    assert 404 == nobody.status_code
    ended = await api.post(f"/v1/reminders/{ids['2h']}/send-now", json={"reason": "r"})
    assert (409, True) == (ended.status_code, "once more instead" in ended.json()["detail"])
    for _ in range(2):
        now = await api.post(f"/v1/reminders/{ids['30min']}/send-now", json={"reason": "r"})
        assert (200, "scheduled") == (now.status_code, now.json()["email_status"])
        assert datetime.fromisoformat(now.json()["due_at"]) <= datetime.now(UTC)
    told = [
        await api.post(f"/v1/reminders/{ids['2h']}/resend", json={"reason": "r"}) for _ in range(2)
    ]
    assert [201, 200] == [t.status_code for t in told]
    assert told[0].json()["id"] == told[1].json()["id"]
    assert (2, "scheduled") == (told[0].json()["generation"], told[0].json()["email_status"])
    for body, status in (({}, 422), ({"dry_run": True}, 200), ({"reason": "r"}, 200)):
        done = await api.post("/v1/reminders/redrive", json=body)
        assert status == done.status_code
    assert (0, {}) == (done.json()["found"], done.json()["left_alone"])
    unknown = {"reason": "r", "session_id": str(uuid4())}
    assert 404 == (await api.post("/v1/reminders/redrive", json=unknown)).status_code


async def test_rules_by_command(settings: Settings) -> None:
    """`config` lists, adds, compares, changes and deletes; deleting wants to be confirmed."""
    assert ["24h", "2h", "1h", "30min", "cancelled", "moved", "confirmed"] == [
        r["reminder_type"] for r in (await answer("config", "list"))["items"]
    ]
    new = ("48h", "--minutes", 2880, "--subject", "{session_title} in two days")
    assert 2880 == (await answer("config", "add", *new, "--dry-run"))["after"]["minutes_before"]
    assert 7 == len((await answer("config", "list"))["items"])
    assert 2880 == (await answer("config", "add", *new))["configuration"]["minutes_before"]
    changed = await answer("config", "set", "48h", "--minutes", 2000, "--off")
    assert not changed["configuration"]["is_enabled"]
    said = await reminders("config", "diff", "48h", "--on")
    assert "Nobody gets an e-mail for the past" in said.stdout
    assert 2 == (await reminders("config", "diff", "48h", "--delete", "--off")).exit_code
    assert 2 == (await reminders("config", "delete", "48h")).exit_code
    assert (await answer("config", "delete", "48h", "--yes"))["configuration"] is None
    assert 3 == (await reminders("config", "set", "48h", "--on")).exit_code
    nothing = await reminders("config", "set", "24h")
    assert (1, True) == (nothing.exit_code, "nothing to change" in nothing.stderr)
    same = await reminders("config", "set", "24h", "--minutes", 120)
    assert (1, True) == (same.exit_code, "'2h'" in same.stderr)


@pytest.mark.usefixtures("impatient")
async def test_resend_send_now_and_redrive_by_command(api: Api, settings: Settings) -> None:
    """`resend` and `send-now` need a reason; `redrive` counts with --dry-run and wants --yes."""
    session_id, user_id = await api.enrolled(starts_in=timedelta(minutes=90))
    story = await answer("why", session_id, user_id)
    missed = next(r["id"] for r in story["reminders"] if r["reminder_type"] == "2h")
    assert 2 == (await reminders("resend", missed)).exit_code
    done = await answer("resend", missed, "--reason", "ticket 4711")
    assert (2, "scheduled") == (done["generation"], done["email_status"])
    refused = await reminders("resend", done["id"], "--reason", "again")
    assert (1, True) == (refused.exit_code, "still waits" in refused.stderr)
    assert 3 == (await reminders("resend", uuid4(), "--reason", "r")).exit_code
    waits = next(r["id"] for r in story["reminders"] if r["reminder_type"] == "30min")
    now = await answer("send-now", waits, "--reason", "ticket 4711")
    assert (waits, 1) == (now["id"], now["generation"])
    assert datetime.fromisoformat(now["due_at"]) <= datetime.now(UTC)
    assert 2 == (await reminders("send-now", waits)).exit_code
    ended = await reminders("send-now", missed, "--reason", "r")
    assert (1, True) == (ended.exit_code, "once more instead" in ended.stderr)
    assert 0 == (await answer("redrive", "--dry-run"))["found"]
    assert 2 == (await reminders("redrive")).exit_code
    assert 0 == (await answer("redrive", "--session", session_id, "--yes"))["resent"]
