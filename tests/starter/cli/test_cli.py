"""The commands: what they print, what they leave behind, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from sqlalchemy import text
from temporalio.client import Client
from typer.testing import CliRunner, Result

from devstack.ports import free_ports
from devstack.postgres import EmbeddedPostgres
from devstack.temporal import EmbeddedTemporal
from reminders import temporal
from reminders.db import migrate
from reminders.db.audit import Action, AuditLog, By
from reminders.domain.keys import session_change_workflow_id, session_reminder_workflow_id
from reminders.domain.model import Attendee, Session, SessionStatus
from reminders.settings import Settings
from starter.assembly import Parts, assembled
from starter.cli import options, progress
from starter.cli.main import app
from tests.databases import as_new
from tests.stage import eventually
from tests.starter.conftest import ADDRESS, a_worker

REHEARSAL = (Path(__file__).resolve().parents[3] / "docs" / "rehearsal.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the test's parts as an operator's do: in the environment."""
    monkeypatch.setenv("DATABASE_URL", settings.require_database_url())
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", settings.temporal_task_queue)
    monkeypatch.setattr(temporal, "SDK_EXIT_SECONDS", 0)  # this process does not exit


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    """What the commands are answered with."""
    async with assembled(settings) as parts:
        yield parts


async def reminders(*arguments: object) -> Result:
    """The outcome of a command; in a thread, because it runs an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


async def answer(*arguments: object, exit_code: int = 0) -> Any:
    """A command's JSON."""
    result = await reminders(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


async def a_session(parts: Parts, **fields: Any) -> UUID:
    """A stored session, a week ahead."""
    session = Session(
        id=uuid4(),
        title=fields.pop("title", "Cardiology"),
        starts_at=datetime.now(UTC) + fields.pop("starts_in", timedelta(days=7)),
        **fields,
    )
    await parts.gateway.put_session(session)
    return session.id


async def a_user(parts: Parts) -> UUID:
    """A stored person."""
    user_id = uuid4()
    await parts.catalogue.put_user(Attendee(user_id=user_id, email=ADDRESS))
    return user_id


async def test_enroll(parts: Parts) -> None:
    """`enroll` answers as the API does, and twice with the same run."""
    session_id, user_id = await a_session(parts), await a_user(parts)
    first = await answer("enroll", session_id, user_id)
    second = await answer("enroll", session_id, user_id)
    assert first == second
    assert first["workflow_id"] == session_reminder_workflow_id(session_id, user_id)
    assert first["scheduled_reminders"] == 3


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
async def test_enroll_from_a_file(parts: Parts, tmp_path: Path, kind: str) -> None:
    """Everybody in it, again without effect; who is unknown is named by line, and stops nobody."""
    session_id, users = await a_session(parts), [await a_user(parts) for _ in range(3)]
    roster = tmp_path / f"people.{kind}"
    if kind == "csv":
        rows = [f"{user},pending" for user in users[:2]] + [f" {users[2]} ,", f"{uuid4()},"]
        roster.write_text("\ufeffuser_id, status\r\n" + "\r\n".join(rows), "utf-8")
    else:
        entries = [{"user_id": str(u), "status": "pending"} for u in users[:2]]
        entries += [{"user_id": str(users[2])}, {"user_id": str(uuid4())}]
        roster.write_text("\n".join(map(json.dumps, entries)) + "\n\n", "utf-8")
    first = await answer("enroll", session_id, "--from", roster, exit_code=1)
    assert [3, 0, 1] == [first[name] for name in ("enrolled", "unchanged", "refused")]
    assert [0, 0, 3, None] == [one["scheduled_reminders"] for one in first["enrollments"]]
    again = await reminders("enroll", session_id, "--from", roster)
    assert again.exit_code == 1
    assert str(5 if kind == "csv" else 4) in again.stdout.split("refused because")[1]
    beyond = await reminders("enroll", session_id, "--from", roster, "--skip", 5)
    assert (1, True) == (beyond.exit_code, "--skip 5 is more than the 4 entries" in beyond.stderr)
    alone = await reminders("enroll", session_id, users[0], "--skip", 1)
    assert (2, True) == (alone.exit_code, "--from" in alone.stderr)
    rest = await answer("enroll", session_id, "--from", roster, "--skip", 2, exit_code=1)
    assert [str(users[2])] == [one["user_id"] for one in rest["enrollments"]][:1]
    (entry, *_) = await AuditLog(parts.database).entries(session_id=session_id)
    assert (entry.action, entry.details["refused"]) == (Action.ENROLLED, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user_id,name\n{user},Ana\n", "line 2: name"),
        ("user_id\n{user}\n42\n", "line 3: user_id"),
        ("user_id\n{user},extra\n", "line 2: beyond the columns"),
        ('{{"user_id": "{user}"}}\n{{"user_id"\n', "line 2 is no JSON object"),
        ('[{{"user_id": "{user}"}}]\n', "write one object a line"),
        ("user_id\n", "has no entries"),
        ("", "has no entries"),
        (None, "cannot be read"),
    ],
)
async def test_a_file_with_a_wrong_line(
    parts: Parts, tmp_path: Path, content: str | None, said: str
) -> None:
    """Line and field are named, no value is, and nobody is enrolled."""
    session_id, user_id, roster = await a_session(parts), await a_user(parts), tmp_path / "people"
    if content is not None:
        roster.write_text(content.format(user=user_id))
    refused = await reminders("enroll", session_id, "--from", roster)
    assert (refused.exit_code, True) == (1, said in refused.stderr), refused.stderr
    assert "Ana" not in refused.stderr
    assert {} == await parts.catalogue.counts(session_id)


