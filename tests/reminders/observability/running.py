"""A worker as `worker.py` runs it, in this process, with its metrics read."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import worker
from reminders.settings import Settings
from tests.stage import eventually


class Metrics:
    """What one scrape said."""

    def __init__(self, text: str) -> None:
        """Parse it; that it can be parsed is part of the promise."""
        self.text = text
        self.families: list[Metric] = list(text_string_to_metric_families(text))

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have at least these labels.

        Raises:
            AssertionError: If there is none.
        """
        found = [
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert found, f"no {name}{labels or ''}"
        return sum(found)

    @property
    def names(self) -> set[str]:
        """Every name of a sample, and of every family."""
        samples = {sample.name for family in self.families for sample in family.samples}
        return samples | {family.name for family in self.families}


class RunningWorker:
    """Where a worker of this process serves its metrics."""

    def __init__(self, port: int) -> None:
        """Take its port."""
        self.url = f"http://127.0.0.1:{port}"

    async def metrics(self) -> Metrics:
        """One scrape."""
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
            answer = await http.get(f"{self.url}/metrics")
        assert answer.status_code == 200
        return Metrics(answer.text)


@asynccontextmanager
async def a_running_worker(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[RunningWorker]:
    """A worker on any free port, polling; it finds Temporal by `TEMPORAL_ADDRESS`."""
    stop = asyncio.Event()
    settings = settings.model_copy(update={"metrics_address": "127.0.0.1:0"})
    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(worker.run(settings, stop))

        async def polls() -> bool:
            if running.done():
                running.result()
            return any("worker polls" in record.getMessage() for record in caplog.records)

        await eventually(polls)
        found = re.search(r"metrics on http://127\.0\.0\.1:(\d+)/metrics", caplog.text)
        assert found
        try:
            yield RunningWorker(int(found[1]))
        finally:
            stop.set()
            await running
