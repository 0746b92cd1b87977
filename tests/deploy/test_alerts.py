"""Each alert fires when what it is for really happens, and none when all is well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from devstack.temporal import EmbeddedTemporal
from reminders.clock import SystemClock
from reminders.db.deliveries import PostgresDeliveryLedger
from reminders.db.engine import Database
from reminders.db.reports import LedgerGauges
from reminders.domain.keys import SWEEP_ID
from reminders.domain.pace import Pace, Quota, Usage
from reminders.observability import metrics, scrape
from reminders.observability.metrics import DeliveryMetrics, a_registry
from reminders.observability.scrape import Scrape
from reminders.settings import Settings
from reminders.temporal import ensure_schedule
from starter.assembly import assemble
from starter.services.namespace import sweep_schedule
from tests.deploy.prometheus import PROMTOOL, alerts, evaluated, firing
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders
from tests.reminders.observability.running import Metrics, RunningWorker, a_running_worker
from tests.stage import eventually
from tests.starter.conftest import Api, serving

TASKS_FAILED = "temporal_workflow_task_execution_failed_total"

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool: install the Debian package `prometheus`"
)


@dataclass
class Scene:
    """The parts in which a cause is caused, and what they say of it."""

    settings: Settings
    database: Database
    provider: ProviderClient
    client: Client

    async def api(
        self, requests: Callable[[Api], Awaitable[object]] | None = None, **changed: Any
    ) -> Metrics:
        """What an API says."""
        async with serving(self.settings.model_copy(update=changed)) as api:
            if requests is not None:
                await requests(api)
            return Metrics((await api.get("/metrics")).text)

    async def delivering(
        self, *causes: Callable[[Scene], Awaitable[list[Any]]]
    ) -> tuple[Metrics, Metrics]:
        """What a delivery says before and after it was given what the causes make due."""
        registry = a_registry()
        told = Scrape(registry, {})
        async with a_pipeline(self.settings, observer=DeliveryMetrics(registry)) as pipeline:
            before = Metrics(bytes((await told.response()).body).decode())
            for cause in causes:
                await deliver(pipeline, await cause(self))
        return before, Metrics(bytes((await told.response()).body).decode())


@pytest.fixture
async def scene(
    *,
    settings: Settings,
    database: Database,
    provider: ProviderClient,
    client: Client,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    """Everything but a worker; every scrape reads anew."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    monkeypatch.setattr(scrape, "_FRESH", timedelta())
    await ensure_schedule(
        client, SWEEP_ID, sweep_schedule("0 0 1 1 *", task_queue="nobody-polls-this")
    )
    return Scene(settings, database, provider, client)


@needs_promtool
async def test_alarms_of_the_delivery(scene: Scene, tmp_path: Path) -> None:
    """Late ones, bad addresses and a provider that refuses our key: each is told, by its name."""

    async def late(scene: Scene) -> list[Any]:
        return list(await due_reminders(scene.database, 3, starts_in=timedelta(minutes=27)))

    async def bad_address(scene: Scene) -> list[Any]:
        return list(await due_reminders(scene.database, 1, address=lambda _: "no address"))

    async def refused(scene: Scene) -> list[Any]:
        await scene.provider.faults(
            kind="status", status=401, name="invalid_api_key", path="/emails/batch"
        )
        return list(await due_reminders(scene.database, 1))

    before = await scene.api()
    delivery_before, delivery = await scene.delivering(late, bad_address, refused)
    fired = evaluated(
        {"worker": delivery_before, "api": before},
        {"worker": delivery, "api": await scene.api()},
        tmp_path,
    )
    assert {
        "RemindersLate",
        "RemindersFailed",
        "RemindersProviderErrors",
        "RemindersDeliveryHeld",
    } <= fired


@needs_promtool
def test_a_hold_that_comes_and_goes_is_told(tmp_path: Path) -> None:
    """A used up quota holds for a minute, and is met again every five."""
    held = {"series": 'reminders_delivery_held{reason="quota"}', "values": "0x10 1 0x3 1 0x3 1 0x1"}
    assert "RemindersDeliveryHeld" in firing([held], tmp_path)


@needs_promtool
def test_probes_do_not_hide_that_every_call_fails(tmp_path: Path) -> None:
    """Readiness, liveness and scrapes of two pods: 38 good answers a minute beside one that is bad."""
    total = "reminders_http_requests_total"
    series = [
        {"series": f'{total}{{route="/v1/enrollments", status="500"}}', "values": "0+1x27"},
        {"series": f'{total}{{route="/healthz", status="200"}}', "values": "0+38x27"},
    ]
    assert "RemindersApiErrors" in firing(series, tmp_path)


@needs_promtool
async def test_alarms_of_the_ledger(scene: Scene, tmp_path: Path) -> None:
    """Overdue without a worker, a batch whose owner died, a quota near its end: told within minutes."""
    before = await scene.api()
    await due_reminders(scene.database, 2, starts_in=timedelta(minutes=25))
    async with scene.database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO email_batches (id, reminder_ids, body, useful_until, frozen_at, owner, lease_until)"
            " VALUES ($1, ARRAY[$2::uuid], '', now() + interval '1 hour', now() - interval '5 minutes',"
            " 'gone', now() - interval '4 minutes')",
            (uuid4(), uuid4()),
        )
    quota = Quota(used=90, limit=100, resets_at=datetime.now(UTC) + timedelta(hours=3))
    ledger = PostgresDeliveryLedger(scene.database, SystemClock(), owner="o", pace=Pace.of(1))
    await ledger.record_usage(Usage(daily=quota, monthly=quota))
    fired = evaluated({"api": before}, {"api": await scene.api()}, tmp_path)
    assert {
        "RemindersOverdue",
        "RemindersInDoubt",
        "RemindersQuotaLow",
        "RemindersNoWorker",
        "RemindersSweepMissing",
    } <= fired


