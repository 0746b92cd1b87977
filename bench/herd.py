"""The herd: every enrollment of one session, all due in the same second."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from bench import crowd, floor, measure
from bench.backlog import all_closed
from bench.crowd import LEAD
from bench.inbox import AFTERWARDS, Inbox, arrivals, sleep_until
from bench.measure import MeasurementError
from bench.peers.catalogue import INSTALL, PEERS
from bench.peers.run import Herd
from bench.peers.run import measured as measured_peer
from devstack.process import EmbeddedServerError
from devstack.stack import LocalStack
from reminders.clock import SystemClock
from reminders.domain.lead_in import COUNTED, SHORTEST
from starter.assembly import Parts
from starter.services.receipts import Enrolled

OURS = "session-reminders"

ENROLLED_PER_SECOND = 45
"""What a slow machine manages; another does 100."""

BEFORE = timedelta(seconds=8)
"""Added to that, so that the last timers are set when the first wakes."""

SMALL_LATER = timedelta(seconds=3)
"""How long after the crowd the small session's reminders are due: in the middle of it."""

WAKE_APART = text("SELECT wake_apart FROM reminder_installation")

LEAST = timedelta(seconds=2)
"""Between the last enrollment and the due instant; with less, the enrollments are measured too."""

_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured."""

    n: int
    rate: int
    workers: int
    with_floor: bool
    small: int
    """People of another session, due in the middle of the crowd; none by default."""
    crowds: int
    """How many, one after the other; the last is measured, after what the others have shown."""
    kill_at: float | None
    """Percentage accepted at which every worker is killed (SIGKILL) and started again."""
    patience: float
    """Seconds after the due instant; what has not been accepted by then is lost."""
    cron_poll: float
    """Seconds between two polls of the cron job."""


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and nothing of ours was lost or doubled.
    """
    parser = crowd.parser("herd", __doc__, n=500, of="enrollments")
    add = parser.add_argument
    add("--rate", type=int, default=0, help="requests/s of the stand-in; 0 unlimited (default)")
    add("--workers", type=crowd.positive, default=1, help="worker processes (default 1)")
    add("--small", type=int, default=0, help="people of another session, due 3 s later (none)")
    add("--crowds", type=crowd.positive, default=1, help="measure the last of so many (default 1)")
    add("--floor", action="store_true", help="compare with a workflow that does nothing")
    add("--kill-at", type=float, help="kill and restart the workers at so many %% accepted")
    add("--peers", default="", help=f"compare with these, or with all: {', '.join(PEERS)}")
    add("--patience", type=float, default=120, help="seconds after which the rest is lost")
    add("--cron-poll", type=float, default=15, help="seconds: 900 in earnest (default 15)")
    given = parser.parse_args(arguments)
    if given.rate < 0:
        parser.error("--rate is at least 0")
    names = list(PEERS) if given.peers == "all" else list(filter(None, given.peers.split(",")))
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers: there is no {unknown[0]!r}, only {', '.join(PEERS)}")
    options = Options(
        n=given.n,
        rate=given.rate,
        workers=given.workers,
        with_floor=given.floor,
        small=given.small,
        crowds=given.crowds,
        kill_at=given.kill_at,
        patience=given.patience,
        cron_poll=given.cron_poll,
    )
    runs = _all_runs([OURS, *_installed(names)], given.runs, options)
    title = f"Herd of {options.n}, {options.workers} worker(s), " + (
        f"{options.rate} requests/s" if options.rate else "no rate limit"
    )
    constants = {"bench": "herd", **asdict(options)}
    if names:
        measure.compare(title, runs, constants)
    else:
        measure.report(title, runs[OURS], constants)
    return int(any(run["lost"] or run["duplicates"] for run in runs[OURS]))


