"""What `/readyz` and `reminders doctor` find, and which cause they name."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import update
from temporalio.client import Client

from devstack.ports import free_ports
from devstack.temporal import EmbeddedTemporal
from reminders.db import migrate
from reminders.db.engine import Database
from reminders.db.reports import LedgerGauges
from reminders.db.tables import ReminderRow
from reminders.domain.keys import SWEEP_ID
from reminders.settings import Settings
from starter.assembly import assembled
from starter.health import examiner
from starter.health.diagnosis import Check, Diagnosis, Level
from tests.namespaces import a_namespace
from tests.reminders.delivery.dispatch import due_reminders
from tests.stage import eventually
from tests.starter.conftest import Api, a_body, a_worker, serving

NAMES = [
    "settings",
    "database",
    "schema",
    "temporal",
    "installation",
    "search_attributes",
    "schedule",
    "sweeps",
    "clock",
    "worker",
    "delivery",
    "webhooks",
    "quota",
    "stranded",
    "arrival",
    "overdue",
]
ASKING = [name for name in NAMES if name != "settings"]
"""Those that ask PostgreSQL or Temporal."""


@pytest.fixture
def settings(settings: Settings, database_url: str) -> Settings:
    """Settings with a database of this test's own: some of the checks look at all of it."""
    return settings.model_copy(update={"database_url": SecretStr(database_url)})


async def examine(settings: Settings) -> Diagnosis:
    """The diagnosis with these settings."""
    async with assembled(settings) as parts:
        return await parts.examiner.examine()


def warnings(diagnosis: Diagnosis) -> dict[str, Check]:
    """The checks that somebody should look at, although reminders go out."""
    return {check.name: check for check in diagnosis.checks if check.level is Level.WARNING}


def red(diagnosis: Diagnosis) -> dict[str, Check]:
    """The checks that failed."""
    return {check.name: check for check in diagnosis.checks if not check.ok}


async def overdue_by(database: Database, late: timedelta, api: Api) -> None:
    """Leave one reminder of a new enrollment waiting past its instant."""
    session_id, _ = await api.enrolled(starts_in=timedelta(minutes=90))
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE session_reminder_emails SET due_at = $1"
            " WHERE session_id = $2 AND email_status = 'scheduled'",
            (datetime.now(UTC) - late, session_id),
        )


@pytest.fixture
def working(client: Client, settings: Settings) -> AbstractAsyncContextManager[None]:
    """A worker on the test's task queue, once entered."""
    return a_worker(client, settings)


async def polled(settings: Settings) -> None:
    """Wait until the server has seen the worker."""
    async with assembled(settings) as parts:

        async def seen() -> bool:
            return "worker" not in red(await parts.examiner.examine())

        await eventually(seen)


async def test_alive(shared_api: Api) -> None:
    """`/healthz` only says that the process answers."""
    answer = await shared_api.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_server_that_takes_no_writes(settings: Settings) -> None:
    """It answers, and nothing can be planned or recorded: red, and 503 for who asks to."""
    url = f"{settings.require_database_url()}&options=-c%20default_transaction_read_only%3Don"
    read_only = settings.model_copy(update={"database_url": SecretStr(url)})
    found = red(await examine(read_only))["database"]
    assert "takes no writes" in found.detail
    assert found.remedy
    async with serving(read_only) as api:
        refused = await api.put(f"/v1/sessions/{uuid4()}", json=a_body())
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert "25006" in refused.json()["detail"]


async def test_all_is_well(
    api: Api, settings: Settings, working: AbstractAsyncContextManager[None]
) -> None:
    """With everything up and a worker polling, `/readyz` is a 200 that lists what was checked."""
    async with working, assembled(settings) as parts:
        await parts.namespace.claim(settings.sweep_cron, task_queue=settings.temporal_task_queue)
        await polled(settings)
        answer = await api.get("/readyz")
        await parts.namespace.claim("0 0 1 1 *", task_queue="nobody-polls-this")
    assert answer.status_code == 200
    assert (answer.json()["ready"], answer.json()["cause"]) == (True, None)
    assert [check["name"] for check in answer.json()["checks"]] == NAMES
    assert all(check["ok"] and check["remedy"] is None for check in answer.json()["checks"])


