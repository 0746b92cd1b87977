"""Anything at any moment: afterwards all parts agree, and no e-mail was wrong when it was posted."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from devstack.stack import DATABASE, LocalStack
from reminders.db.engine import Database
from reminders.domain.keys import session_change_workflow_id, session_reminder_workflow_id
from reminders.domain.model import StatusReason
from tests.e2e.driving import witness
from tests.e2e.driving.agreement import Pair, disagreements
from tests.e2e.driving.driver import API_KEY, KILL, Driver, Form
from tests.e2e.driving.posted import wrong_emails
from tests.e2e.driving.witness import Witness
from tests.leaks import watch
from tests.provider import ProviderClient
from workflows.plugin import SessionReminderPlugin

pytestmark = pytest.mark.proof

SEED = "DRIVER_SEED"
"""Environment variable: drive as in an earlier run. Chances are the same; the instants are not."""
THRESHOLD = timedelta(minutes=1)
SETTINGS = {
    "DELIVERY_MODE": "live",
    "API_KEYS": API_KEY,
    "RESCHEDULE_RESEND_THRESHOLD": "1m",
    "NOTICE_COOLING_SECONDS": "4",
    # No sweep mends what others leave undone.
    "SWEEP_CRON": "0 0 1 1 *",
}
ONE_MINUTE = Form(
    rounds=1,
    lasts=timedelta(minutes=1),
    clients=6,
    per_second=4,
    enrolled=100,
    between_kills=(20, 35),
    settles_within=timedelta(seconds=60),
)
THIRTY_MINUTES = Form(
    rounds=6,
    lasts=timedelta(minutes=5),
    clients=16,
    per_second=12,
    enrolled=400,
    between_kills=(40, 120),
    settles_within=timedelta(seconds=90),
)
LEFT_IN_DOUBT = timedelta(seconds=10)
"""Between the freezing of a request and the kill of the worker that was to post it, at the most."""
MOST_SHOWN = 5
"""Enrollments that are traced."""
LONGEST_TRACE = 80
"""Lines of each."""


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(ONE_MINUTE, id="one minute", marks=pytest.mark.timeout(400)),
        pytest.param(
            THIRTY_MINUTES,
            id="thirty minutes",
            marks=[pytest.mark.slow, pytest.mark.timeout(3600)],
        ),
    ],
)
async def test_whatever_is_asked_at_whatever_moment(form: Form) -> None:
    """Calls, hang-ups and killed workers leave nobody with a wrong e-mail, plan or workflow."""
    seed = int(os.environ.get(SEED) or secrets.randbits(32))
    print(f"\n{SEED}={seed}")
    with LocalStack(with_ui=False, settings=SETTINGS) as stack:
        database = Database(stack.postgres.url(DATABASE), pool_size=20)
        client = await Client.connect(stack.temporal.address, plugins=[SessionReminderPlugin()])
        await witness.install(database)
        driver = Driver(form, seed, stack=stack, client=client, database=database)
        await driver.prepare()
        unsettled: Mapping[Pair, str] = {}
        for number in range(form.rounds):
            await driver.round(number)
            if unsettled := await _settled(driver, client, database):
                break
        async with ProviderClient(stack.provider.url) as provider:
            accepted = await provider.accepted(bodies=True)
        seen = await Witness.of(database)
        wrong = await wrong_emails(accepted, seen, database, threshold=THRESHOLD)
        failed = await _failed(database, driver)
        findings: list[tuple[Pair, str]] = [
            *((pair, what) for pair, what in unsettled.items()),
            *(((session, user), what) for session, user, what in wrong),
            *((pair, what) for pair, what in failed),
        ]
        verbs = Counter(call.verb for call in driver.journal.calls)
        repeated = sum(call.repeats is not None for call in driver.journal.calls)
        kinds = Counter(email["subject"].partition(":")[0].split(" for")[0] for email in accepted)
        print(f"{dict(verbs)}; {repeated} of them repeated; {len(accepted)} e-mails {dict(kinds)}")
        for pair in list(dict.fromkeys(pair for pair, _ in findings))[:MOST_SHOWN]:
            print(await _trace(pair, driver, seen, client))
        changing = await _still_changing(driver, client)
        await database.aclose()
        for program in (stack.worker, stack.api):
            assert program is not None
            watch.file(program.log_file)
    told = [f"{_short(pair)}: {what}" for pair, what in findings]
    assert [] == [*driver.violations, *told, *changing], f"{SEED}={seed}"
    assert accepted, "nothing fell due: the rules' leads are too long for this form"


async def _settled(driver: Driver, client: Client, database: Database) -> Mapping[Pair, str]:
    """What still does not agree when the time to settle is over."""
    until = datetime.now(UTC) + driver.form.settles_within
    while True:
        found = await disagreements(client, database, threshold=THRESHOLD)
        # Time goes on, and e-mails with it: what is under way is looked at once more.
        for _ in range(3):
            if not found:
                return {}
            await asyncio.sleep(1)
            found = await disagreements(client, database, threshold=THRESHOLD, of=found)
        if datetime.now(UTC) > until:
            return found


async def _failed(database: Database, driver: Driver) -> list[tuple[Pair, str]]:
    """Reminders that should have gone out and did not.

    Nothing here is a reason for that, but for what was planned when its session was about to begin,
    and for a request that a killed worker left in doubt, which was untrue when another found it.
    """
    query = text(
        "SELECT r.session_id, r.user_id, reminder_type, generation, status_reason, frozen_at,"
        "       starts_at - due_at < interval '15 seconds' AS was_late"
        "  FROM session_reminder_emails r LEFT JOIN email_batches b ON b.id = r.batch_id"
        " WHERE email_status = 'failed'"
    )
    kills = [call.began_at for call in driver.journal.calls if call.verb == KILL]

    def is_explained(row: Any) -> bool:
        if row.status_reason == StatusReason.OUTCOME_UNKNOWN and row.frozen_at is not None:
            return any(timedelta() <= kill - row.frozen_at < LEFT_IN_DOUBT for kill in kills)
        return row.status_reason == StatusReason.EXPIRED and bool(row.was_late)

    async with database.autocommit() as connection:
        return [
            (
                (row.session_id, row.user_id),
                f"{row.reminder_type}/{row.generation} failed: {row.status_reason}",
            )
            for row in await connection.execute(query)
            if not is_explained(row)
        ]


async def _still_changing(driver: Driver, client: Client) -> list[str]:
    """Changes of sessions that nobody has finished."""
    left = []
    for session in driver.sessions:
        handle = client.get_workflow_handle(session_change_workflow_id(session))
        try:
            found = await handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                continue  # nobody changed it
            raise
        if found.close_time is None:
            left.append(f"{handle.id} has not ended")
    return left


async def _trace(pair: Pair, driver: Driver, seen: Witness, client: Client) -> str:
    """What was asked of an enrollment and what came of it, in the order of time."""
    lines = list(seen.story(*pair))
    lines += [(c.began_at, str(c)) for c in driver.journal.calls if c.concerns(*pair)]
    workflow_id = session_reminder_workflow_id(*pair)
    async for run in client.list_workflows(f"WorkflowId = '{workflow_id}'"):
        status = run.status.name if run.status else "?"
        lines.append((run.close_time or datetime.now(UTC), f"   run {run.run_id[:8]} is {status}"))
        handle = client.get_workflow_handle(workflow_id, run_id=run.run_id)
        async for event in handle.fetch_history_events():
            kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_").lower()
            if not kind.startswith("workflow_task"):
                at = event.event_time.ToDatetime(tzinfo=UTC)
                lines.append((at, f"   run {run.run_id[:8]} {kind}"))
    lines.sort(key=lambda line: line[0])
    shown = [f"{at:%H:%M:%S.%f} {what}" for at, what in lines[-LONGEST_TRACE:]]
    return "\n".join([f"--- {_short(pair)}", *shown])


def _short(pair: Pair) -> str:
    return f"session {pair[0]}, user {pair[1]}"