@needs_promtool
def test_an_api_that_is_not_scraped_is_no_sign_of_workers(tmp_path: Path) -> None:
    """It is who looks for them."""
    up = {"series": 'up{job="reminders-worker"}', "values": "1x27"}
    assert "RemindersNoWorker" in firing([up], tmp_path)


@needs_promtool
async def test_alarms_of_what_does_not_arrive(scene: Scene, tmp_path: Path) -> None:
    """Accepted and silent: told as missing events, and once the provider tells at all, as undelivered."""
    secret = (SecretStr("whsec_aaaa"),)
    before = await scene.api(resend_webhook_secret=secret)
    await due_reminders(scene.database, 2)
    async with scene.database.transaction() as connection:
        await connection.exec_driver_sql(
            "UPDATE session_reminder_emails SET email_status = 'sent', attempts = 1,"
            " sent_at = now() - interval '16 minutes', due_at = now() - interval '17 minutes'"
        )
    silent = await scene.api(resend_webhook_secret=secret)
    assert "RemindersEventsMissing" in evaluated({"api": before}, {"api": silent}, tmp_path)
    async with scene.database.transaction() as connection:
        await connection.exec_driver_sql(
            "INSERT INTO webhook_events (svix_id, type, occurred_at) VALUES ('m', 'email.sent', now())"
        )
    told = await scene.api(resend_webhook_secret=secret)
    fired = evaluated({"api": silent}, {"api": told}, tmp_path)
    assert "RemindersUndelivered" in fired
    assert "RemindersEventsMissing" not in fired


@needs_promtool
async def test_alarms_of_what_is_away(scene: Scene, tmp_path: Path) -> None:
    """With PostgreSQL away, the sources, the check and the API's answers each say so."""

    async def asked(api: Api) -> None:
        for _ in range(10):
            assert (await api.get("/v1/reminders")).status_code == 503

    async def asked_once(api: Api) -> None:
        await api.get("/v1/reminders")

    nowhere = SecretStr("postgresql://user@127.0.0.1:1/nowhere")
    before = await scene.api(asked_once, database_url=nowhere)
    after = await scene.api(asked, database_url=nowhere)
    fired = evaluated({"api": before}, {"api": after}, tmp_path)
    assert {"RemindersSourceDown", "RemindersCheckFailed", "RemindersApiErrors"} <= fired


@needs_promtool
async def test_alarm_of_a_clock_that_is_wrong(scene: Scene, tmp_path: Path) -> None:
    """A process whose clock is a minute off is named."""

    class Slow:
        def now(self) -> datetime:
            return datetime.now(UTC) - timedelta(minutes=1)

    async def ledger() -> Any:
        return await metrics.ledger(LedgerGauges(scene.database, SystemClock(), machine=Slow()))

    told = await Scrape(a_registry(), {"ledger": ledger}).response()
    skewed = {"worker": Metrics(bytes(told.body).decode())}
    assert "RemindersClockSkew" in evaluated(skewed, skewed, tmp_path)


async def failing(scene: Scene, running: RunningWorker, *, more_than: float) -> Metrics:
    """What a worker says after it failed a workflow that it does not know."""
    queue = scene.settings.temporal_task_queue
    stranger = await scene.client.start_workflow("OfTomorrow", id=str(uuid4()), task_queue=queue)

    async def failed() -> bool:
        metrics = await running.metrics()
        return TASKS_FAILED in metrics.names and metrics.value(TASKS_FAILED) > more_than

    await eventually(failed)
    await stranger.terminate()
    return await running.metrics()


@needs_promtool
async def test_a_worker_that_is_well_that_fails_and_that_is_gone(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fires while all is well; then workflow tasks that fail, and a target that is gone, do."""
    async with a_running_worker(scene.settings, caplog) as running:
        database = Database(scene.settings.require_database_url())
        sweeps = assemble(scene.settings, database, scene.client).sweeps
        await sweeps.finished(await sweeps.start())

        async def listed() -> bool:
            return await sweeps.last_completed_at() is not None

        await eventually(listed)
        well = {"worker": await running.metrics(), "api": await scene.api()}
        assert set() == evaluated(well, well, tmp_path)

        once = await failing(scene, running, more_than=0)
        again = await failing(scene, running, more_than=once.value(TASKS_FAILED))
        assert "RemindersWorkflowTasksFail" in evaluated(
            {"worker": once}, {"worker": again}, tmp_path
        )
    with pytest.raises(httpx2.ConnectError):
        await running.metrics()
    assert "RemindersTargetDown" in evaluated(well, {"api": well["api"]}, tmp_path)


def test_each_alert_is_fired_by_one_of_these_tests() -> None:
    """An alert without a test that causes it is a guess."""
    source = Path(__file__).read_text(encoding="utf-8")
    assert [] == [name for name in alerts() if f'"{name}"' not in source]
