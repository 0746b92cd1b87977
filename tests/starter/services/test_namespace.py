"""Whose a namespace is, and what becomes of an installation whose database was moved or copied."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import text
from temporalio.client import Client, ScheduleActionExecutionStartWorkflow

from devstack.temporal import EmbeddedTemporal
from reminders.db.engine import Database
from reminders.db.installation import MEMO, Installation
from reminders.domain.errors import AnotherInstallationError
from reminders.domain.keys import SWEEP_ID
from reminders.temporal import Ensured, ensure_schedule
from starter.services.namespace import Namespace, sweep_schedule
from tests.databases import Databases
from tests.namespaces import a_namespace
from tests.stage import eventually
from workflows.plugin import SessionReminderPlugin

NEVER = "0 0 1 1 *"


@pytest.fixture
async def alone(client: Client, temporal_server: EmbeddedTemporal) -> Client:
    """A client of a namespace that is nobody's yet."""
    name = await a_namespace(client)
    return await Client.connect(
        temporal_server.address, namespace=name, plugins=[SessionReminderPlugin()]
    )


Another = Callable[[], Awaitable[Installation]]


@pytest.fixture
async def another(databases: Databases) -> AsyncIterator[Another]:
    """Makes installations, each with a database and an id of its own."""
    async with AsyncExitStack() as stack:

        async def made() -> Installation:
            database = Database(await stack.enter_async_context(databases.one()))
            stack.push_async_callback(database.aclose)
            installation = Installation(database)
            await installation.renewed()
            return installation

        yield made


async def claim(namespace: Namespace, queue: str = "q", *, take_over: bool = False) -> Ensured:
    """What became of the Schedule."""
    return await namespace.claim(NEVER, task_queue=queue, take_over=take_over)


async def test_the_second_of_two_is_refused_until_it_takes_over(
    alone: Client, another: Another
) -> None:
    """A namespace is its first installation's; the other is told both remedies, in one line."""
    ours = Namespace(alone, await another())
    theirs = Namespace(alone, await another())
    await theirs.memo()  # nobody's yet
    assert Ensured.CREATED == await claim(ours)
    assert Ensured.UNCHANGED == await claim(ours)
    assert {MEMO: str(await ours.installation.id())} == await ours.memo()
    newcomer = Namespace(alone, theirs.installation)
    for act in (newcomer.memo(), claim(theirs), claim(newcomer, "another queue")):
        with pytest.raises(AnotherInstallationError, match=r"TEMPORAL_NAMESPACE.*--take-over") as e:
            await act
        assert "\n" not in str(e.value)
    assert Ensured.UPDATED == await claim(theirs, take_over=True)
    assert Ensured.UNCHANGED == await claim(theirs)
    with pytest.raises(AnotherInstallationError):
        await Namespace(alone, ours.installation).memo()


async def test_of_two_that_start_at_once_one_is_refused(alone: Client, another: Another) -> None:
    """Neither finds a Schedule, and only one makes it."""
    both = [Namespace(alone, await another()) for _ in range(2)]
    ends = await asyncio.gather(*(claim(one) for one in both), return_exceptions=True)
    assert Ensured.CREATED in ends
    assert 1 == sum(isinstance(end, AnotherInstallationError) for end in ends)


async def test_a_schedule_of_an_earlier_release_is_adopted(alone: Client, another: Another) -> None:
    """It names no installation; from then on it does, and the log says that its queue changed."""
    await ensure_schedule(alone, SWEEP_ID, sweep_schedule(NEVER, task_queue="q"))
    ours, theirs = Namespace(alone, await another()), Namespace(alone, await another())
    await ours.memo()
    assert Ensured.UPDATED == await claim(ours)
    with pytest.raises(AnotherInstallationError):
        await theirs.memo()


async def test_a_queue_of_our_own_that_changes_is_logged(
    alone: Client, another: Another, caplog: pytest.LogCaptureFixture
) -> None:
    """The same installation may rename its task queue, and not without a word."""
    ours = Namespace(alone, await another())
    await claim(ours, "q")
    with caplog.at_level(logging.WARNING):
        assert Ensured.UPDATED == await claim(ours, "q2")
    assert "the sweep moves from task queue q to q2" in caplog.text


async def test_runs_of_the_schedule_carry_the_installation(alone: Client, another: Another) -> None:
    """Not only those by hand."""
    ours = Namespace(alone, await another())
    await claim(ours)
    handle = alone.get_schedule_handle(SWEEP_ID)
    await handle.trigger()
    found: list[str] = []

    async def runs() -> bool:
        found[:] = [
            action.workflow_id
            for action in (await handle.describe()).info.running_actions
            if isinstance(action, ScheduleActionExecutionStartWorkflow)
        ]
        return bool(found)

    await eventually(runs)
    run = alone.get_workflow_handle(found[0])
    assert await ours.memo() == await (await run.describe()).memo()
    await run.terminate()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database of this test's own."""
    database = Database(database_url)
    yield database
    await database.aclose()


async def noted(database: Database, value: str | None = None) -> str:
    """Which database the installation believes to be in; another, if one is given."""
    async with database.transaction() as connection:
        if value is not None:
            await connection.execute(
                text("UPDATE reminder_installation SET database = :value"), {"value": value}
            )
        found: str = await connection.scalar(text("SELECT database FROM reminder_installation"))
    return found


@pytest.mark.parametrize(
    ("server", "oid", "is_known"),
    [
        (None, None, True),  # the same files, here or on a replica that took over
        ("?", None, True),  # its identifier could not be read then
        ("1", None, False),  # another server: a dump was restored
        (None, "1", False),  # another database of the same server
        ("?", "1", False),
    ],
)
async def test_a_database_that_is_another(
    database: Database, server: str | None, oid: str | None, *, is_known: bool
) -> None:
    """A replica is no copy; a restored dump is not the database that it was, until somebody says so."""
    mine = await Installation(database).id()
    was = await noted(database)
    now_server, now_oid = was.split("/")
    assert now_server.isdecimal()
    await noted(database, f"{server or now_server}/{oid or now_oid}")
    if is_known:
        assert mine == await Installation(database).id()
        return
    with pytest.raises(AnotherInstallationError, match=r"`reminders installation moved`.*new`"):
        await Installation(database).id()
    assert mine == await Installation(database).moved()
    assert mine == await Installation(database).id()
    assert was == await noted(database)


async def test_a_copy_becomes_an_installation_of_its_own(database: Database) -> None:
    """It has a new id, once and for all."""
    mine = await Installation(database).id()
    await noted(database, "1/1")
    new = await Installation(database).renewed()
    assert new != mine
    assert new == await Installation(database).id()
