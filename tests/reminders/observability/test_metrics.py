"""What a worker tells Prometheus, while it really delivers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.domain.model import Attendee, Session
from reminders.observability import scrape
from reminders.observability.metrics import DeliveryMetrics
from reminders.settings import Settings
from starter.assembly import assembled
from tests.provider import ProviderClient
from tests.reminders.delivery.dispatch import a_pipeline, deliver, due_reminders
from tests.reminders.observability.running import RunningWorker, a_running_worker
from tests.stage import eventually

ADDRESS = "ana.ruiz.secret@hospital.example"
NAME = "Ana Ruiz-Geheim"


@pytest.fixture(autouse=True)
def _at_this_server(temporal_server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find Temporal by its own variable; every scrape reads anew."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    monkeypatch.setattr(scrape, "_FRESH", timedelta())


async def enrolled_and_due(settings: Settings, *, due_in: timedelta) -> str:
    """Workflow Id of an enrollment whose 30-minute reminder falls due so soon."""
    user_id = uuid4()
    start = datetime.now(UTC) + timedelta(minutes=30) + due_in
    session = Session(id=uuid4(), title="Cardiology", starts_at=start)
    async with assembled(settings) as parts:
        await parts.gateway.put_session(session)
        person = Attendee(user_id=user_id, email=ADDRESS, full_name=NAME)
        await parts.catalogue.put_user(person)
        return (await parts.gateway.enroll(session.id, user_id)).workflow_id


async def sent(running: RunningWorker, count: int) -> bool:
    """Whether so many were accepted."""
    return (await running.metrics()).value("reminders_sent_total") >= count


async def test_a_worker_says_what_it_did_on_one_port(
    settings: Settings, provider: ProviderClient, caplog: pytest.LogCaptureFixture
) -> None:
    """After one reminder: ours and the SDK's metrics in one answer, and nothing personal in it or in the log."""
    async with a_running_worker(settings, caplog) as running:
        before = await running.metrics()
        assert 0 == before.value("reminders_sent_total")
        workflow_id = await enrolled_and_due(settings, due_in=timedelta(seconds=15))
        await eventually(lambda: sent(running, 1))
        metrics = await running.metrics()
        async with httpx2.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{running.url}/healthz")).json() == {"status": "ok"}
    assert 1 == metrics.value("reminders_due_total")
    assert 1 == metrics.value("reminders_batch_size_count")
    assert 1 == metrics.value("reminders_provider_request_seconds_count")
    assert 1 == metrics.value("reminders_lag_seconds_count")
    assert 60 > metrics.value("reminders_lag_seconds_sum") > 0
    assert 0 == metrics.value("reminders_failed_total")
    assert 1 == metrics.value("reminders_ledger_rows", email_status="sent")
    assert 1 == metrics.value("reminders_source_up", source="ledger")
    assert 2 > abs(metrics.value("reminders_clock_skew_seconds"))
    assert 0 < metrics.value("temporal_num_pollers")
    assert 0 < metrics.value("temporal_workflow_task_execution_latency_seconds_count")
    for private in (ADDRESS, NAME, "hospital.example", settings.require_resend_api_key()):
        assert private not in metrics.text
        assert private not in caplog.text
    assert workflow_id not in metrics.text


async def test_every_end_is_counted_by_its_reason(
    settings: Settings, database: Database, provider: ProviderClient
) -> None:
    """What cannot be rendered fails by name; what is not wanted any more is skipped by name."""
    registry = CollectorRegistry()
    reminders = [
        *await due_reminders(database, 1, address=lambda _: "no address"),
        *await due_reminders(database, 1, status="cancelled"),
        *await due_reminders(database, 2),
    ]
    pipeline = a_pipeline(settings, observer=DeliveryMetrics(registry))
    async with pipeline as running:
        await deliver(running, reminders)
    value = registry.get_sample_value
    assert 4 == value("reminders_due_total")
    assert 2 == value("reminders_sent_total")
    assert 1 == value("reminders_failed_total", {"reason": "invalid_address"})
    assert 1 == value("reminders_cancelled_total", {"reason": "session_cancelled"})
    assert 0 == value("reminders_failed_total", {"reason": "quota"})


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 500}, "unavailable"),
        (
            {"kind": "status", "status": 429, "name": "rate_limit_exceeded", "retry_after": 0},
            "rate_limited",
        ),
        ({"kind": "status", "status": 401, "name": "invalid_api_key"}, "misconfigured"),
    ],
)
async def test_what_the_provider_refuses_is_counted_by_kind(
    fault: dict[str, object],
    kind: str,
    settings: Settings,
    database: Database,
    provider: ProviderClient,
) -> None:
    """One refusal is one error of its kind, also when the next attempt succeeds."""
    registry = CollectorRegistry()
    await provider.faults(**fault, count=1, path="/emails/batch")
    reminders = await due_reminders(database, 1)
    async with a_pipeline(settings, observer=DeliveryMetrics(registry)) as running:
        await deliver(running, reminders)
    assert 1 == registry.get_sample_value("reminders_provider_errors_total", {"kind": kind})
