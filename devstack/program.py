"""A program of ours as a child of this process: logged, watched, killed and started again."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from subprocess import Popen
from typing import Protocol

from devstack import process
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


class Program:
    """One worker, API or the like.

    It ends with this process, however that ends. Its log is `folder/name.log`, and grows over
    `kill`, `stop` and `start`.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        environment: Mapping[str, str],
        ready: Ready,
    ) -> None:
        """Nothing is started or written yet.

        Args:
            name: What it is called in messages and files.
            command: Program and arguments. To end an orphan on systems where children outlive a
                killed parent, the folder has to be among the arguments, see `mark`.
            folder: Its working directory, which also has its log and its pid.
            environment: What it is configured by; nothing else reaches it of what configures us.
            ready: Asked until it is true.
        """
        self.name = name
        self._command = [str(part) for part in command]
        self._folder = folder
        self._environment = dict(environment)
        self._ready = ready
        self._process: Popen[bytes] | None = None
        self._logged_before = 0

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
        pid_file = self._folder / f"{self.name.lower()}.pid"
        process.stop_stale(
            pid_file,
            program=Path(self._command[0]).name,
            argument=Path(mark(self._folder)),
            escalation=STOP,
        )
        with self.log_file.open("ab") as log:
            self._logged_before = log.tell()
            self._process = process.spawn(
                self._command,
                output=log.fileno(),
                # Away from the checkout, where a developer's `.env` would be read.
                cwd=self._folder,
                env={**foreign_environment(), **self._environment},
            )
        pid_file.write_text(f"{self._process.pid}\n", encoding="ascii")

    def wait_until_ready(self) -> None:
        """Return when it is ready.

        Raises:
            EmbeddedServerError: If it has ended or takes too long; it is killed then.
        """
        process.wait_until(lambda: self.pid is None or self._ready(self), seconds=START_SECONDS)
        if self.pid is not None and self._ready(self):
            return
        if self.pid is None:
            fate = f"ended at its start with code {self.exit_code}"
        else:
            fate = f"was not ready within {START_SECONDS} s"
            self.kill()
        message = f"the {self.name} {fate}; the end of {self.log_file}:\n{self.tail()}"
        raise process.EmbeddedServerError(message)

    def ask_to_stop(self) -> None:
        """Send SIGTERM and do not wait."""
        if self._process is not None and self.pid is not None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop it in order; idempotent."""
        if self._process is not None:
            process.end(self._process, STOP)
            self._process = None

    def kill(self) -> None:
        """`SIGKILL` it, as a crash would; `start` starts it again."""
        if self._process is not None:
            process.end(self._process, KILL)

    @property
    def pid(self) -> int | None:
        """Pid of the running program; None when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended by itself; None while it runs, and when it was stopped."""
        return None if self._process is None else self._process.poll()

    @property
    def log_file(self) -> Path:
        """All it had to say."""
        return self._folder / f"{self.name.lower()}.log"

    def tail(self) -> str:
        """The end of what it has logged since its last start."""
        return process.tail(self.log_file, since=self._logged_before)

    def has_logged(self, words: str) -> bool:
        """Whether it has logged these words since its last start."""
        with self.log_file.open("rb") as log:
            log.seek(self._logged_before)
            return words.encode() in log.read()


def mark(folder: Path) -> str:
    """What tells the programs of one folder from everything else in a list of processes.

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
    ours = {name.upper() for name in Settings.model_fields}
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in ours and not name.upper().startswith("TEMPORAL_")
    }