def _installed(names: Sequence[str]) -> list[str]:
    """The peers that can run here; says how the others can be had."""
    for name in names:
        if missing := PEERS[name].missing:
            print(f"herd: {name} is left out: no {missing[0]}; run: {INSTALL}", file=sys.stderr)
    return [name for name in names if not PEERS[name].missing]


def _all_runs(
    names: Sequence[str], count: int, options: Options
) -> dict[str, list[measure.Numbers]]:
    """Everybody's runs; they take turns. A peer that cannot be measured is left out, and says so.

    Raises:
        MeasurementError: If ours cannot be measured.
        EmbeddedServerError: If a part of ours does not start.
    """
    runs: dict[str, list[measure.Numbers]] = {}
    for number in range(1, count + 1):
        for name in names:
            print(f"herd: run {number} of {count}: {name}", file=sys.stderr)
            try:
                numbers = _one_run(name, options)
            except (MeasurementError, EmbeddedServerError) as error:
                if name == OURS:
                    raise
                print(f"herd: {name} is left out: {error}", file=sys.stderr)
            else:
                runs.setdefault(name, []).append(numbers)
    return runs


def _one_run(name: str, options: Options) -> measure.Numbers:
    """One herd, on parts of its own.

    Raises:
        MeasurementError: If nothing was accepted, or enrolling took too long.
        EmbeddedServerError: If a part does not start.
    """
    if name != OURS:
        herd = Herd(
            n=options.n,
            rate=options.rate,
            latency_ms=crowd.LATENCY_MS,
            patience=timedelta(seconds=options.patience),
            cron_poll=timedelta(seconds=options.cron_poll),
        )
        return measured_peer(name, PEERS[name], herd)
    with crowd.local_stack(rate=options.rate, workers=options.workers) as stack:
        for number in range(1, options.crowds + 1):
            numbers = dict(asyncio.run(_herd(stack, options)))
            told = f"{numbers['last_lag_s']:.3g} s, {numbers['apart_ms']:g} ms apart"
            print(f"herd: crowd {number}: the last after {told}", file=sys.stderr)
        if options.with_floor:
            for worker in stack.workers:
                worker.stop()
            per_second = floor.measured(stack, options.n, options.workers)
            ours = numbers["emails_per_second"]
            numbers["floor_per_second"] = per_second
            numbers["ratio"] = ours / per_second if ours and per_second else None
    return numbers


async def _herd(stack: LocalStack, options: Options) -> measure.Numbers:
    """Enroll, wait for the due instant, and see what arrives when."""
    async with crowd.platform(stack) as parts, Inbox(stack.provider.url) as inbox:
        kill_at = None if options.kill_at is None else options.n * options.kill_at / 100
        killer = Killer(stack, kill_at)
        await inbox.clear()
        apart: timedelta = await parts.database.scalar(WAKE_APART)
        cpu_at_first = crowd.cpu(stack)
        enrolled, due_at, enroll_seconds = await _enroll(parts, options.n, apart)
        few = await _enroll_few(parts, options.small, due_at + SMALL_LATER)
        await sleep_until(due_at - timedelta(seconds=1))
        cpu_when_due, load = crowd.cpu(stack), measure.load()
        await sleep_until(due_at)
        until = due_at + timedelta(seconds=options.patience)
        await inbox.filled(options.n + options.small, until=until, look=killer.look)
        drained_at = await all_closed(parts.client, until)
        # A worker that was killed has taken its count with it.
        cpu_at_last = {} if killer.restarted_at else crowd.cpu(stack)
        await asyncio.sleep(AFTERWARDS.total_seconds())
        emails = await inbox.accepted()
        requests = await inbox.requests()
    of_few = [email for email in emails if email["to"][0] in few]
    emails = [email for email in emails if email["to"][0] not in few]
    found = arrivals(emails, _identities(emails, enrolled), n=options.n, due_at=due_at)
    last_at = due_at + timedelta(seconds=found["last_lag_s"])
    return {
        **found,
        **_of_the_few(of_few, few, due_at + SMALL_LATER),
        "requests": requests,
        "apart_ms": apart / timedelta(milliseconds=1),
        "cpu_ms_per_reminder": measure.cpu_ms(cpu_at_first, cpu_at_last, options.n),
        "load": load,
        "workflows_closed_s": None if drained_at is None else (drained_at - due_at).total_seconds(),
        **killer.recovery(last_at),
        "enroll_per_second": options.n / enroll_seconds,
        **{
            f"herd_cpu_ms_{name}": measure.cpu_ms({name: used}, cpu_at_last, options.n)
            for name, used in cpu_when_due.items()
        },
    }