async def test_no_worker(api: Api, settings: Settings) -> None:
    """Without a worker `/readyz` is a 503 that says so, and what to do."""
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    cause = f"no worker polls task queue {settings.temporal_task_queue}"
    assert answer.json()["cause"] == answer.json()["detail"] == cause
    (worker,) = [check for check in answer.json()["checks"] if not check["ok"]]
    assert worker["remedy"] == "start one: `reminders worker`"


async def test_overdue_without_worker(api: Api, database: Database, settings: Settings) -> None:
    """Overdue reminders while no worker polls: the missing worker is named as the cause."""
    await overdue_by(database, timedelta(seconds=70), api)
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["cause"] == (
        "1 reminder is overdue by more than 60 s,"
        f" because no worker polls task queue {settings.temporal_task_queue}"
    )


async def test_overdue_with_worker(
    api: Api,
    database: Database,
    settings: Settings,
    working: AbstractAsyncContextManager[None],
) -> None:
    """Overdue reminders are red even when all else is well."""
    await overdue_by(database, timedelta(seconds=70), api)
    async with working:
        await polled(settings)
        diagnosis = await examine(settings)
    assert red(diagnosis).keys() == {"overdue"}
    assert diagnosis.cause == "1 reminder is overdue by more than 60 s"


async def test_due_a_moment_ago(api: Api, database: Database, settings: Settings) -> None:
    """A reminder that is late by less than a minute is not overdue yet."""
    await overdue_by(database, timedelta(seconds=50), api)
    assert "overdue" not in red(await examine(settings))


@pytest.mark.parametrize(("overdue", "silence"), [(True, 65), (False, 120)])
async def test_a_worker_that_fell_silent(
    *,
    overdue: bool,
    silence: int,
    api: Api,
    database: Database,
    settings: Settings,
    working: AbstractAsyncContextManager[None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's last poll counts for two minutes, and for one while reminders are overdue."""
    if overdue:
        await overdue_by(database, timedelta(minutes=5), api)
    async with working:
        await polled(settings)

    async def seen_after(seconds: int) -> bool:
        async with assembled(settings) as parts:
            real = parts.examiner.clock
            ahead = timedelta(seconds=seconds)

            class Later:
                def now(self) -> datetime:
                    return real.now() + ahead

            monkeypatch.setattr(parts.examiner, "clock", Later())
            return "worker" not in red(await parts.examiner.examine())

    assert await seen_after(silence - 10)
    assert not await seen_after(silence + 10)


async def test_delivery_on_hold(database: Database, settings: Settings) -> None:
    """A hold of all delivery is red and names the reason and the remedy."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE provider_pace SET held_until = now() + interval '1 hour',"
            " held_because = 'misconfigured'"
        )
    hold = red(await examine(settings))["delivery"]
    assert hold.detail.endswith("misconfigured")
    assert "RESEND_API_KEY" in (hold.remedy or "")


async def test_schema_behind(database: Database, settings: Settings) -> None:
    """A database that was not migrated is red, and the cause of everything behind it."""
    await migrate.downgrade(database, "base")
    diagnosis = await examine(settings)
    assert red(diagnosis)["schema"].remedy == "run `reminders db upgrade`"
    assert diagnosis.cause == f"the schema is at nothing, this release needs {migrate.head()}"


async def test_schema_of_a_later_release(database: Database, settings: Settings) -> None:
    """While a release rolls out, the old API stays ready; its operator is told."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            f"UPDATE {migrate.VERSION_TABLE} SET version_num = 'of_tomorrow'"
        )
    diagnosis = await examine(settings)
    assert "schema" not in red(diagnosis)
    assert "newer than this release" in warnings(diagnosis)["schema"].detail


async def test_requests_of_another_delivery_mode(database: Database, settings: Settings) -> None:
    """What is frozen for attendees and not posted in redirect mode is a warning, with the remedy."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO email_batches (id, reminder_ids, body, useful_until, frozen_at, owner,"
            " lease_until, delivery_mode) VALUES (gen_random_uuid(), ARRAY[gen_random_uuid()],"
            " '[]', now() + interval '1 hour', now(), 'w', now(), 'live')"
        )
    live = settings.model_copy(update={"delivery_mode": "live"})
    assert "stranded" not in warnings(await examine(live))
    redirected = settings.model_copy(
        update={"delivery_mode": "redirect", "verified_test_email": "tester@platform.example"}
    )
    stranded = warnings(await examine(redirected))["stranded"]
    assert stranded.detail.startswith("1 reminder is in requests that are not posted from here")
    assert "outcome_unknown" in (stranded.remedy or "")


async def accepted_ago(database: Database, ago: timedelta, *addresses: str) -> None:
    """One e-mail to each, accepted so long ago and not told of."""
    due = await due_reminders(database, len(addresses), address=lambda n: addresses[n])
    at = datetime.now(UTC) - ago
    async with database.transaction() as connection:
        await connection.execute(
            update(ReminderRow)
            .where(ReminderRow.id.in_([reminder.reminder_id for reminder in due]))
            .values(email_status="sent", attempts=1, sent_at=at, due_at=at)
        )


async def an_event(database: Database) -> None:
    """The provider has told something."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO webhook_events (svix_id, type, occurred_at)"
            " VALUES ('msg_1', 'email.delivered', now())"
        )


