"""One herd for one peer, with nothing else running but what it needs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bench import measure
from bench.inbox import AFTERWARDS, Inbox, arrivals, sleep_until
from bench.measure import MeasurementError
from bench.peers.catalogue import Peer
from bench.peers.mail import READY
from devstack.ports import free_ports
from devstack.postgres import EmbeddedPostgres
from devstack.process import EmbeddedServerError, tail
from devstack.program import Part, Program, foreign_environment, logs, mark
from devstack.provider.server import EmbeddedProvider
from devstack.stack import SOURCES
from devstack.temporal import EmbeddedTemporal
from reminders.clock import SystemClock

DATABASE = "peer"
ENROLLED_PER_SECOND = 60
BEFORE = timedelta(seconds=8)
"""As for ours: hand in, then settle."""

_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Herd:
    """What a peer is given to do."""

    n: int
    rate: int
    """Requests a second of the stand-in; 0 is unlimited."""
    latency_ms: float
    patience: timedelta
    """How long after the due instant is waited; the rest counts as lost."""
    cron_poll: timedelta
    """How often the cron job polls: in earnest every 15 minutes."""


def measured(name: str, peer: Peer, herd: Herd) -> measure.Numbers:
    """Run a peer's herd.

    Raises:
        MeasurementError: If nothing was accepted, or enrolling failed or took too long.
        EmbeddedServerError: If a part does not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reminders-peer-")))
        postgres = stack.enter_context(EmbeddedPostgres())
        postgres.create_database(DATABASE)
        provider = stack.enter_context(
            EmbeddedProvider(rate=herd.rate, latency_ms=herd.latency_ms, allow_example=True)
        )
        environment = {
            "DATABASE_URL": postgres.url(DATABASE).replace("+asyncpg", ""),
            "RESEND_API_URL": provider.url,
            "RESEND_API_KEY": provider.api_key,
            "EMAIL_FROM": "Session Reminders <reminders@example.com>",
            "PEER_PORT": str(free_ports(1)[0]),
            "PEER_POLL_SECONDS": str(herd.cron_poll.total_seconds()),
            "PYTHONPATH": str(SOURCES),
        }
        servers: dict[str, Part] = {"postgresql": postgres}
        if peer.needs_temporal:
            temporal = stack.enter_context(EmbeddedTemporal(headless=True, time_skipping=False))
            environment["TEMPORAL_ADDRESS"] = temporal.address
            servers["temporal"] = temporal
        worker = Program(
            name,
            [sys.executable, "-X", mark(folder), "-m", "bench.peers", name, "work"],
            folder=folder,
            environment=environment,
            ready=logs(READY),
        )
        worker.start()
        stack.callback(worker.kill)
        pids = {"worker": worker.pid, **{name: part.pid for name, part in servers.items()}}
        before = measure.cpu_used(pids)
        due_at = _enroll(name, herd.n, {**foreign_environment(), **environment})
        return asyncio.run(_watch(provider.url, herd, due_at, worker, pids=pids, cpu_before=before))


def _enroll(name: str, n: int, environment: Mapping[str, str]) -> datetime:
    """Hand all reminders in.

    Returns:
        When they are due.

    Raises:
        MeasurementError: If it fails, or is not done in time.
    """
    due_in = n / ENROLLED_PER_SECOND + BEFORE.total_seconds()
    command = [sys.executable, "-m", "bench.peers", name, "enroll", str(n), str(due_in)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = f"{name} did not take the reminders: {done.stderr[-2000:]}"
        raise MeasurementError(message)
    due_at = datetime.fromisoformat(done.stdout.splitlines()[0])
    if _clock.now() > due_at:
        message = f"{name} took the reminders too slowly: this machine is too busy to measure on"
        raise MeasurementError(message)
    return due_at


async def _watch(
    url: str,
    herd: Herd,
    due_at: datetime,
    worker: Program,
    *,
    pids: Mapping[str, int | None],
    cpu_before: Mapping[str, float],
) -> measure.Numbers:
    """See what arrives when."""

    def look(_accepted: int) -> None:
        if worker.pid is None:
            message = f"it has ended; the end of its log:\n{tail(worker.log_file)}"
            raise EmbeddedServerError(message)

    async with Inbox(url) as inbox:
        await sleep_until(due_at)
        await inbox.filled(herd.n, until=due_at + herd.patience, look=look)
        await asyncio.sleep(AFTERWARDS.total_seconds())
        cpu_after = measure.cpu_used(pids)
        emails = await inbox.accepted()
        return {
            **arrivals(emails, [email["to"][0] for email in emails], n=herd.n, due_at=due_at),
            "requests": await inbox.requests(),
            "cpu_ms_per_reminder": measure.cpu_ms(cpu_before, cpu_after, herd.n),
            "load": measure.load(),
        }
