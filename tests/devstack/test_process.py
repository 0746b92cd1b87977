"""Children that die with their parent, and what is left behind is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from devstack import process
from devstack.ports import free_ports, is_free

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEPER = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"]

linux_only = pytest.mark.skipif(not process.LINUX, reason="only Linux has death signals")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A child that does nothing, and is gone afterwards."""
    child = process.spawn(SLEEPER, output=subprocess.DEVNULL)
    yield child
    child.kill()
    child.wait()


def pid_file(folder: Path, pid: int) -> Path:
    """A pid file as servers write them: the pid first, other things below."""
    path = folder / "server.pid"
    path.write_text(f"{pid}\n/somewhere\n", encoding="ascii")
    return path


@linux_only
def test_a_child_dies_with_a_killed_parent() -> None:
    """After `kill -9` of the parent, the kernel ends the child."""
    program = (
        "import subprocess, sys; from devstack import process\n"
        "child = process.spawn(sys.argv[1:], output=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, *SLEEPER], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert process.is_alive(child)
        parent.kill()
        assert process.wait_until(lambda: not process.is_alive(child), seconds=5)


def test_a_child_cannot_be_spawned_from_a_passing_thread() -> None:
    """Another thread than the main one is refused: the child would die with it."""
    caught: list[process.EmbeddedServerError] = []

    def attempt() -> None:
        try:
            process.spawn(SLEEPER, output=subprocess.DEVNULL)
        except process.EmbeddedServerError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_a_child_has_a_session_of_its_own(sleeper: subprocess.Popen[bytes]) -> None:
    """A Ctrl-C in the terminal does not reach the child directly."""
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


def test_a_program_that_does_not_exist_is_named() -> None:
    """The error of an impossible command names the command."""
    with pytest.raises(process.EmbeddedServerError, match="/nowhere/at-all"):
        process.run(["/nowhere/at-all"])


def test_a_failing_command_tells_what_it_wrote() -> None:
    """The error of a failed command is what it wrote to either stream."""
    program = "import sys; print('why', file=sys.stderr); sys.exit(3)"
    with pytest.raises(process.EmbeddedServerError, match="why"):
        process.run([sys.executable, "-I", "-S", "-c", program])


def test_a_hanging_command_is_ended() -> None:
    """A command that takes too long is killed and named."""
    with pytest.raises(process.EmbeddedServerError, match=r"did not end within 0\.05 s"):
        process.run(SLEEPER, timeout_seconds=0.05)


def test_killing_takes_the_children_along() -> None:
    """`kill_with_children` returns when parent and children are gone."""
    program = (
        "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()  # a child of the child"
    )
    parent = process.spawn(
        [sys.executable, "-I", "-S", "-c", program, *SLEEPER], output=subprocess.DEVNULL
    )
    assert process.wait_until(lambda: bool(psutil.Process(parent.pid).children()), seconds=5)
    (child,) = psutil.Process(parent.pid).children()
    process.kill_with_children(parent)
    assert parent.returncode == -signal.SIGKILL
    assert not process.is_alive(child.pid)


def test_a_stale_process_is_ended(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A process of the right program and arguments is ended by its pid file."""
    ended = process.stop_stale(
        pid_file(tmp_path, sleeper.pid),
        program=Path(sys.executable).name,
        argument=Path("import time; time.sleep(60)"),
        escalation=((signal.SIGTERM, 5),),
    )
    assert ended
    assert sleeper.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("program", "argument"),
    [("postgres", "-c"), (Path(sys.executable).name, "/data/of/another")],
)
def test_a_reused_pid_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes], program: str, argument: str
) -> None:
    """A process of another program or with other arguments is not ours to end."""
    assert not process.stop_stale(
        pid_file(tmp_path, sleeper.pid),
        program=program,
        argument=Path(argument),
        escalation=((signal.SIGKILL, 5),),
    )
    assert sleeper.poll() is None


@pytest.mark.parametrize("content", ["", "not a pid\n", "2147483646\n"])
def test_a_meaningless_pid_file_is_ignored(tmp_path: Path, content: str) -> None:
    """An empty or broken pid file, or one of a process long gone, ends nothing."""
    path = tmp_path / "server.pid"
    path.write_text(content, encoding="ascii")
    assert not process.stop_stale(path, program="x", argument=tmp_path, escalation=())
    assert not process.stop_stale(tmp_path / "none", program="x", argument=tmp_path, escalation=())


def test_a_tail_is_of_this_run_only(tmp_path: Path) -> None:
    """The end of a log leaves out what earlier runs wrote, and says when there is nothing."""
    log = tmp_path / "log"
    log.write_bytes(b"earlier\n")
    assert process.tail(log, since=8) == "  | (nothing was logged)"
    log.write_bytes(b"earlier\n" + b"".join(b"line %d\n" % number for number in range(100)))
    assert process.tail(log, since=8).splitlines() == [f"  | line {n}" for n in range(80, 100)]


def test_free_ports_are_different_and_free() -> None:
    """Free ports are distinct, and nothing listens on them."""
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(is_free(port) for port in found)
