"""Telling everybody that their session was cancelled, beside planning as many anew after a move."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial

from bench import crowd, measure
from bench.backlog import settled
from bench.change import FAR, LATER, PATIENCE
from bench.herd import Killer
from bench.inbox import AFTERWARDS, Inbox, arrivals
from devstack.stack import LocalStack
from reminders.clock import SystemClock
from reminders.db.audit import By
from reminders.domain.keys import TASK_QUEUE
from reminders.domain.model import Notice
from reminders.domain.rules import RuleFields

BY = By("bench")

_clock = SystemClock()


def main(arguments: list[str]) -> int:
    """Run the benchmark.

    Returns:
        Exit code: 0 when everybody was told once.
    """
    options = crowd.parser("notices", __doc__, n=500, of="enrollments")
    options.add_argument(
        "--kill-at", type=float, metavar="PERCENT", help="told when the worker is killed, once"
    )
    given = options.parse_args(arguments)
    one_run = partial(_one_run, n=given.n, kill_at=given.kill_at)
    runs = crowd.on_fresh_stacks("notices", given.runs, one_run)
    measure.report(
        f"A session of {given.n} is cancelled, and everybody told", runs,
        {"bench": "notices", "n": given.n, "kill_at": given.kill_at},
    )  # fmt: skip
    return int(any(run["lost"] or run["duplicates"] for run in runs))


async def _one_run(stack: LocalStack, *, n: int, kill_at: float | None) -> measure.Numbers:
    """Enroll, move without a notice, cancel with one."""
    async with crowd.platform(stack) as parts, Inbox(stack.provider.url) as inbox:
        await parts.rules.change(Notice.MOVED, None, RuleFields(is_enabled=False), by=BY)
        session_id = await crowd.new_session(parts, _clock.now() + FAR)
        users = await crowd.people(parts, n)
        await crowd.at_once(lambda user: parts.gateway.enroll(session_id, user), users)
        await settled(parts.client, TASK_QUEUE)
        session = await parts.catalogue.session(session_id)

        began = time.perf_counter()
        moved_to = replace(session, starts_at=session.starts_at + LATER)
        await parts.gateway.put_session(moved_to, wait=PATIENCE)
        move_seconds = time.perf_counter() - began
        await settled(parts.client, TASK_QUEUE)

        killer = Killer(stack, None if kill_at is None else n * kill_at / 100)
        called_at = _clock.now()
        await parts.gateway.cancel_session(session_id)
        await inbox.filled(n, until=called_at + PATIENCE, look=killer.look)
        await asyncio.sleep(AFTERWARDS.total_seconds())
        emails = await inbox.accepted()
    found = arrivals(emails, [email["to"][0] for email in emails], n=n, due_at=called_at)
    return {
        **found,
        "move_s": move_seconds,
        "of_a_move": found["last_lag_s"] / move_seconds,
        "load": measure.load(),
    }
