"""Two workers on one host, one of which is killed while a herd is being served."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta

import httpx2
import pytest

from devstack.program import Program
from devstack.stack import LocalStack
from tests.e2e.platform import a_platform
from tests.reminders.observability.running import Metrics
from tests.stage import eventually

HERD = 500
REAL_LIMIT = 10
"""Requests a second, of the provider."""
SETTINGS = {
    "DELIVERY_MODE": "live",
    # Each finds a port of its own.
    "METRICS_ADDRESS": "127.0.0.1:0",
    # Fifty requests: seconds in which to strike, and enough of them for a pace.
    "EMAIL_BATCH_SIZE": "10",
}


async def sent_by(worker: Program) -> float:
    """How many e-mails a worker says that the provider took from it."""
    (url,) = re.findall(r"http://\S+/metrics", worker.log_file.read_text(encoding="utf-8"))
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as http:
        return Metrics((await http.get(url)).text).value("reminders_sent_total")


def busiest_second(instants: list[datetime]) -> int:
    """The most requests within any one second."""
    ordered = sorted(instants)
    return max(
        sum(first <= other < first + timedelta(seconds=1) for other in ordered) for first in ordered
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_one_of_two_workers_is_killed_in_a_herd_of_five_hundred() -> None:
    """Both serve it until the blow; then 500 are accepted, once each, at the pace that both shared."""
    with LocalStack(
        workers=2, with_api=False, with_ui=False, rate=REAL_LIMIT, settings=SETTINGS
    ) as stack:
        killed, survivor = stack.workers
        async with a_platform(stack) as platform:
            session = await platform.enroll(HERD, due_in=timedelta(seconds=20))

            async def both_serve() -> bool:
                return min(await sent_by(killed), await sent_by(survivor)) >= HERD / 20

            await eventually(both_serve, within=timedelta(seconds=60))
            killed.kill()
            assert len(await platform.accepted()) < HERD
            await platform.all_sent_once(session, HERD, within=timedelta(seconds=90))
            requests = await platform.provider.requests()
        statuses = Counter(request["status"] for request in requests)
        assert statuses[429] <= 1, "one is what a stall of a busy machine may cost"
        assert statuses.keys() <= {200, 429}
        assert REAL_LIMIT >= busiest_second([datetime.fromisoformat(r["at"]) for r in requests])