async def test_where_to_go_on_with_a_file(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Temporal it ends with 4 and says how many are done; USER and --from exclude each other."""
    session_id, roster = await a_session(parts), tmp_path / "people.csv"
    roster.write_text(f"user_id\n{await a_user(parts)}\n")
    both = await reminders("enroll", session_id, uuid4(), "--from", roster)
    neither = await reminders("enroll", session_id)
    assert (both.exit_code, neither.exit_code) == (2, 2)
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    away = await reminders("enroll", session_id, "--from", roster)
    assert (away.exit_code, True) == (4, "go on with --skip 0" in away.stderr)


async def test_why(parts: Parts) -> None:
    """`why` has every reminder with its decision, and no address."""
    session_id, user_id = (
        await a_session(parts, starts_in=timedelta(minutes=90)),
        await a_user(parts),
    )
    await parts.gateway.enroll(session_id, user_id)
    story = await answer("why", session_id, user_id)
    assert [r["email_status"] for r in story["reminders"]] == ["skipped", "skipped", "scheduled"]
    assert story["workflow"]["status"] == "running"
    shown = (await reminders("why", session_id, user_id)).stdout
    assert "its instant had passed when it was planned" in shown
    assert "ana" not in shown
    assert "ana" not in json.dumps(story)


NOW = datetime.now(UTC).isoformat()


async def test_list(parts: Parts) -> None:
    """`list` filters, and goes on where the list before ended."""
    session_id = await a_session(parts)
    users = [await a_user(parts) for _ in range(2)]
    for user_id in users:
        await parts.gateway.enroll(session_id, user_id)
    first = await answer("list", "--session", session_id, "--limit", 4)
    rest = await answer("list", "--session", session_id, "--cursor", first["next_cursor"])
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (4, 2, None)
    assert len((await answer("list", "--user", users[0]))["items"]) == 3
    failed = ("list", "--session", session_id, "--status", "failed")
    assert (await answer(*failed))["items"] == []
    of_session = ("list", "--session", session_id)
    assert [] == (await answer(*of_session, "--until", NOW))["items"]
    due = [r["due_at"] for r in (await answer(*of_session, "--since", NOW))["items"]]
    assert due == sorted(due)
    newest = await answer(*of_session, "--newest", "--limit", 4)
    older = await answer(*of_session, "--newest", "--cursor", newest["next_cursor"])
    assert due[::-1] == [r["due_at"] for r in newest["items"] + older["items"]]
    ahead = (await answer("list", "--limit", 10_000))["items"]
    assert set(due) <= {r["due_at"] for r in ahead}
    assert min(r["due_at"] for r in ahead) >= NOW
    assert "--cursor" in (await reminders("list", "--limit", 1)).stdout


async def test_titles_and_names_stand_beside_ids(parts: Parts) -> None:
    """In tables, never in JSON; and no table has the address of somebody without a name."""
    session_id, user_id = await a_session(parts, title="Sepsis"), await a_user(parts)
    named = Attendee(user_id=uuid4(), email=ADDRESS, full_name="Kenji Sato")
    await parts.catalogue.put_user(named)
    for enrolled in (user_id, named.user_id):
        await parts.gateway.enroll(session_id, enrolled)
    for words, title in (
        (("list", "--session", session_id), True),
        (("session", "roster", session_id), False),
        (("why", session_id, named.user_id), True),
        (("user", "find", "Kenji"), False),
    ):
        shown = (await reminders(*words)).stdout
        assert "Kenji Sato" in shown
        assert ("Sepsis" in shown) is title
        assert ADDRESS not in shown
        assert "Kenji" not in json.dumps(await answer(*words))


async def test_session_show(parts: Parts) -> None:
    """`session show` has the counts, and shows a title as text, whatever is in it."""
    session_id = await a_session(parts, title="[red]x[/] \x1b[31m")
    await parts.gateway.enroll(session_id, await a_user(parts))
    shown = await answer("session", "show", session_id)
    assert shown["counts"]["scheduled"] == 3
    text = (await reminders("session", "show", session_id)).stdout
    assert "[red]x[/]" in text
    assert "\x1b" not in text


async def test_cancel_one(parts: Parts) -> None:
    """`cancel SESSION USER` unenrolls one person, and `--dry-run` says so beforehand."""
    session_id, user_id, other = await a_session(parts), await a_user(parts), await a_user(parts)
    for enrolled in (user_id, other):
        await parts.gateway.enroll(session_id, enrolled)
    receipt = {"cancelled": 3, "already_sent": 0, "in_flight": 0, "told": 0}
    assert await answer("cancel", session_id, user_id, "--dry-run") == receipt
    assert (await parts.queries.tally(session_id, user_id)) == {"scheduled": 3}
    assert await answer("cancel", session_id, user_id) == receipt
    assert (await parts.queries.tally(session_id, user_id)) == {"cancelled": 3}
    assert (await parts.queries.tally(session_id)) == {"scheduled": 3}


async def test_cancel_all(parts: Parts, settings: Settings, client: Client) -> None:
    """`cancel SESSION` cancels the session itself: all who are enrolled, and all who come later."""
    session_id = await a_session(parts)
    users = [await a_user(parts) for _ in range(3)]
    for user_id in users:
        await parts.gateway.enroll(session_id, user_id)
    await parts.gateway.unenroll(session_id, users.pop())
    receipt = {"cancelled": 6, "already_sent": 0, "in_flight": 0, "told": 0}
    assert await answer("cancel", session_id, "--dry-run") == receipt
    async with a_worker(client, settings):
        assert await answer("cancel", session_id, "--yes") == receipt
        assert (await parts.catalogue.session(session_id)).status is SessionStatus.CANCELLED
        for user_id in users:
            handle = client.get_workflow_handle(session_reminder_workflow_id(session_id, user_id))
            with pytest.raises(Exception, match="Workflow execution failed"):
                await handle.result()
    late = await parts.gateway.enroll(session_id, await a_user(parts))
    assert late.reminders == ()


async def test_cancel_and_tell_nobody(parts: Parts) -> None:
    """The dry run counts who would be told; with `--tell-nobody` nobody is, and the log says so."""
    session_id, user_id = await a_session(parts), await a_user(parts)
    await parts.gateway.enroll(session_id, user_id)
    await answer("config", "set", "cancelled", "--on", "--session", session_id)
    assert 1 == (await answer("cancel", session_id, "--dry-run"))["told"]
    assert 1 == (await answer("session", "show", session_id))["would_be_told"]["cancelled"]
    await answer("cancel", session_id, "--yes", "--tell-nobody")
    (entry, *_) = await parts.audit.entries(session_id=session_id)
    assert entry.details["tell_nobody"] is True
    assert 1 == (await answer("session", "restore", session_id, "--dry-run"))["replanned"]
    planned = await parts.planner.replan(session_id, user_id)
    assert ["untold"] == [r.reason for r in planned.reminders if r.notice]


async def test_cancel_all_without_a_worker(parts: Parts) -> None:
    """The session is cancelled, and the command names the workflow that waits for a worker."""
    session_id = await a_session(parts)
    await parts.gateway.enroll(session_id, await a_user(parts))
    told = await answer("cancel", session_id, "--yes")
    assert told["workflow_id"] == session_change_workflow_id(session_id)
    assert (await parts.catalogue.session(session_id)).status is SessionStatus.CANCELLED


async def test_session_changed(parts: Parts, settings: Settings, client: Client) -> None:
    """`session changed SESSION` plans everybody anew, and says how many."""
    session_id = await a_session(parts)
    await parts.gateway.enroll(session_id, await a_user(parts))
    async with a_worker(client, settings):
        told = await answer("session", "changed", session_id)
        table = (await reminders("session", "changed", session_id)).stdout
    assert (told["enrollments"], told["replanned"], told["unconfirmed"]) == (1, 1, 0)
    assert "not confirmed" in table
    title = (await parts.catalogue.session(session_id)).title

    async def listed() -> bool:
        shown = (await reminders("runs", "--kind", "change", "--state", "completed")).stdout
        return any(title in line and str(session_id) in line for line in shown.splitlines())

    await eventually(listed)


async def test_cancel_all_must_be_confirmed(parts: Parts) -> None:
    """Without a terminal `cancel SESSION` demands `--yes`, and does nothing."""
    session_id = await a_session(parts)
    result = await reminders("cancel", session_id)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert (await parts.catalogue.session(session_id)).status is SessionStatus.SCHEDULED


async def test_doctor(parts: Parts, settings: Settings, client: Client) -> None:
    """`doctor` ends with 0 when all is well, and with 5 and the cause when no worker polls."""
    async with parts.database.transaction() as connection:  # what other tests have left overdue
        await connection.execute(
            text(
                "DELETE FROM session_reminder_emails WHERE email_status IN ('scheduled', 'sending')"
            )
        )
    red = await answer("doctor", exit_code=5)
    assert "no worker polls" in red["cause"]  # perhaps beside what that has left overdue
    assert "start one: `reminders worker`" in (await reminders("doctor")).stdout
    async with a_worker(client, settings):
        # The server knows a poller once its first poll has arrived.
        for _ in range(100):
            result = await reminders("doctor", "--json")
            if result.exit_code == 0:
                break
    assert json.loads(result.stdout)["ready"] is True


async def test_db_upgrade(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """`db upgrade` brings an empty database to this release, and can be repeated."""
    postgres.create_database("upgraded")
    monkeypatch.setenv("DATABASE_URL", postgres.url("upgraded"))
    head = migrate.head()
    assert await answer("db", "upgrade") == {"before": None, "after": head, "warnings": []}
    assert await answer("db", "upgrade") == {"before": head, "after": head, "warnings": []}


async def test_temporal_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """`temporal setup` registers what is missing, and can be repeated."""
    with EmbeddedTemporal(headless=True, search_attributes={}) as bare:
        monkeypatch.setenv("TEMPORAL_ADDRESS", bare.address)
        first = await answer("temporal", "setup")
        second = await answer("temporal", "setup")
    assert first == {"added": ["SessionId", "UserId", "SessionStart"], "schedule": "created"}
    assert second == {"added": [], "schedule": "unchanged"}


@pytest.mark.usefixtures("no_sweep_left")
async def test_sweep_and_runs(settings: Settings, client: Client) -> None:
    """`sweep --wait` prints what it found, `sweep` which one runs, `runs` lists both."""
    async with a_worker(client, settings):
        done = await answer("sweep", "--wait")
        assert done["status"] == "completed"
        assert done["result"]["totalFailed"] == 0
        assert "in_doubt" in (await reminders("sweep", "--wait")).stdout
        assert (await answer("sweep"))["workflow_id"] == "reminder-sweep-manual"
        assert "reminder-sweep-manual" in (await reminders("sweep", "--wait")).stdout

        async def listed() -> bool:
            return bool((await answer("runs"))["items"])

        await eventually(listed)
        assert "ReminderSweep" not in (await reminders("runs")).stderr


async def test_api() -> None:
    """`api` serves as a real process, and ends with 0 when it is told to stop."""
    (port,) = free_ports(1)
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from starter.cli.main import main; main()",
        "api",
        env={**os.environ, "API_ADDRESS": f"127.0.0.1:{port}"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with httpx2.AsyncClient(trust_env=False) as http:

            async def alive() -> bool:
                try:
                    answer = await http.get(f"http://127.0.0.1:{port}/healthz")
                except httpx2.TransportError:
                    return False
                return answer.status_code == 200

            await eventually(alive, within=timedelta(minutes=1))
    finally:
        server.terminate()
        _, log = await server.communicate()
    assert server.returncode == 0
    assert f"API on http://127.0.0.1:{port}".encode() in log


class TestFailures:
    """Exit codes, and one line on standard error that says the remedy."""

    async def test_not_found(self, parts: Parts) -> None:
        """What does not exist ends with 3."""
        for arguments in (
            ("enroll", uuid4(), await a_user(parts)),
            ("enroll", await a_session(parts), uuid4()),
            ("why", await a_session(parts), await a_user(parts)),
            ("cancel", uuid4(), "--yes"),
            ("cancel", uuid4(), "--dry-run"),
            ("cancel", await a_session(parts), await a_user(parts), "--dry-run"),
            ("session", "show", uuid4()),
        ):
            result = await reminders(*arguments)
            assert result.exit_code == 3, arguments
            assert len(result.stderr.splitlines()) == 1
            assert result.stdout == ""

    @pytest.mark.parametrize(
        "arguments", [("enroll", "42", "42"), ("why",), ("list", "--limit", "0"), ("unknown",)]
    )
    async def test_usage(self, arguments: tuple[str, ...]) -> None:
        """Wrong arguments end with 2."""
        assert (await reminders(*arguments)).exit_code == 2

    @pytest.mark.parametrize(
        "arguments",
        [
            ("user", "find", "\udcff"),
            ("enroll", "\udcff", "42"),
            ("sweep", "--reason", "caf\udce9"),
            ("config", "diff", "1h", "--minutes", "9" * 40),
        ],
        ids=ascii,
    )
    async def test_what_cannot_be_stored(self, arguments: tuple[str, ...]) -> None:
        """Bytes that are no text here, and numbers beyond all bounds, are a usage error in words."""
        result = await reminders(*arguments)
        assert result.exit_code == 2
        assert "UTF-8" in result.stderr or "--minutes" in result.stderr
        assert "Traceback" not in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("user", "find", ""), "query"),
            (("session", "list", "x" * 201), "query"),
            (("events", "--actor", "x" * 201), "actor"),
            (("session", "roster", UUID(int=1), "--cursor", "x" * 2_001), "cursor"),
            (("runs", "--cursor", "x" * 2_001), "cursor"),
            (("ledger-restored", "--down-since", "yesterday"), "--down-since"),
            (("ledger-restored", "--down-since", "2026-11-23T09:00:00"), "--down-since"),
        ],
        ids=lambda value: " ".join(map(str, value))[:40] if isinstance(value, tuple) else value,
    )
    async def test_what_is_too_long_or_empty(self, arguments: tuple[Any, ...], words: str) -> None:
        """A usage error in the API's words, and never what was typed."""
        result = await reminders(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert "x" * 201 not in result.stderr

    async def test_a_restore_lies_in_the_past(self) -> None:
        """A year that was mistyped would have everything taken for lost."""
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        result = await reminders("ledger-restored", "--down-since", tomorrow)
        assert result.exit_code == 1
        assert "future" in result.stderr

    async def test_temporal_away(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without Temporal a command ends with 4, and the same command completes it later."""
        session_id, user_id = await a_session(parts), await a_user(parts)
        with monkeypatch.context() as away:
            away.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
            result = await reminders("enroll", session_id, user_id)
        assert result.exit_code == 4
        assert result.stderr.startswith("reminders: Temporal does not answer")
        assert (await answer("enroll", session_id, user_id))["scheduled_reminders"] == 3

    async def test_postgres_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without PostgreSQL a command ends with 4."""
        monkeypatch.setenv("DATABASE_URL", f"postgresql://u@127.0.0.1:{free_ports(1)[0]}/x")
        result = await reminders("list")
        assert result.exit_code == 4
        assert result.stderr.startswith("reminders: PostgreSQL does not answer")

    @pytest.mark.parametrize(
        ("variable", "value", "remedy"),
        [
            ("DATABASE_URL", "", "DATABASE_URL is not set"),
            ("DATABASE_URL", "mysql://db/x", "only PostgreSQL is supported"),
            ("EMAIL_BATCH_SIZE", "many", "EMAIL_BATCH_SIZE"),
            ("DELIVERY_MODE", "live", "RESEND_API_KEY"),
            ("TEMPORAL_PROFILE", "nowhere", "Profile 'nowhere' not found"),
            ("TEMPORAL_TLS_CLIENT_CERT_PATH", "/nowhere", "/nowhere"),
            ("TEMPORAL_NAMESPACE", "nowhere", "temporal operator namespace create"),
            ("RESCHEDULE_RESEND_THRESHOLD", "an hour", "is no duration; write 90s"),
            ("RESEND_WEBHOOK_SECRET", "secret", "reminders: RESEND_WEBHOOK_SECRET must be"),
        ],
    )
    async def test_settings(
        self, variable: str, value: str, remedy: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A setting that cannot be used ends with 1, and the line names it."""
        session_id, user_id = await a_session(parts), await a_user(parts)
        monkeypatch.setenv(variable, value)
        result = await reminders("enroll", session_id, user_id)
        assert result.exit_code == 1
        assert remedy in result.stderr
        assert len(result.stderr.splitlines()) == 1

    async def test_not_migrated(
        self, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A database that was not migrated ends with 1, and the line says how to."""
        postgres.create_database("bare")
        monkeypatch.setenv("DATABASE_URL", postgres.url("bare"))
        result = await reminders("list")
        assert result.exit_code == 1
        assert "reminders db upgrade" in result.stderr

    async def test_no_such_database(
        self, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A database that does not exist ends with 1, and the line says what to do."""
        monkeypatch.setenv("DATABASE_URL", postgres.url("nowhere"))
        result = await reminders("list")
        assert result.exit_code == 1
        assert "create it, or correct the URL" in result.stderr

    @pytest.mark.parametrize(
        ("command", "variable", "value", "exit_code", "remedy"),
        [
            ("api", "API_ADDRESS", "0.0.0.0:0", 1, "set API_KEYS"),
            ("worker", "TEMPORAL_NAMESPACE", "nowhere", 1, "namespace create"),
            ("worker", "TEMPORAL_ADDRESS", "127.0.0.1:{port}", 4, "or set TEMPORAL_ADDRESS"),
        ],
    )
    def test_servers(
        self, command: str, variable: str, value: str, exit_code: int, remedy: str
    ) -> None:
        """`api` and `worker` refuse as every command does, in one line, as real processes."""
        done = subprocess.run(
            [sys.executable, "-c", "from starter.cli.main import main; main()", command],
            env={**os.environ, variable: value.format(port=free_ports(1)[0])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == exit_code
        [word] = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # no log
        assert remedy in word


async def test_rehearse_shows_what_an_enrollment_would_get(parts: Parts) -> None:
    """Every instant and subject, also after a move, in JSON and as a table; nothing is left behind."""
    session = await a_session(parts, title="Sepsis in [bold]children[/]")
    starts_at = (await parts.catalogue.session(session)).starts_at
    move = ("--move-at", starts_at - timedelta(hours=20)), (
        "--move-to", starts_at + timedelta(days=3),
    )  # fmt: skip
    start = "--start", "2031-04-01T09:30:00+02:00", "--zone", "Europe/Madrid"
    moved = [word for option, at in move for word in (option, at.isoformat())]
    mails = (await answer("rehearse", session, *moved))["reminders"]
    table = (await reminders("rehearse", *start)).stdout
    assert [("24h", 1), ("24h", 2), ("2h", 1), ("30min", 1)] == [
        (mail["reminder_type"], mail["generation"]) for mail in mails
    ]
    assert all("Sepsis in [bold]children[/]" in mail["subject"] for mail in mails)
    assert {"sent"} == {mail["email_status"] for mail in mails}
    assert {} == await parts.catalogue.counts(session)
    assert "2031-04-01 07:30:00 UTC, announced in Europe/Madrid" in table
    assert "2031-04-01 05:30:00" in table


async def test_the_page_on_rehearsals_shows_what_is_printed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command, run as it stands there in a new installation, prints what stands below it."""
    monkeypatch.setenv("DATABASE_URL", await as_new(database_url))
    (block,) = re.findall(r"(?s)```console\n\$ reminders rehearse (.*?)```", REHEARSAL)
    command, _, shown = block.replace("\\\n", " ").partition("\n")
    assert shown == (await reminders("rehearse", *shlex.split(command))).stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name a SESSION, or give --start"),
        (["--start", "2031-04-01T09:30:00"], "has no UTC offset"),
        (["--start", "2031-04-01T09:30:00Z", "--zone", "Madrid"], "zone"),
        (["--start", "2031-04-01T09:30:00Z", "--move-at", "2031-03-01T09:30:00Z"], "--move-to"),
    ],
    ids=["nothing", "naive", "zone", "half-a-move"],
)
async def test_rehearse_says_what_is_wrong(arguments: list[str], says: str) -> None:
    """Usage that cannot be meant is one line, and exit code 2."""
    result = await reminders("rehearse", *arguments)
    assert options.ExitCode.USAGE == result.exit_code
    assert says in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["session", "show", UUID(int=404)], "`reminders session list`"),
        (["user", "show", UUID(int=404)], "`reminders user find`"),
        (["resend", UUID(int=404), "--reason", "x"], "`reminders list`"),
        (["backfill", "--session", UUID(int=404)], "`reminders session list`"),
    ],
)
async def test_what_is_not_there_names_the_command_that_finds_it(
    arguments: list[object], remedy: str
) -> None:
    """One line, the remedy in it, and exit code 3; a back-fill of no session is no success."""
    result = await reminders(*arguments)
    assert options.ExitCode.NOT_FOUND == result.exit_code
    assert 1 == len(result.stderr.splitlines())
    assert remedy in result.stderr
    assert "" == result.stdout


