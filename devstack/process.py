"""Child processes that do not outlive this one, looked at and ended.

A child dies with its parent, also when the parent is killed with `kill -9`. On Linux the kernel
does it (`prctl(PR_SET_PDEATHSIG)`). macOS has no such thing: there, and wherever it failed, the
next start finds the stale process by its pid file and ends it (`stop_stale`).

Under which account a child runs is said by `RunAs`.

Source:
    prctl(2) PR_SET_PDEATHSIG, user_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from reminders.domain.errors import ReminderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent dies (linux/prctl.h)."""

CLONE_NEWUSER = 0x10000000
"""unshare(2): a new user namespace (linux/sched.h)."""

IPC_RMID = 0
"""shmctl(2): remove a shared memory segment (sys/ipc.h; the same on Linux and macOS)."""

UID_IN_NAMESPACE = 1000
"""What root is called inside the namespace: any uid but 0 satisfies PostgreSQL."""

POLL_SECONDS = 0.005
"""How often a bounded wait looks again."""

TAIL_LINES = 20
"""How much of a server's log an error message carries."""

Escalation = tuple[tuple[signal.Signals, float], ...]
"""Signals to send one after the other, each with the seconds it is given to work."""

LINUX = sys.platform == "linux"

# Loaded here and not in the child: between fork and exec as little as possible should happen.
_libc = ctypes.CDLL(None, use_errno=True)


class EmbeddedServerError(ReminderError):
    """An embedded server does not do what it should."""


@dataclass(frozen=True, kw_only=True)
class RunAs:
    """The account a child runs under; by default the one we run under."""

    uid: int | None = None
    """The user to become; None stays who we are."""
    gid: int | None = None
    """The only group to be in; None keeps the groups."""
    user_namespace: bool = False
    """Whether root becomes uid 1000 in a user namespace of its own."""


OURSELVES = RunAs()


# ---------------------------------------------------------------- spawning


