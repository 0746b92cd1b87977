"""The whole stack on one machine: what it tells others, what it survives, what it leaves behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import directories, ports, process
from devstack.program import Program, foreign_environment, logs
from devstack.stack import LocalStack


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack without what takes long and is not asked for here."""
    with LocalStack(with_api=False, with_ui=False) as stack:
        yield stack


def a_program(folder: Path, code: str, *, ready: str = "ready") -> Program:
    """A Python program of a few words."""
    command = [sys.executable, "-u", "-c", code]
    return Program("example", command, folder=folder, environment={}, ready=logs(ready))


def test_its_environment_is_enough_for_our_commands(stack: LocalStack) -> None:
    """`reminders doctor` finds everything through it, and nothing to complain about."""
    doctor = subprocess.run(
        [Path(sys.executable).with_name("reminders"), "doctor"],
        env={**foreign_environment(), **stack.environment()},
        cwd=stack.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr


def test_a_shell_reads_what_it_exports(stack: LocalStack, tmp_path: Path) -> None:
    """The exported lines set exactly the environment, odd characters included."""
    (tmp_path / "env").write_text(stack.exports())
    shell = subprocess.run(
        ["/bin/sh", "-c", ". ./env; env -0"], cwd=tmp_path, env={}, capture_output=True, check=True
    )
    told = dict(v.split("=", 1) for v in shell.stdout.decode().split("\0") if v)
    assert stack.environment().items() <= told.items()


def test_a_worker_that_dies_is_named_and_starts_again(stack: LocalStack) -> None:
    """`check` says which part has died, and is content once it runs again."""
    first = stack.worker.pid
    stack.check()
    stack.worker.kill()
    with pytest.raises(process.EmbeddedServerError, match="worker has ended"):
        stack.check()
    stack.worker.start()
    stack.check()
    assert stack.worker.pid not in (None, first)


def test_a_server_that_dies_comes_back_where_it_was(stack: LocalStack) -> None:
    """The environment stays true over a kill and a start."""
    before = stack.environment()
    for part in (stack.postgres, stack.provider):
        part.kill()
        part.start()
    stack.check()
    assert stack.environment() == before


def test_a_folder_has_one_stack_at_a_time(stack: LocalStack) -> None:
    """A second stack on the same data is refused before it does anything."""
    with pytest.raises(directories.DirectoryInUseError):
        LocalStack(stack.folder).start()
    stack.check()


def test_a_temporary_folder_goes_when_the_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was started is stopped, and what was written is removed."""
    stack, folders = LocalStack(with_api=False, with_ui=False), []

    def fails() -> None:
        folders.append(stack.folder)
        message = "no luck"
        raise process.EmbeddedServerError(message)

    monkeypatch.setattr(stack, "_start_servers", fails)
    with pytest.raises(process.EmbeddedServerError, match="no luck"):
        stack.start()
    assert not folders[0].exists()
    stack.stop()


def test_a_program_that_ends_at_its_start_says_why(tmp_path: Path) -> None:
    """The error has the exit code and the end of the log, of this start only."""
    (tmp_path / "example.log").write_text("of an earlier start\n")
    program = a_program(tmp_path, "print('no luck'); raise SystemExit(3)")
    with pytest.raises(process.EmbeddedServerError, match="code 3") as caught:
        program.start()
    assert "no luck" in str(caught.value)
    assert "earlier" not in str(caught.value)
    assert program.pid is None


def test_a_program_runs_once(tmp_path: Path) -> None:
    """A second start while it runs is a mistake; stopping twice is none."""
    program = a_program(tmp_path, "import time; print('ready'); time.sleep(60)")
    program.start()
    with pytest.raises(RuntimeError, match="running already"):
        program.start()
    program.stop()
    program.stop()
    assert program.pid is None


def test_a_program_is_configured_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our settings and Temporal's in the developer's shell do not reach it; the rest does."""
    for name in ("EMAIL_BATCH_SIZE", "email_batch_size", "TEMPORAL_PROFILE", "UNRELATED"):
        monkeypatch.setenv(name, "1")
    found = foreign_environment()
    assert "UNRELATED" in found
    assert not {"EMAIL_BATCH_SIZE", "email_batch_size", "TEMPORAL_PROFILE"} & found.keys()


def test_a_taken_port_makes_way_for_the_next() -> None:
    """The expected port if it is free, else one soon after it."""
    free = ports.Ports.free().api
    assert ports._next_free(free) == free
    with socket.create_server(("127.0.0.1", free)):
        assert free < ports._next_free(free) < free + ports.PORTS_TRIED
