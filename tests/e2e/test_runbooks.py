"""The runbooks, played with the commands that they name, on processes that really fail."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select

from devstack.program import Program, logs, mark
from devstack.stack import SOURCES, WORKER_IS_READY, LocalStack
from devstack.temporal import find_temporal
from reminders.db.tables import UserRow
from reminders.domain.keys import session_reminder_workflow_id
from reminders.domain.model import ReminderStatus
from starter.cli.options import ExitCode
from tests.e2e.platform import Platform, a_platform
from tests.stage import eventually

ROOT = Path(__file__).parents[2]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
SECONDS = timedelta(seconds=1)
SETTINGS = {"DELIVERY_MODE": "live", "EMAIL_REQUESTS_PER_SECOND": "100"}


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    """PostgreSQL, Temporal and the stand-in; each test brings its workers."""
    with LocalStack(
        workers=0, with_api=False, with_ui=False, rate=0, latency_ms=5, settings=SETTINGS
    ) as stack:
        yield stack


@pytest.fixture
async def platform(stack: LocalStack) -> AsyncIterator[Platform]:
    """The platform's side."""
    async with a_platform(stack) as platform:
        yield platform


@asynccontextmanager
async def a_worker(
    stack: LocalStack, name: str = "worker", *, broken: bool = False, **settings: str
) -> AsyncIterator[Program]:
    """A worker process, until it is stopped in order."""
    what = ["-m", "tests.e2e.broken_worker"] if broken else [str(SOURCES / "worker.py")]
    program = Program(
        name,
        [sys.executable, "-X", mark(stack.folder), *what],
        folder=stack.folder,
        environment={**stack.environment(), "PYTHONPATH": str(SOURCES), **settings},
        ready=logs(WORKER_IS_READY),
    )
    program.launch()
    try:
        await asyncio.to_thread(program.wait_until_ready)
        yield program
    finally:
        await asyncio.to_thread(program.stop)