def spawn(
    command: Sequence[str | Path],
    *,
    output: int,
    death_signal: signal.Signals = signal.SIGKILL,
    run_as: RunAs = OURSELVES,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    from_any_thread: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a child that ends when this process ends, however this process ends.

    The child gets a session of its own, so that a Ctrl-C in the terminal reaches only us and we
    can stop the children in the right order.

    Args:
        command: Program and arguments.
        output: File descriptor for its standard output and error, or `subprocess.PIPE` or
            `subprocess.DEVNULL`.
        death_signal: What the kernel sends it when we are gone (Linux only).
        run_as: The account to run it under.
        cwd: Its working directory; None is ours.
        env: Its environment; None is ours.
        from_any_thread: Whether this thread waits for the child. Otherwise only the main thread
            may start one: Linux ties the death signal to the *thread* that forked, so a server
            started from a pool's thread would be ended when the pool ends the thread.

    Raises:
        EmbeddedServerError: If called from another thread than the main one, if the program
            cannot be executed, or if the account cannot be taken.
    """
    if not from_any_thread and threading.current_thread() is not threading.main_thread():
        message = "start embedded servers from the main thread: they die with the thread"
        raise EmbeddedServerError(message)
    prepare = functools.partial(_become_the_child, os.getpid(), death_signal, run_as.user_namespace)

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            user=run_as.uid,
            group=run_as.gid,
            extra_groups=None if run_as.gid is None else [],
            start_new_session=True,
            umask=0o077,
            # With other threads about, what runs between fork and exec may take no lock that one
            # of them holds: a few system calls, through a library that is loaded already.
            preexec_fn=prepare,  # noqa: PLW1509
        )

    try:
        try:
            return start()
        except subprocess.SubprocessError:  # before exec; seen once, on a busy machine
            return start()
    except (OSError, subprocess.SubprocessError) as error:
        message = f"cannot run {command[0]}: {error}"
        raise EmbeddedServerError(message) from error


def run(
    command: Sequence[str | Path],
    *,
    run_as: RunAs = OURSELVES,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = 60,
) -> str:
    """Run a short command to its end, under the same promises as `spawn`, from any thread.

    Returns:
        What it wrote, standard output and error together, without surrounding space.

    Raises:
        EmbeddedServerError: If it cannot be run, fails (the message is what it wrote), or takes
            too long.
    """
    with spawn(
        command, output=subprocess.PIPE, run_as=run_as, env=env, from_any_thread=True
    ) as process:
        try:
            output = process.communicate(timeout=timeout_seconds)[0].decode(errors="replace")
        except subprocess.TimeoutExpired as error:
            process.kill()
            message = f"{Path(command[0]).name} did not end within {timeout_seconds:g} s"
            raise EmbeddedServerError(message) from error
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        message = output.strip() or f"{command[0]} exited with {process.returncode}"
        raise EmbeddedServerError(message)
    return output.strip()


def _become_the_child(parent: int, death_signal: signal.Signals, user_namespace: bool) -> None:  # noqa: FBT001
    """Between fork and exec: enter the namespace, then ask to die with the parent.

    In this order, because the kernel forgets the death signal when credentials change (which is
    also why `Popen(user=...)`, applied before this function, does no harm).
    """
    if user_namespace:
        _enter_user_namespace()
    if not LINUX:
        return
    # A kernel that refuses is no reason not to run: `stop_stale` is there for that.
    _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the request was in place: no signal will come any more.
        os.kill(os.getpid(), signal.SIGKILL)


def _enter_user_namespace() -> None:
    """Become uid and gid 1000 in a new user namespace; to the outside we stay root.

    Files stay root's and 0700 directories stay readable, because the kernel still compares the
    outer uid. `setgroups` must be denied before an ordinary process may write its `gid_map`.
    """
    uid, gid = os.geteuid(), os.getegid()  # inside, and not yet mapped, we would be 65534
    if _libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    for name, line in (
        ("setgroups", b"deny"),
        ("uid_map", b"%d %d 1" % (UID_IN_NAMESPACE, uid)),
        ("gid_map", b"%d %d 1" % (UID_IN_NAMESPACE, gid)),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- looking at and ending processes


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def end(process: subprocess.Popen[bytes] | int, escalation: Escalation) -> bool:
    """Send signals, each for as long as it is given, until the process is gone.

    Args:
        process: A child of ours, or the pid of a process that is not.
        escalation: What to send, mildest first.

    Returns:
        Whether it is gone.
    """

    def gone() -> bool:
        if isinstance(process, int):
            return not is_alive(process)
        return process.poll() is not None

    pid = process if isinstance(process, int) else process.pid
    for number, seconds in escalation:
        if gone():
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(gone, seconds=seconds):
            return True
    return gone()


def kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """`SIGKILL` a child and its children, as if the power failed; returns when all are gone.

    Stopped first, so that it neither starts nor warns another child meanwhile.
    """
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGSTOP)
    doomed = psutil.Process(process.pid).children()
    process.kill()
    for child in doomed:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    wait_until(lambda: not any(is_alive(child.pid) for child in doomed), seconds=10)


def stop_stale(pid_file: Path, *, program: str, argument: Path, escalation: Escalation) -> bool:
    """End a server that an earlier owner of the same data left behind.

    Pids are reused, so a pid alone proves nothing: the process must also be of that program and
    carry our path among its arguments. Call it while holding the claim on the directory, which
    is what proves that the server's owner is gone.

    Args:
        pid_file: Its first line is the pid; need not exist.
        program: Name of the executable, without folders.
        argument: A path only our server has on its command line, spelt as there.
        escalation: How to end it.

    Returns:
        Whether there was one.

    Raises:
        EmbeddedServerError: If it cannot be ended.
    """
    try:
        pid = int(pid_file.read_text(encoding="utf-8").partition("\n")[0])
        found = psutil.Process(pid).cmdline()
    except (OSError, ValueError, psutil.Error):
        return False
    if not found or Path(found[0]).name != program or str(argument) not in found[1:]:
        return False
    try:
        gone = end(pid, escalation)
    except PermissionError:
        gone = False
    if not gone:
        message = f"a stale {program} (pid {pid}) still uses {argument} and cannot be ended"
        raise EmbeddedServerError(message)
    return True


def remove_shared_memory(identifier: int) -> None:
    """Remove the System V segment a killed server left; nothing happens when it is gone.

    Nor when it is another account's and we are a root without CAP_SYS_ADMIN: in a container, which
    takes it along when it ends.
    """
    _libc.shmctl(identifier, IPC_RMID, None)


# ---------------------------------------------------------------- logs


def tail(log: Path, *, since: int = 0) -> str:
    """The last lines of a log, to be put into an error message.

    Args:
        log: The file; need not exist.
        since: Bytes at its beginning to leave out: what earlier runs wrote.
    """
    try:
        text = log.read_bytes()[since:].decode(errors="replace")
    except OSError:
        text = ""
    lines = text.rstrip().splitlines()[-TAIL_LINES:]
    return "\n".join(f"  | {line}" for line in lines) or "  | (nothing was logged)"
