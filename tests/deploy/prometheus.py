"""Asks Prometheus itself, if it is here, which alerts would fire."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.reminders.observability.running import Metrics

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
PROMTOOL = shutil.which("promtool")
"""Of Debian's package `prometheus`; `None` where it is not installed."""

_BEFORE, _UNTIL = 10, 17
"""Minutes: how long all was as before, and when it is looked which alerts fire."""


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    (group,) = yaml.load(RULES.read_text(encoding="utf-8"), yaml.CSafeLoader)["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def evaluated(
    before: Mapping[str, Metrics], after: Mapping[str, Metrics], folder: Path
) -> set[str]:
    """The alerts that fire some minutes after a change.

    Args:
        before: What each process said before, by a name for it.
        after: What each says since; one that is missing does not answer any more.
        folder: For files.
    """
    series = [
        {
            "series": f'up{{job="reminders-{name}",instance="{name}"}}',
            "values": _values(1, int(name in after)),
        }
        for name in before
    ]
    for name, metrics in before.items():
        then = _samples(name, after[name]) if name in after else {}
        now = _samples(name, metrics)
        series += [
            {"series": key, "values": _values(now.get(key), then.get(key))}
            for key in now.keys() | then.keys()
        ]
    return firing(series, folder)


def firing(series: Sequence[Mapping[str, str]], folder: Path) -> set[str]:
    """The alerts that fire at the end of these series, which have a value a minute.

    Args:
        series: In the notation of promtool.
        folder: For files.
    """
    names = list(alerts())
    queries = [
        {
            "expr": f'(count(ALERTS{{alertname="{name}",alertstate="firing"}}) > bool 0) or vector(0)',
            "eval_time": f"{_UNTIL}m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for name in names
    ]
    document = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": queries}],
    }
    file = folder / "promtool.json"  # JSON is YAML
    file.write_text(json.dumps(document), encoding="utf-8")
    assert PROMTOOL is not None
    told = subprocess.run(
        [PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False, timeout=30
    )
    text = told.stdout + told.stderr
    silent = {name for name in names if f'alertname=\\"{name}\\"' in text}
    assert silent or told.returncode == 0, text
    return set(names) - silent


def _samples(name: str, metrics: Metrics) -> dict[str, float]:
    """Series to value, with the labels that Prometheus adds."""
    # In a test of rules the world begins in 1970.
    now = datetime.now(UTC).timestamp()
    found = {}
    for family in metrics.families:
        for sample in family.samples:
            labels = {**sample.labels, "instance": name, "job": f"reminders-{name}"}
            inside = ",".join(f"{key}={json.dumps(value)}" for key, value in sorted(labels.items()))
            shift = now if sample.name.endswith("_timestamp_seconds") else 0
            found[f"{sample.name}{{{inside}}}"] = sample.value - shift
    return found


def _values(before: float | None, after: float | None) -> str:
    """In the notation of promtool: the same every minute, then something else."""
    first = f"_x{_BEFORE}" if before is None else f"{before:f}+0x{_BEFORE}"
    second = f"_x{_UNTIL}" if after is None else f"{after:f}+0x{_UNTIL}"
    return f"{first} {second}"
