"""What the API tells Prometheus."""

from __future__ import annotations

from uuid import uuid4

from pydantic import SecretStr

from reminders.settings import Settings
from tests.reminders.observability.running import Metrics
from tests.starter.conftest import serving


async def test_requests_are_counted_by_route_and_not_by_path(settings: Settings) -> None:
    """Ids, tokens and whatever strangers ask for never become labels."""
    user_id, stranger = uuid4(), "/nowhere/eyJhbGciOiJIUzI1NiJ9"
    async with serving(settings) as api:
        await api.put(f"/v1/users/{user_id}", json={"email": "no address"})
        await api.get(stranger)
        await api.request("BREW", "/v1/enrollments")
        answer = await api.get("/metrics", headers={"Authorization": ""})
    metrics = Metrics(answer.text)
    value = metrics.value
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 1 == value("reminders_http_requests_total", route="/v1/users/{user_id}", status="422")
    assert 1 == value("reminders_http_requests_total", route="none", status="404")
    assert 1 == value("reminders_http_request_seconds_count", route="/v1/users/{user_id}")
    assert str(user_id) not in answer.text
    assert stranger not in answer.text
    assert "BREW" not in answer.text


async def test_sources_that_are_away_are_left_out_and_said_so(settings: Settings) -> None:
    """With PostgreSQL away a scrape still answers: old numbers are worse than none."""
    nowhere = SecretStr("postgresql://user:hunter2@127.0.0.1:1/nowhere")
    async with serving(settings.model_copy(update={"database_url": nowhere})) as api:
        metrics = Metrics((await api.get("/metrics")).text)
    assert 0 == metrics.value("reminders_source_up", source="ledger")
    assert 1 == metrics.value("reminders_source_up", source="sweeps")
    assert 0 == metrics.value("reminders_check_ok", check="database")
    assert "reminders_overdue" not in metrics.names
    assert "hunter2" not in metrics.text
