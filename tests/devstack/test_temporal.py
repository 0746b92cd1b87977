"""The embedded Temporal server: its life, its deaths, and what it is configured for."""

from __future__ import annotations

import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from devstack import process, temporal
from devstack.ports import free_ports, is_free
from devstack.temporal import EmbeddedTemporal
from tests.devstack.owners import kill_an_owner

if TYPE_CHECKING:
    from collections.abc import Iterator


SESSION_ID = SearchAttributeKey.for_keyword("SessionId")
USER_ID = SearchAttributeKey.for_keyword("UserId")
SESSION_START = SearchAttributeKey.for_datetime("SessionStart")

OWNER = """
import pathlib, sys
from devstack import process, temporal
if sys.argv[2] == "without-death-signal":
    process.PR_SET_PDEATHSIG = 0
folder = None if sys.argv[1] == "-" else pathlib.Path(sys.argv[1])
server = temporal.EmbeddedTemporal(folder, headless=True)
server.start()
print(server.pid, server.log_file.parent, flush=True)
sys.stdin.read()
"""
"""A process that starts a server in the folder, says its pid and folder, and waits."""


async def a_workflow(client: Client) -> WorkflowHandle[object, object]:
    """A workflow that no worker ever picks up, with all our search attributes."""
    return await client.start_workflow(
        "SessionReminderWorkflow",
        id=f"session-reminder:{uuid4()}",
        task_queue="nobody-polls-this",
        search_attributes=TypedSearchAttributes(
            [
                SearchAttributePair(SESSION_ID, "session"),
                SearchAttributePair(USER_ID, "user"),
                SearchAttributePair(SESSION_START, datetime(2030, 1, 1, 12, tzinfo=UTC)),
            ]
        ),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedTemporal]:
    """A server that the tests share who do not harm it."""
    with EmbeddedTemporal() as server:
        yield server


async def test_a_killed_server_keeps_its_workflows(tmp_path: Path) -> None:
    """After `kill` and `start`, at the same address, and for the next owner, a workflow runs on."""
    first = EmbeddedTemporal(tmp_path / "data", headless=True)
    first.start()
    address, pid = first.address, first.pid
    client = await Client.connect(address)
    started = await a_workflow(client)
    first.kill()
    assert pid is not None
    assert first.pid is None
    assert not process.is_alive(pid)

    first.start()
    assert first.address == address
    assert (await started.describe()).status is WorkflowExecutionStatus.RUNNING
    first.kill()
    first.stop()

    with EmbeddedTemporal(tmp_path / "data", headless=True) as second:
        client = await Client.connect(second.address)
        found = await client.get_workflow_handle(started.id).describe()
        assert found.status is WorkflowExecutionStatus.RUNNING
        assert found.typed_search_attributes[SESSION_ID] == "session"
        second.kill()  # faster than an orderly stop


async def test_our_search_attributes_can_be_asked_for(server: EmbeddedTemporal) -> None:
    """The three attributes are registered with their types and searchable at once."""
    client = await Client.connect(server.address)
    started = await a_workflow(client)
    query = "SessionId = 'session' AND UserId = 'user' AND SessionStart > '2029-12-31T00:00:00Z'"

    found: set[str] = set()
    for _ in range(500):  # visibility follows a moment later
        found = {execution.id async for execution in client.list_workflows(query)}
        if started.id in found:
            break
    assert started.id in found


async def test_time_can_be_skipped(server: EmbeddedTemporal) -> None:
    """A workflow may be started with a clock of its own."""
    client = TimeSkipper(
        await Client.connect(server.address), config=TimeSkippingConfig(enabled=True)
    ).client
    started = await a_workflow(client)
    assert (await started.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_time_skipping_can_be_left_out() -> None:
    """Without it the server refuses a clock of one's own, as a production server would."""
    with EmbeddedTemporal(headless=True, time_skipping=False, search_attributes={}) as server:
        plain = await Client.connect(server.address)
        client = TimeSkipper(plain, config=TimeSkippingConfig(enabled=True)).client
        with pytest.raises(RPCError, match=r"[Tt]ime-?[Ss]kipping"):
            await client.start_workflow("X", id="x", task_queue="q", task_timeout=timedelta(1))


def test_the_ui_answers(server: EmbeddedTemporal) -> None:
    """The web UI is served on loopback at the URL given."""
    assert server.ui_url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(server.ui_url, timeout=5) as answer:
        assert answer.status == 200


def test_a_headless_server_has_no_ui() -> None:
    """Asking a headless server for its UI is an error."""
    with pytest.raises(RuntimeError, match="headless"):
        _ = EmbeddedTemporal(headless=True).ui_url


def test_a_server_not_started_has_no_address() -> None:
    """Before `start` there is no address; `stop` and `kill` do nothing."""
    server = EmbeddedTemporal()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = server.address
    server.kill()
    server.stop()


def test_given_ports_are_used_and_a_taken_one_is_named(server: EmbeddedTemporal) -> None:
    """A wanted port that is taken is an error with the log; no other is used instead."""
    taken = int(server.address.rpartition(":")[2])
    with pytest.raises(process.EmbeddedServerError, match="address already in use"):
        EmbeddedTemporal(port=taken, headless=True).start()


def test_a_free_port_that_was_taken_meanwhile_is_replaced(
    server: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody is quicker to take the port, the server tries another."""
    taken = int(server.address.rpartition(":")[2])
    offers = [[taken, *free_ports(2)], free_ports(3)]
    monkeypatch.setattr(temporal, "free_ports", lambda _count: offers.pop(0))
    with EmbeddedTemporal(headless=True) as other:
        assert other.address != server.address
    assert not offers


@pytest.mark.skipif(not process.LINUX, reason="only Linux has death signals")
def test_a_killed_owner_leaves_no_server() -> None:
    """After `kill -9` of its owner the server ends, and the next start removes its files."""
    pid, folder = kill_an_owner(OWNER, None)
    assert process.wait_until(lambda: not process.is_alive(pid), seconds=10)
    with EmbeddedTemporal(headless=True):
        # Another server that starts at the same time, in another process, may be at it already.
        assert process.wait_until(lambda: not folder.exists(), seconds=10)


def test_an_orphan_is_ended_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server whose owner was killed without the kernel's help is replaced."""
    pid, _ = kill_an_owner(OWNER, tmp_path, "without-death-signal")
    assert process.is_alive(pid)
    monkeypatch.setattr(EmbeddedTemporal, "stop_signals", ())  # an orderly stop takes a second
    server = EmbeddedTemporal(tmp_path, headless=True)
    server.start()
    assert not process.is_alive(pid)
    server.kill()
    server.stop()


def test_a_temporary_server_leaves_nothing() -> None:
    """After `stop` the files are gone and the port is free."""
    with EmbeddedTemporal(headless=True) as server:
        folder = server.log_file.parent
    assert not folder.exists()
    assert is_free(int(server.address.rpartition(":")[2]))


def test_a_missing_program_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the `temporal` program the error says how to get it."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(process.EmbeddedServerError, match=r"dev\.py setup"):
        EmbeddedTemporal().start()