class Killer:
    """Kills all workers once, when so many e-mails are out, and starts them again."""

    def __init__(self, stack: LocalStack, at: float | None) -> None:
        """Kill at so many e-mails; never if it is absent."""
        self._stack = stack
        self._at = at
        self.restarted_at: datetime | None = None

    def look(self, accepted: int) -> None:
        """Kill, if it is time to; notice a part that died by itself."""
        if self._at is not None and accepted >= self._at and self.restarted_at is None:
            for worker in self._stack.workers:
                worker.kill()
            self.restarted_at = _clock.now()
            for worker in self._stack.workers:
                worker.start()
        self._stack.check()

    def recovery(self, last_at: datetime) -> dict[str, float]:
        """How long after the kill the last e-mail was accepted, if there was one."""
        if self.restarted_at is None:
            return {}
        return {"recovered_s": (last_at - self.restarted_at).total_seconds()}


async def _enroll(parts: Parts, n: int, apart: timedelta) -> tuple[list[Enrolled], datetime, float]:
    """Enroll so many people, who wake so far apart.

    Returns:
        The enrollments, their common due instant, and how many seconds it took.

    Raises:
        MeasurementError: If that was not done some time before the due instant.
    """
    users = await crowd.people(parts, n)
    wakes_early = SHORTEST + min(n, COUNTED) * apart
    due_at = _clock.now() + timedelta(seconds=n / ENROLLED_PER_SECOND) + wakes_early + BEFORE
    session_id = await crowd.new_session(parts, due_at + LEAD)
    began_at = _clock.now()
    enrolled = await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
    ended_at = _clock.now()
    seconds = (ended_at - began_at).total_seconds()
    if ended_at > due_at - LEAST:
        message = (
            f"{n} enrollments took {seconds:.1f} s, which is too long before the due instant: "
            "this machine is too busy to measure on"
        )
        raise MeasurementError(message)
    return enrolled, due_at, seconds


async def _enroll_few(parts: Parts, n: int, due_at: datetime) -> frozenset[str]:
    """Enroll so many people in another session, if any.

    Returns:
        Their addresses.
    """
    if not n:
        return frozenset()
    session_id = await crowd.new_session(parts, due_at + LEAD)
    users = await crowd.people(parts, n)
    await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
    return frozenset(map(crowd.address, users))


def _of_the_few(
    emails: Sequence[dict[str, Any]], few: frozenset[str], due_at: datetime
) -> dict[str, float | int]:
    """When the small session's e-mails came, if there was one.

    Raises:
        MeasurementError: If there was, and nothing came.
    """
    if not few:
        return {}
    found = arrivals(emails, [email["to"][0] for email in emails], n=len(few), due_at=due_at)
    return {f"small_{name}": found[name] for name in ("last_lag_s", "lost", "duplicates")}


def _identities(
    emails: Iterable[Mapping[str, Any]], enrolled: Iterable[Enrolled]
) -> list[tuple[str, str]]:
    """Recipient and reminder type of each e-mail, by the tag that it carries."""
    types = {str(r.id): r.reminder_type for e in enrolled for r in e.reminders}
    return [
        (email["to"][0], types.get(email["tags"].get("reminder_id", ""), "unknown"))
        for email in emails
    ]