async def test_accepted_and_not_delivered(database: Database, settings: Settings) -> None:
    """A warning with how many, and where, unless the place is one person's; not for who is new."""
    live = settings.model_copy(update={"delivery_mode": "live"})
    await an_event(database)
    await accepted_ago(database, timedelta(minutes=14), "eve@new.example", "ben@new.example")
    assert "arrival" not in warnings(await examine(live))
    crowd = [f"p{n}@clinic.example" for n in range(2)]
    await accepted_ago(database, timedelta(minutes=16), "solo@own.example", *crowd)
    found = warnings(await examine(live))["arrival"]
    assert found.detail == (
        "3 e-mails are accepted, and not delivered after 15 minutes (2 at clinic.example)"
    )
    assert found.remedy
    redirected = warnings(await examine(settings))["arrival"]
    assert "clinic" not in redirected.detail


async def test_quota_near_its_end(database: Database, settings: Settings) -> None:
    """A quota of which less than a fifth is left is a warning, with how much and until when."""
    async with database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO provider_usage (quota, used, quota_limit, resets_at, checked_at)"
            " VALUES ('daily', 81, 100, now() + interval '1 hour', now()),"
            " ('monthly', 81, NULL, now() + interval '9 days', now())"
        )
    quota = warnings(await examine(settings))["quota"]
    assert quota.detail.startswith("19 of 100 e-mails are left of the daily quota until")
    assert "raise the quota" in (quota.remedy or "")


