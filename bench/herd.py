"""The herd: every enrollment of one session, all due in the same second."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx

from bench import floor, measure
from reminders.clock import SystemClock
from reminders.embedded.process import EmbeddedServerError
from reminders.embedded.stack import LocalStack
from reminders.lead_in import APART, LONGEST, UNTOUCHED
from reminders.model import Attendee, Session
from reminders.settings import Settings
from starter.assembly import Parts, assembled
from starter.receipts import Enrolled

_T = TypeVar("_T")

LEAD = timedelta(minutes=30)
"""The reminder that falls due; the other two of each enrollment are too late."""

AT_ONCE = 32
"""Enrollments asked for at once; more only queue up in the server."""

ENROLLED_PER_SECOND = 60
"""What a busy machine manages; a quiet one does 100."""

BEFORE = timedelta(seconds=8)
"""Added to that, so that the last timers are set when the first wakes."""

LEAST = timedelta(seconds=2)
"""Between the last enrollment and the due instant; with less, the enrollments are measured too."""

PATIENCE_PER_REMINDER = timedelta(milliseconds=100)
PATIENCE = timedelta(seconds=60)
"""When what has not been accepted is lost."""

AFTERWARDS = timedelta(seconds=2)
"""How long is watched for duplicates."""

LATENCY_MS = 20
UNLIMITED, PACED = "1000", "8"
"""Requests a second of the worker where the stand-in has no limit, and where it has one."""

_clock = SystemClock()


class MeasurementError(Exception):
    """What was to be measured did not happen."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured."""

    n: int
    rate: int
    workers: int
    with_floor: bool
    kill_at: float | None = None
    """Percentage accepted at which every worker is killed (SIGKILL) and started again."""


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and nothing was lost or doubled.
    """
    parser = argparse.ArgumentParser(prog="bench herd", description=__doc__)
    add = parser.add_argument
    add("--n", type=int, default=500, help="enrollments (default 500)")
    add("--rate", type=int, default=0, help="requests/s of the stand-in; 0 unlimited (default)")
    add("--workers", type=int, default=1, help="worker processes (default 1)")
    add("--runs", type=int, default=1, help="medians over so many runs (default 1)")
    add("--floor", action="store_true", help="compare with a workflow that does nothing")
    add("--kill-at", type=float, help="kill and restart the workers at so many %% accepted")
    given = parser.parse_args(arguments)
    if min(given.n, given.workers, given.runs) < 1 or given.rate < 0:
        parser.error("--n, --workers and --runs are at least 1, --rate at least 0")
    options = Options(given.n, given.rate, given.workers, given.floor, given.kill_at)
    runs = []
    for number in range(1, given.runs + 1):
        print(f"herd: run {number} of {given.runs}", file=sys.stderr)
        try:
            runs.append(one_run(options))
        except (MeasurementError, EmbeddedServerError) as error:
            print(f"herd: {error}", file=sys.stderr)
            return 1
    measure.report(
        f"Herd of {options.n}, {options.workers} worker(s), "
        + (f"{options.rate} requests/s" if options.rate else "no rate limit"),
        runs,
        {"bench": "herd", **asdict(options)},
    )
    return int(any(run["lost"] or run["duplicates"] for run in runs))


def one_run(options: Options) -> measure.Numbers:
    """One herd, on a stack of its own.

    Raises:
        MeasurementError: If the enrollments took too long.
        EmbeddedServerError: If a part does not start.
    """
    stack = LocalStack(
        workers=options.workers,
        with_api=False,
        with_ui=False,
        rate=options.rate,
        latency_ms=LATENCY_MS,
        settings={
            "DELIVERY_MODE": "live",
            "EMAIL_REQUESTS_PER_SECOND": PACED if options.rate else UNLIMITED,
        },
    )
    with stack:
        os.environ.update(stack.environment())
        numbers = dict(asyncio.run(_herd(stack, options)))
        if options.with_floor:
            for worker in stack.workers:
                worker.stop()
            per_second = floor.measured(stack, options.n, options.workers)
            accepted = numbers["accepted_per_second"]
            numbers["floor_per_second"] = per_second
            numbers["ratio"] = accepted / per_second if accepted and per_second else None
    return numbers


async def _herd(stack: LocalStack, options: Options) -> measure.Numbers:
    """Enroll, wait for the due instant, and see what arrives when."""
    async with (
        assembled(Settings(_env_file=None)) as parts,
        httpx.AsyncClient(base_url=stack.provider.url, trust_env=False) as provider,
    ):
        cpu_at_first = _cpu(stack)
        enrolled, due_at, enroll_seconds = await _enroll(parts, options.n)
        await _sleep_until(due_at - timedelta(seconds=1))
        cpu_when_due, load = _cpu(stack), measure.load()
        restarted_at = await _all_accepted(provider, stack, options, due_at)
        drained_at = await floor.all_closed(parts.client, due_at + _patience(options))
        # A worker that was killed has taken its count with it.
        cpu_at_last = {} if restarted_at else _cpu(stack)
        await asyncio.sleep(AFTERWARDS.total_seconds())
        emails = await _accepted(provider)
        requests = (await provider.get("/_/stats")).json()["requests"]
    lags = [
        (datetime.fromisoformat(email["accepted_at"]) - due_at).total_seconds() for email in emails
    ]
    if not lags:
        message = "no e-mail was accepted at all"
        raise MeasurementError(message)
    accepted = list(_identities(emails, enrolled))
    return {
        "accepted_per_second": len(set(accepted)) / max(lags),
        "first_lag_s": min(lags),
        "p50_lag_s": measure.percentile(lags, 50),
        "p99_lag_s": measure.percentile(lags, 99),
        "last_lag_s": max(lags),
        "workflows_closed_s": None if drained_at is None else (drained_at - due_at).total_seconds(),
        **_recovery(restarted_at, due_at + timedelta(seconds=max(lags))),
        "duplicates": measure.repeats(accepted),
        "lost": options.n - len(set(accepted)),
        "requests": requests,
        "enroll_per_second": options.n / enroll_seconds,
        "load": load,
        "cpu_ms_per_reminder": measure.cpu_ms(cpu_at_first, cpu_at_last, options.n),
        **{
            f"herd_cpu_ms_{name}": measure.cpu_ms({name: used}, cpu_at_last, options.n)
            for name, used in cpu_when_due.items()
        },
    }


def _recovery(restarted_at: datetime | None, last_at: datetime) -> dict[str, float]:
    """How long after the kill the last e-mail was accepted, if there was one."""
    return {"recovered_s": (last_at - restarted_at).total_seconds()} if restarted_at else {}


async def _enroll(parts: Parts, n: int) -> tuple[list[Enrolled], datetime, float]:
    """Enroll so many people.

    Returns:
        The enrollments, their common due instant, and how many seconds it took.

    Raises:
        MeasurementError: If that was not done some time before the due instant.
    """
    users = [uuid4() for _ in range(n)]
    session_id = uuid4()

    async def put_user(user_id: UUID) -> bool:
        email = f"{user_id.hex}@example.com"
        return await parts.catalogue.put_user(
            Attendee(user_id=user_id, email=email, full_name="Ana Ruiz")
        )

    await _all(put_user, users)
    wakes_early = min(max(n - UNTOUCHED, 0) * APART, LONGEST)
    due_at = _clock.now() + timedelta(seconds=n / ENROLLED_PER_SECOND) + wakes_early + BEFORE
    session = Session(id=session_id, title="Cardiology update", starts_at=due_at + LEAD)
    await parts.gateway.put_session(session)
    began_at = _clock.now()
    enrolled = await _all(lambda user_id: parts.gateway.enroll(session_id, user_id), users)
    ended_at = _clock.now()
    seconds = (ended_at - began_at).total_seconds()
    if ended_at > due_at - LEAST:
        message = (
            f"{n} enrollments took {seconds:.1f} s, which is too long before the due instant: "
            "this machine is too busy to measure on"
        )
        raise MeasurementError(message)
    return enrolled, due_at, seconds


async def _all(call: Callable[[UUID], Awaitable[_T]], users: Iterable[UUID]) -> list[_T]:
    """The results of a call for each user, so many at once."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(user_id: UUID) -> _T:
        async with limit:
            return await call(user_id)

    return await asyncio.gather(*(one(user_id) for user_id in users))


