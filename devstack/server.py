"""What the embedded servers have in common: children of this process, in a directory of their own."""

from __future__ import annotations

import atexit
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from devstack import process
from devstack.directories import ClaimedDirectory
from devstack.process import OURSELVES, EmbeddedServerError, Escalation, RunAs
from devstack.program import Child

_T = TypeVar("_T")

ATTEMPTS = 3
"""How many sets of free ports are tried when somebody is quicker to take one."""


class Resident(ABC):
    """What lives in a directory of its own, and ends with this process, however that ends.

    Where it can be reached stays the same over `kill` and `start`. Nothing is started or written
    before `start`.

    Attributes:
        kind: Names its log, its lock and its pid in the directory.
        title: What it is called in messages.
        prefix: Of the names of its temporary directories.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    prefix: ClassVar[str]

    def __init__(self, data_dir: Path | None = None) -> None:
        """Keep the data here; None is a temporary directory that `stop` removes."""
        self._data_dir = data_dir
        self._data: ClaimedDirectory | None = None
        self._owner: int | None = None

    def start(self) -> None:
        """Start it and return when it does its work.

        An orphan of an earlier owner of the same data is ended first.

        Raises:
            EmbeddedServerError: If it does not come up in time; the message has the remedy or the
                end of the log.
            DirectoryInUseError: If another live process uses the directory.
            RuntimeError: If it is running already.
        """
        if self._is_running:
            message = f"this {self.title} is running already"
            raise RuntimeError(message)
        new = self._data is None
        try:
            if new:
                self._claim()
            self._launch()
        except BaseException:
            # A restart that fails keeps the data, as the kill before it did.
            self.stop() if new else self.kill()
            raise

    def stop(self) -> None:
        """Stop it in order, and remove the data if it is temporary; idempotent."""
        if self._owner != os.getpid():
            return  # never started, or we are a fork of the process that did
        atexit.unregister(self.stop)
        self._end(temporary=self._data_dir is None)
        self._owner = None
        self._release()

    @abstractmethod
    def kill(self) -> None:
        """`SIGKILL` it and its processes, as a crash would; `start` starts it again.

        The data stays, also when it is temporary, until `stop`. Does nothing when not running.
        """

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    @property
    @abstractmethod
    def _is_running(self) -> bool: ...

    @abstractmethod
    def _launch(self) -> None:
        """Start it and wait until it is ready."""

    @abstractmethod
    def _end(self, *, temporary: bool) -> None:
        """Stop its processes, in order unless its data goes anyway and nothing else is lost."""

    @property
    def _folder(self) -> Path:
        return self._started(self._data).path

    def _started(self, known: _T | None) -> _T:
        """What is known only once it was started.

        Raises:
            RuntimeError: If it was not.
        """
        if known is None:
            message = f"this {self.title} has not been started"
            raise RuntimeError(message)
        return known

    @classmethod
    @abstractmethod
    def end_orphan(cls, data: Path) -> None:
        """End what a killed owner of this directory left, where the kernel did not."""

    def _claim(self) -> None:
        """Claim the directory; remove abandoned ones and end their servers."""
        lock = f"{self.kind}.lock"
        for left in ClaimedDirectory.abandoned(self.prefix, lock=lock):
            self.end_orphan(left.path)
            self._discard(left)
        self._owner = os.getpid()
        # Where there are no death signals, and for the temporary directory everywhere.
        atexit.register(self.stop)
        if self._data_dir is None:
            self._data = ClaimedDirectory.temporary(self.prefix, lock=lock)
        else:
            self._data = ClaimedDirectory(self._data_dir, lock=lock)

    def _release(self) -> None:
        """Give the directory up."""
        if self._data is not None and self._data_dir is None:
            self._discard(self._data)
        elif self._data is not None:
            self._data.release()
        self._data = None

    @staticmethod
    def _discard(directory: ClaimedDirectory) -> None:
        """Remove a temporary directory."""
        directory.release(remove=True)


class Server(Resident):
    """One server as a child of this process.

    Attributes:
        start_seconds: Bound of a start.
        stop_signals: How it is asked to end in order; `SIGKILL` follows when it does not.
        kills_what_is_temporary: Whether an orderly stop is not worth its time for data that goes.
    """

    start_seconds: ClassVar[float]
    stop_signals: ClassVar[Escalation] = ((signal.SIGTERM, 10),)
    kills_what_is_temporary: ClassVar[bool] = True

    def __init__(self, data_dir: Path | None = None) -> None:
        """Keep the data here; None is a temporary directory that `stop` removes."""
        super().__init__(data_dir)
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """Pid of the running server; None when it does not run."""
        return None if self._child is None else self._child.pid

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self._folder / f"{self.kind}.log"

    def kill(self) -> None:
        """`SIGKILL` the server and its processes, as a crash would; `start` starts it again.

        The data stays, also when it is temporary, until `stop`. Does nothing when not running.
        """
        if self._child is not None:
            process.kill_with_children(self._child.popen)
            self._child = None

    @property
    def _is_running(self) -> bool:
        return self.pid is not None

    def _claim(self) -> None:
        super()._claim()
        if self._data_dir is not None:
            self.end_orphan(self._folder)

    def _end(self, *, temporary: bool) -> None:
        if self._child is not None and not (temporary and self.kills_what_is_temporary):
            process.end(self._child.popen, self.stop_signals)
        self.kill()

    @staticmethod
    @abstractmethod
    def _marks(data: Path) -> tuple[Path, str, Path]:
        """How a server on this data is known: its pid file, its program, one of its arguments."""

    @classmethod
    def end_orphan(cls, data: Path) -> None:
        """End the server that a killed owner of this directory left, where the kernel did not."""
        pid_file, program, argument = cls._marks(data)
        last = (signal.SIGKILL, 5.0)
        process.stop_stale(
            pid_file, program=program, argument=argument, escalation=(*cls.stop_signals, last)
        )

    def _launch(self) -> None:
        """Start it; when a port that was to be free is taken meanwhile, try others."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._launch_once()
            except EmbeddedServerError as error:
                if "address already in use" not in str(error).lower() or attempt == ATTEMPTS:
                    raise
            else:
                return

    @abstractmethod
    def _launch_once(self) -> None:
        """Start it and wait until it is ready."""

    def _run(
        self,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        *,
        # Not the signal of an orderly stop: nobody would be there to insist.
        death_signal: signal.Signals = signal.SIGKILL,
        run_as: RunAs = OURSELVES,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start the command in the directory and wait until it is ready."""
        self._child = Child.spawn(
            f"embedded {self.title}",
            command,
            self._folder / self.kind,
            death_signal=death_signal,
            run_as=run_as,
            cwd=self._folder,
            env=env,
        )
        self._child.wait_until_ready(ready, seconds=self.start_seconds)
