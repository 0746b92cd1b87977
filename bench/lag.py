"""The lag when idle: one reminder at a time, from its due instant to the provider's acceptance."""

from __future__ import annotations

from datetime import datetime, timedelta

from bench import crowd, measure
from bench.inbox import Inbox, accepted_at, sleep_until
from bench.measure import MeasurementError
from devstack.stack import LocalStack
from reminders.clock import SystemClock

APART = timedelta(milliseconds=700)
"""Between two that are due: each meets a system that has nothing else to do."""

BEFORE = timedelta(seconds=10)
ENROLLED_PER_SECOND = 20
PATIENCE = timedelta(seconds=30)

_clock = SystemClock()


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when it was measured and nothing was lost.
    """
    given = crowd.parser("lag", __doc__, n=60, of="reminders").parse_args(arguments)
    runs = crowd.on_fresh_stacks("lag", given.runs, lambda stack: _one_run(stack, given.n))
    title = f"{given.n} reminders, one every {APART.total_seconds():g} s"
    measure.report(title, runs, {"bench": "lag", "n": given.n})
    return int(any(run["lost"] for run in runs))


async def _one_run(stack: LocalStack, n: int) -> measure.Numbers:
    """Each reminder is of a session of its own, so that none waits for another's batch.

    Raises:
        MeasurementError: If nothing was accepted.
    """
    async with crowd.platform(stack) as parts, Inbox(stack.provider.url) as inbox:
        first_at = _clock.now() + timedelta(seconds=n / ENROLLED_PER_SECOND) + BEFORE
        due: dict[str, datetime] = {}
        for number, user_id in enumerate(await crowd.people(parts, n)):
            due_at = first_at + number * APART
            session_id = await crowd.new_session(parts, due_at + crowd.LEAD)
            enrolled = await parts.gateway.enroll(session_id, user_id)
            due |= {str(r.id): due_at for r in enrolled.reminders}
        if _clock.now() > first_at - BEFORE / 2:
            message = "enrolling took too long: this machine is too busy to measure on"
            raise MeasurementError(message)
        await sleep_until(first_at)
        last_at = first_at + n * APART
        await inbox.filled(n, until=last_at + PATIENCE, look=lambda _: stack.check())
        emails = await inbox.accepted()
    if not emails:
        message = "no e-mail was accepted at all"
        raise MeasurementError(message)
    lags = [
        (accepted_at(email) - due[email["tags"]["reminder_id"]]).total_seconds() * 1000
        for email in emails
    ]
    return {
        "p50_ms": measure.percentile(lags, 50),
        "p99_ms": measure.percentile(lags, 99),
        "max_ms": max(lags),
        "first_ms": min(lags),
        "lost": n - len(emails),
        "load": measure.load(),
    }