async def _all_accepted(
    provider: httpx.AsyncClient, stack: LocalStack, options: Options, due_at: datetime
) -> datetime | None:
    """Wait until there are as many e-mails as enrollments, or for as long as it may take.

    Returns:
        When the workers were started again, if they were killed.
    """
    kill_at = None if options.kill_at is None else options.n * options.kill_at / 100
    restarted_at = None
    await _sleep_until(due_at)
    while _clock.now() < due_at + _patience(options):
        accepted = (await provider.get("/_/stats")).json()["accepted"]
        if accepted >= options.n:
            break
        if kill_at is not None and accepted >= kill_at:
            kill_at = None
            for worker in stack.workers:
                worker.kill()
            restarted_at = _clock.now()
            for worker in stack.workers:
                worker.start()
        stack.check()
        await asyncio.sleep(0.1)
    return restarted_at


async def _accepted(provider: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Every e-mail that the stand-in accepted."""
    emails: list[dict[str, Any]] = []
    since = 0
    while True:
        page = (await provider.get("/_/accepted", params={"since_seq": since})).json()
        emails += page["data"]
        since = page["next_seq"]
        if not page["has_more"]:
            return emails


def _identities(
    emails: Iterable[Mapping[str, Any]], enrolled: Iterable[Enrolled]
) -> Iterable[tuple[str, str]]:
    """Recipient and reminder type of each e-mail, by the tag that it carries."""
    types = {str(r.id): r.reminder_type for e in enrolled for r in e.reminders}
    for email in emails:
        yield email["to"][0], types.get(email["tags"].get("reminder_id", ""), "unknown")


def _cpu(stack: LocalStack) -> dict[str, float]:
    """CPU seconds so far of every part but the stand-in, which is not ours."""
    parts = {name: part for name, part in stack.parts.items() if part is not stack.provider}
    return measure.cpu_used({name.lower(): part.pid for name, part in parts.items()})


def _patience(options: Options) -> timedelta:
    return PATIENCE + options.n * PATIENCE_PER_REMINDER


async def _sleep_until(instant: datetime) -> None:
    await asyncio.sleep(max(0.0, (instant - _clock.now()).total_seconds()))