async def test_a_backfill_is_in_the_audit_log(parts: Parts) -> None:
    """With its counts; one that only counts leaves nothing."""
    session_id = await a_session(parts)
    log = AuditLog(parts.database)
    await answer("backfill", "--session", session_id, "--dry-run")
    assert () == await log.entries(session_id=session_id)
    await answer("backfill", "--session", session_id, "--reason", "the first of May")
    (entry,) = await log.entries(session_id=session_id, action=Action.BACKFILLED)
    assert ("cli", "the first of May") == (entry.actor, entry.reason)
    assert 0 == entry.details["enrollments"]


async def test_a_cancel_that_takes_long_is_followed_on_a_terminal(
    parts: Parts, settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the workflow is done, with a bar; without a worker nobody is kept waiting for ever."""
    session_id = await a_session(parts)
    await parts.gateway.enroll(session_id, await a_user(parts))
    wait = timedelta(seconds=0.1)
    change = await parts.gateway.cancel_session(session_id, By("cli"), wait=wait)
    assert not change.is_done
    monkeypatch.setattr(progress, "STILL", timedelta(milliseconds=100))
    assert change == await progress.followed(parts, session_id, change)
    monkeypatch.undo()
    following = asyncio.create_task(progress.followed(parts, session_id, change))
    async with a_worker(client, settings):
        receipt = await following
    assert (True, 1, 3) == (receipt.is_done, receipt.enrollments, receipt.reminders.cancelled)
    assert receipt == await progress.followed(parts, session_id, receipt)


@pytest.mark.parametrize(("quiet", "is_terminal"), [(True, True), (False, False), (False, True)])
def test_a_bar_is_for_people_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    quiet: bool,
    is_terminal: bool,
) -> None:
    """On standard error; nothing in a file, and nothing with `--json`."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress.bar("enrollments", 5, quiet=quiet) as shown:
        shown.advance(2)
        shown.at(5, 5)
    captured = capsys.readouterr()
    assert "" == captured.out
    assert (is_terminal and not quiet) == ("5/5" in captured.err)
