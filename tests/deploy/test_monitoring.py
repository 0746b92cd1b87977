"""Dashboard and alert rules ask for what the processes really export."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from devstack.temporal import EmbeddedTemporal
from reminders.observability import scrape
from reminders.settings import Settings
from tests.deploy.prometheus import PROMTOOL, ROOT, RULES, alerts
from tests.provider import ProviderClient
from tests.reminders.observability.running import Metrics, a_running_worker
from tests.stage import eventually
from tests.starter.conftest import serving
from tests.test_docs import anchors

DASHBOARD = ROOT / "deploy" / "grafana" / "session-reminders.json"
PROMETHEUS_OWN = {"up"}
"""What Prometheus says of its targets by itself."""
ONLY_ONCE_IT_HAPPENS = {"temporal_workflow_task_execution_failed_total"}
"""The SDK's counters of failures are absent before the first; tests/deploy/test_alerts.py sees it."""


def expressions() -> dict[str, str]:
    """Every PromQL expression, by where it is."""
    found = {f"alert {name}": rule["expr"] for name, rule in alerts().items()}
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    return found


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana would import it."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def asked(expression: str) -> set[str]:
    """The metrics that an expression asks for."""
    without_labels = re.sub(r"\{[^}]*\}", " ", expression)
    return set(re.findall(r"\b(?:up|(?:reminders|temporal|process)_[a-z_]+)\b", without_labels))


@pytest.mark.usefixtures("no_sweep_left")
async def test_every_metric_asked_for_is_exported(
    *,
    settings: Settings,
    provider: ProviderClient,
    temporal_server: EmbeddedTemporal,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a worker and an API export after one reminder and a sweep has every name, and every label."""
    monkeypatch.setattr(scrape, "_FRESH", timedelta())
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal_server.address)
    async with a_running_worker(settings, caplog) as running, serving(settings) as api:
        await api.enrolled(starts_in=timedelta(minutes=30, seconds=6))
        await api.post("/v1/sweeps")

        async def done() -> bool:
            metrics = await running.metrics()
            swept = "reminders_last_sweep_timestamp_seconds" in metrics.names
            return swept and metrics.value("reminders_sent_total") == 1

        await eventually(done)
        told = [await running.metrics(), Metrics((await api.get("/metrics")).text)]
    known = set().union(*(metrics.names for metrics in told))
    excused = PROMETHEUS_OWN | ONLY_ONCE_IT_HAPPENS
    missing = {
        place: names
        for place, text in expressions().items()
        if (names := asked(text) - known - excused)
    }
    assert {} == missing
    labels = {
        label
        for metrics in told
        for family in metrics.families
        for sample in family.samples
        for label in sample.labels
    }
    by = {
        label.strip()
        for text in expressions().values()
        for group in re.findall(r"by \(([^)]*)\)", text)
        for label in group.split(",")
    }
    assert set() == by - labels - {"instance", "failure_reason"}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: install the Debian package `prometheus`")
@pytest.mark.parametrize("what", [("rules", RULES), ("config", RULES.with_name("prometheus.yml"))])
def test_prometheus_accepts_the_files(what: tuple[str, Path]) -> None:
    """Its own linter finds nothing."""
    kind, file = what
    command = [str(PROMTOOL), "check", kind, str(file)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert 0 == told.returncode, told.stderr


def test_every_alert_says_what_to_do() -> None:
    """A summary for the screen at night, a remedy for whoever reads it, more of it, and how urgent it is."""
    for name, rule in alerts().items():
        assert {"summary", "remedy", "runbook"} == set(rule["annotations"]), name
        assert rule["labels"]["severity"] in ("critical", "warning"), name


def test_every_alert_is_in_the_handbook() -> None:
    """docs/operations.md has a row for each, and none for others; both lead to the same words."""
    handbook = ROOT / "docs" / "operations.md"
    rows = dict(
        re.findall(
            r"(?m)^\| `(Reminders\w+)` \| (?:critical|warning) .*\]\((\S+)\) \|$",
            handbook.read_text(encoding="utf-8"),
        )
    )
    assert set(alerts()) == set(rows)
    for name, rule in alerts().items():
        path, _, heading = rule["annotations"]["runbook"].partition("#")
        file = ROOT / path
        assert heading in anchors(file), name
        assert rows[name] == ("" if file == handbook else file.name) + f"#{heading}", name


def test_every_panel_has_its_place() -> None:
    """No two panels overlap, and each is within Grafana's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