@pytest.mark.parametrize(
    ("ahead", "level", "said"),
    [
        (timedelta(seconds=30), Level.WARNING, r"(29|30) s ahead of PostgreSQL's"),
        (timedelta(minutes=-10), Level.WARNING, r"60\d s behind PostgreSQL's"),
        (timedelta(), Level.OK, "within 2 s"),
    ],
)
async def test_clocks_that_differ(
    ahead: timedelta,
    level: Level,
    said: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A warning, however much: nothing is judged by a machine's clock, but its logs are stamped."""

    class Skewed:
        def now(self) -> datetime:
            return datetime.now(UTC) + ahead

    async with assembled(settings) as parts:
        ledger = LedgerGauges(parts.database, parts.clock, machine=Skewed())
        monkeypatch.setattr(parts.examiner, "ledger", ledger)
        diagnosis = await parts.examiner.examine()
    (clock,) = [check for check in diagnosis.checks if check.name == "clock"]
    assert level is clock.level
    assert re.search(said, clock.detail)


async def test_a_clock_behind_temporals(
    settings: Settings,
    working: AbstractAsyncContextManager[None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker's poll that lies in the future shows that PostgreSQL's clock is behind."""

    class Behind:
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(minutes=5)

    async with working:
        await polled(settings)
        async with assembled(settings) as parts:
            monkeypatch.setattr(parts.examiner, "clock", Behind())
            clock = red(await parts.examiner.examine())["clock"]
    assert "behind Temporal's" in clock.detail


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"delivery_mode": "live"}, "RESEND_WEBHOOK_SECRET"),
        ({"delivery_mode": "live", "resend_api_url": "http://127.0.0.1:1"}, "RESEND_API_URL"),
        ({"temporal_ui_url": "temporal.example"}, "TEMPORAL_UI_URL"),
        ({"shadow_mode": True}, "SHADOW_MODE"),
    ],
)
async def test_settings_that_are_hardly_meant(
    changed: dict[str, object], named: str, settings: Settings
) -> None:
    """What is allowed and contradicts itself is a warning that names the variable."""
    found = warnings(await examine(settings.model_copy(update=changed)))["settings"]
    assert named in found.detail
    assert found.remedy


async def test_search_attributes_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A namespace without our search attributes is red, and they are named."""
    with EmbeddedTemporal(headless=True, search_attributes={}) as bare:
        monkeypatch.setenv("TEMPORAL_ADDRESS", bare.address)
        missing = red(await examine(settings))["search_attributes"]
    assert missing.detail.endswith("SessionId, UserId, SessionStart")
    assert missing.remedy == "run `reminders temporal setup`"


async def test_schedule_missing_or_paused(
    settings: Settings, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its Schedule nobody sweeps: red. A paused one is an operator's will: a warning."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", await a_namespace(client))
    missing = red(await examine(settings))["schedule"]
    assert missing.remedy == "run `reminders temporal setup`"
    async with assembled(settings) as parts:
        await parts.namespace.claim(settings.sweep_cron, task_queue=settings.temporal_task_queue)
        there = await examine(settings)
        assert "schedule" not in red(there) | warnings(there)
        await parts.client.get_schedule_handle(SWEEP_ID).pause()

        async def is_paused() -> bool:  # the Schedule's own workflow has yet to hear of it
            found = warnings(await parts.examiner.examine()).get("schedule")
            return found is not None and "--unpause" in (found.remedy or "")

        await eventually(is_paused)


async def test_unknown_namespace(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace that does not exist is red."""
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    assert "nowhere" in red(await examine(settings))["temporal"].detail


async def test_both_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """With PostgreSQL and Temporal away every check says so, and none raises."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
    nowhere = SecretStr(f"postgresql://user@127.0.0.1:{free_ports(1)[0]}/nowhere")
    diagnosis = await examine(settings.model_copy(update={"database_url": nowhere}))
    assert list(red(diagnosis)) == ASKING
    assert diagnosis.cause == "PostgreSQL does not answer"


async def test_servers_that_hang(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that take connections and never answer cost no more than the patience, and are named."""
    monkeypatch.setattr(examiner, "PATIENCE", timedelta(seconds=0.3))
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{port}")
        hanging = settings.model_copy(
            update={"database_url": SecretStr(f"postgresql://user@127.0.0.1:{port}/x")}
        )
        async with asyncio.timeout(30):
            diagnosis = await examine(hanging)
        for writer in held:
            writer.close()
    assert list(red(diagnosis)) == ASKING
    told = {check.name: check.detail for check in red(diagnosis).values()}
    for name, part in (("database", "PostgreSQL"), ("temporal", "Temporal")):
        assert f"{part} does not answer" in told[name]


async def test_probes_share_an_examination(settings: Settings) -> None:
    """Callers that ask at the same time get the very same diagnosis."""
    async with assembled(settings) as parts:
        first, second = await asyncio.gather(*(parts.examiner.examine() for _ in range(2)))
    assert first is second


async def test_nobody_is_told_secrets(settings: Settings) -> None:
    """`/readyz` is open, so it has neither addresses of servers nor passwords."""
    nowhere = SecretStr("postgresql://user:hunter2@127.0.0.1:1/nowhere")
    async with serving(settings.model_copy(update={"database_url": nowhere})) as api:
        answer = await api.get("/readyz", headers={"Authorization": ""})
    assert answer.status_code == 503
    assert "hunter2" not in answer.text
    assert "127.0.0.1" not in answer.text
