"""Processes of ours that log into a file: watched, killed and started again."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from subprocess import Popen
from typing import Protocol, Self

from devstack import process
from devstack.directories import share_with_owner
from reminders.settings import Settings

START_SECONDS = 60
"""Bound of a start: mostly imports, which a busy machine can take long over."""

STOP: process.Escalation = ((signal.SIGTERM, 10), (signal.SIGKILL, 5))

KILL: process.Escalation = ((signal.SIGKILL, 5),)

Ready = Callable[["Program"], bool]
"""Whether a program that was launched does its work by now."""


class Part(Protocol):
    """Something of the stack that can die."""

    @property
    def pid(self) -> int | None:
        """Pid while it runs."""

    @property
    def log_file(self) -> Path:
        """All it had to say."""

    def start(self) -> None:
        """Start it, or start it again after `kill`."""

    def stop(self) -> None:
        """Stop it in order."""

    def kill(self) -> None:
        """`SIGKILL` it, as a crash would."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process from its start to its end; its log grows from one to the next."""

    name: str
    """In messages."""
    popen: Popen[bytes]
    log_file: Path
    log_began_at: int
    """Bytes in the log that are of earlier ones."""

    @classmethod
    def spawn(
        cls,
        name: str,
        command: Sequence[str | Path],
        stem: Path,
        *,
        death_signal: signal.Signals = signal.SIGKILL,
        run_as: process.RunAs = process.OURSELVES,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """Start it; what it says is in `stem.log`, its pid in `stem.pid`.

        Raises:
            EmbeddedServerError: If it cannot be executed.
        """
        log_file = stem.with_name(f"{stem.name}.log")
        with log_file.open("ab") as log:
            share_with_owner(log.fileno(), log_file.parent)
            log_began_at = log.tell()
            popen = process.spawn(
                command,
                output=log.fileno(),
                death_signal=death_signal,
                run_as=run_as,
                cwd=cwd,
                env=env,
            )
        stem.with_name(f"{stem.name}.pid").write_text(f"{popen.pid}\n", encoding="ascii")
        return cls(name, popen, log_file, log_began_at)

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self.popen.pid if self.popen.poll() is None else None

    def wait_until_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when it is ready.

        Raises:
            EmbeddedServerError: If it has ended, or is not ready in time; with the end of its log.
        """
        process.wait_until(lambda: self.pid is None or ready(), seconds=seconds)
        if self.pid is not None and ready():
            return
        if self.pid is None:
            fate = f"ended at its start with code {self.popen.returncode}"
        else:
            fate = f"was not ready within {seconds:.0f} s"
        tail = process.tail(self.log_file, since=self.log_began_at)
        message = f"the {self.name} {fate}; the end of {self.log_file}:\n{tail}"
        raise process.EmbeddedServerError(message)


@dataclass(eq=False)
class Program:
    """One worker, API or the like.

    It ends with this process, however that ends. Its log is `folder/name.log`, and grows over
    `kill`, `stop` and `start`. Nothing is started or written before `start`.
    """

    name: str
    """In messages and files."""
    command: Sequence[str | Path]
    """Program and arguments. To end an orphan on systems where children outlive a killed parent, the
    folder has to be among the arguments, see `mark`."""
    folder: Path = field(kw_only=True)
    """Its working directory, which also has its log and its pid."""
    environment: Mapping[str, str] = field(kw_only=True)
    """What it is configured by; nothing else reaches it of what configures us."""
    ready: Ready = field(kw_only=True)
    """Asked until it is true."""
    _child: Child | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it and return when it is ready.

        Raises:
            EmbeddedServerError: If it does not come up; the message has the end of the log.
            RuntimeError: If it is running already.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it and do not wait: several programs come up faster side by side.

        Raises:
            EmbeddedServerError: If it cannot be executed.
            RuntimeError: If it is running already.
        """
        if self.pid is not None:
            message = f"this {self.name} is running already"
            raise RuntimeError(message)
        stem = self.folder / self.name.lower()
        process.stop_stale(
            stem.with_name(f"{stem.name}.pid"),
            program=Path(self.command[0]).name,
            argument=Path(mark(self.folder)),
            escalation=STOP,
        )
        self._child = Child.spawn(
            self.name,
            self.command,
            stem,
            # Away from the checkout, where a developer's `.env` would be read.
            cwd=self.folder,
            env={**foreign_environment(), **self.environment},
        )

    def wait_until_ready(self) -> None:
        """Return when it is ready.

        Raises:
            EmbeddedServerError: If it was not launched, has ended or takes too long; it is killed
                then.
        """
        if self._child is None:
            message = f"the {self.name} was not launched"
            raise process.EmbeddedServerError(message)
        try:
            self._child.wait_until_ready(lambda: self.ready(self), seconds=START_SECONDS)
        except process.EmbeddedServerError:
            self.kill()
            raise

    def ask_to_stop(self) -> None:
        """Send SIGTERM and do not wait."""
        if self._child is not None and self.pid is not None:
            self._child.popen.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it in order; idempotent."""
        if self._child is not None:
            process.end(self._child.popen, STOP)

    def kill(self) -> None:
        """`SIGKILL` it, as a crash would; `start` starts it again."""
        if self._child is not None:
            process.end(self._child.popen, KILL)

    @property
    def pid(self) -> int | None:
        """Pid of the running program; None when it does not run."""
        return None if self._child is None else self._child.pid

    @property
    def log_file(self) -> Path:
        """All it had to say."""
        return self.folder / f"{self.name.lower()}.log"

    def has_logged(self, words: str) -> bool:
        """Whether it has logged these words since its last start."""
        with self.log_file.open("rb") as log:
            log.seek(self._child.log_began_at if self._child else 0)
            return words.encode() in log.read()


def mark(folder: Path) -> str:
    """What distinguishes the programs of one folder from all else in a list of processes.

    Python takes any `-X` option and ignores those it does not know.
    """
    return f"stack={folder}"


def logs(words: str) -> Ready:
    """Ready once it has logged these words."""
    return lambda program: program.has_logged(words)


def answers(url: str) -> Ready:
    """Ready once a GET is answered with 200."""

    def ready(_program: Program) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status == HTTPStatus.OK)
        except OSError:
            return False

    return ready


def foreign_environment() -> dict[str, str]:
    """Our environment without what would configure the programs: our settings and Temporal's."""
    return {name: value for name, value in os.environ.items() if not configures(name)}


def configures(name: str) -> bool:
    """Whether a variable of the environment is one of our settings, or one of Temporal's."""
    return name.lower() in Settings.model_fields or name.upper().startswith("TEMPORAL_")