async def command(stack: LocalStack, *words: str, program: str = "") -> tuple[int, str]:
    """How one of our commands ends, and what it prints; or another program's."""
    ours = [sys.executable, "-P", "-c", "import starter.cli.main; starter.cli.main.main()"]
    process = await asyncio.create_subprocess_exec(
        *([program] if program else ours),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=stack.folder,
        env={**stack.environment(), "COLUMNS": "200", "HOME": str(stack.folder)},
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


async def done(stack: LocalStack, *words: str, program: str = "") -> str:
    """What a command prints that must succeed."""
    code, told = await command(stack, *words, program=program)
    assert 0 == code, told
    return told


async def is_held(stack: LocalStack, reason: str) -> bool:
    """Whether `doctor` is red, and says that the provider refuses all of us for this reason."""
    code, told = await command(stack, "doctor")
    return code == ExitCode.RED and "delivery is held until" in told and reason in told


async def picked_up(platform: Platform, session_id: UUID) -> bool:
    """Whether a worker has put everybody of a session to sleep."""
    for reminder in await platform.due_reminders(session_id):
        handle = platform.client.get_workflow_handle(
            session_reminder_workflow_id(session_id, reminder.user_id)
        )
        if (await handle.describe()).history_length < 5:
            return False
    return True


async def statuses(platform: Platform, session_id: UUID) -> set[ReminderStatus]:
    """How the session's 30-minute reminders stand."""
    return {r.status for r in await platform.due_reminders(session_id)}


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_the_quota_is_gone(stack: LocalStack, platform: Platform) -> None:
    """`doctor` says so; after it was raised and `resume`, everybody is reminded."""
    async with a_worker(stack):
        await platform.provider.faults(kind="status", status=429, name="daily_quota_exceeded")
        session = await platform.enroll(3, due_in=3 * SECONDS)
        await eventually(lambda: is_held(stack, "quota"), within=60 * SECONDS)
        assert "quota" in await done(stack, "delivery", "show")
        await platform.provider.clear_faults()
        await done(stack, "delivery", "resume", "--reason", "quota raised")
        await platform.all_sent_once(session, 3, within=timedelta(minutes=5, seconds=20))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_wrong_key(stack: LocalStack, platform: Platform) -> None:
    """`doctor` says so; with the right key, restarted workers and `resume` everybody is reminded."""
    async with a_worker(stack, "worker-wrong", RESEND_API_KEY="re_wrong_key_of_the_test"):
        session = await platform.enroll(3, due_in=3 * SECONDS)
        await eventually(lambda: is_held(stack, "misconfigured"), within=60 * SECONDS)
    async with a_worker(stack):
        await done(stack, "delivery", "resume", "--reason", "key rotated")
        await platform.all_sent_once(session, 3, within=80 * SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_bad_deploy(stack: LocalStack, platform: Platform) -> None:
    """Workflow tasks fail with Nondeterminism and lose nothing: rolled back, everybody is reminded."""
    temporal = str(find_temporal())
    async with a_worker(stack):
        session = await platform.enroll(3, due_in=14 * SECONDS)
        await eventually(lambda: picked_up(platform, session), within=30 * SECONDS)
    async with a_worker(stack, "worker-broken", broken=True) as broken:

        async def fails() -> bool:
            return "Nondeterminism" in await asyncio.to_thread(broken.log_file.read_text)

        await eventually(fails, within=60 * SECONDS)
        stuck = (await platform.due_reminders(session))[0]
        workflow_id = session_reminder_workflow_id(session, stuck.user_id)
        words = ["workflow", "describe", "--workflow-id", workflow_id]
        await done(stack, *words, program=temporal)
        await done(stack, "why", str(session), str(stuck.user_id))
    async with a_worker(stack, "worker-again"):
        await done(stack, "sweep", "--wait")
        await platform.all_sent_once(session, 3)
        assert 0 == (await command(stack, "doctor"))[0]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_reminders_failed(stack: LocalStack, platform: Platform) -> None:
    """The provider refused them; once that is mended, `redrive` has each of them accepted, once."""
    async with a_worker(stack):
        await platform.provider.faults(
            kind="status", status=422, name="validation_error", path="/emails/batch"
        )
        session = await platform.enroll(3, due_in=2 * SECONDS)

        async def failed() -> bool:
            return await statuses(platform, session) == {ReminderStatus.FAILED}

        await eventually(failed, within=60 * SECONDS)
        assert "rejected" in await done(stack, "failed")
        assert "rejected" in await done(stack, "list", "--status", "failed", "--json")
        await platform.provider.clear_faults()
        await done(stack, "redrive", "--dry-run")
        assert not await platform.accepted()
        for _ in range(2):
            await done(stack, "redrive", "--yes", "--reason", "domain verified")

        async def accepted() -> bool:
            return len(await platform.accepted()) == 3

        await eventually(accepted, within=30 * SECONDS)
        people = {r.user_id: r.status for r in await platform.due_reminders(session)}
        assert 3 == len(people)
        assert 3 == len({str(mail["to"]) for mail in await platform.accepted()})


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_stuck_workflow(stack: LocalStack, platform: Platform) -> None:
    """Terminated by hand and enrolled again: it starts anew, and the person gets one e-mail."""
    temporal = str(find_temporal())
    async with a_worker(stack):
        session = await platform.enroll(1, due_in=15 * SECONDS)
        await eventually(lambda: picked_up(platform, session), within=30 * SECONDS)
        (reminder,) = await platform.due_reminders(session)
        workflow_id = session_reminder_workflow_id(session, reminder.user_id)
        words = ["workflow", "terminate", "--workflow-id", workflow_id, "--reason", "stuck"]
        await done(stack, *words, program=temporal)
        await done(stack, "enroll", str(session), str(reminder.user_id))
        await platform.all_sent_once(session, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_temporals_database_is_lost(stack: LocalStack, platform: Platform) -> None:
    """On an empty one, `temporal setup` and sweeps until nothing is repaired bring everybody back."""
    async with a_worker(stack):
        before = await platform.enroll(2, due_in=3 * SECONDS)
        await platform.all_sent_once(before, 2)
        session = await platform.enroll(3, due_in=22 * SECONDS)
        await eventually(lambda: picked_up(platform, session), within=25 * SECONDS)
    stack.temporal.kill()
    for file in stack.folder.glob("temporal.db*"):
        file.unlink()
    stack.temporal.start()
    await done(stack, "temporal", "setup")
    async with a_worker(stack, "worker-again"), a_platform(stack) as again:

        async def nothing_is_repaired() -> bool:
            run = json.loads(await done(stack, "sweep", "--wait", "--json"))
            return bool(run["result"]["processed"] == 0)

        await eventually(nothing_is_repaired, within=60 * SECONDS)
        await again.all_sent_once(session, 3)
        await again.all_sent_once(before, 2)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_cancel_for_many(stack: LocalStack, platform: Platform) -> None:
    """Counted first, then called off for everybody; another session goes on."""
    async with a_worker(stack):
        session = await platform.enroll(20, due_in=timedelta(hours=1))
        other = await platform.enroll(1, due_in=5 * SECONDS)
        await done(stack, "cancel", str(session), "--dry-run")
        assert {ReminderStatus.SCHEDULED} == await statuses(platform, session)
        await done(stack, "cancel", str(session), "--yes")

        async def called_off() -> bool:
            return await statuses(platform, session) == {ReminderStatus.CANCELLED}

        await eventually(called_off, within=30 * SECONDS)
        await platform.all_sent_once(other, 1)
        assert 1 == len(await platform.accepted())


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_erase_a_person(stack: LocalStack, platform: Platform) -> None:
    """Counted first, then called off and without a name; who else is enrolled is reminded."""
    async with a_worker(stack):
        session = await platform.enroll(2, due_in=45 * SECONDS)
        gone, _ = await platform.due_reminders(session)
        await done(stack, "erase", str(gone.user_id), "--dry-run")
        assert {ReminderStatus.SCHEDULED} == await statuses(platform, session)
        await done(stack, "erase", str(gone.user_id), "--yes")
        ended = {ReminderStatus.SENT, ReminderStatus.CANCELLED}

        async def over() -> bool:
            return await statuses(platform, session) == ended

        await eventually(over, within=90 * SECONDS)
        assert 1 == len(await platform.accepted())
        left = {r.user_id: r.status for r in await platform.due_reminders(session)}
        assert ReminderStatus.CANCELLED is left[gone.user_id]
        async with platform.database.transaction() as connection:
            address = await connection.scalar(
                select(UserRow.email).where(UserRow.id == gone.user_id)
            )
        assert gone.user_id.hex not in (address or "")


def test_every_runbook_names_the_test_that_plays_it() -> None:
    """And that test is there."""
    sections = re.split(r"(?m)^## ", RUNBOOKS)[1:]
    assert len(sections) == 13
    for section in sections:
        named = re.findall(r"`(?:tests/)?([\w/]+/test_\w+\.py)(?:::(test_\w+))?`", section)
        named += [("e2e/test_runbooks.py", n) for n in re.findall(r"`(test_\w+)`", section)]
        assert named, section.splitlines()[0]
        for file, name in named:
            text = (ROOT / "tests" / file).read_text(encoding="utf-8")
            others = (ROOT / "tests" / "e2e" / "test_restored_ledger.py").read_text("utf-8")
            assert not name or f"def {name}(" in text + others, name
