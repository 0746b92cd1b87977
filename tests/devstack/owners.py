"""Processes that own an embedded server, and are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devstack import process


def kill_an_owner(script: str, folder: Path | None, mode: str = "") -> tuple[int, Path]:
    """`kill -9` a process that runs a server; the server's pid and the folder it was in.

    Args:
        script: Starts a server in the folder that is its first argument, `-` for a temporary one,
            says its pid and folder, and waits; the second argument is the mode.
        folder: Where the server keeps its data; None is a temporary directory.
        mode: `without-death-signal` leaves the server behind; else the kernel ends it, too.
    """
    command = [sys.executable, "-c", script, str(folder or "-"), mode]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid, place = owner.stdout.readline().decode().split(maxsplit=1)
        assert process.is_alive(int(pid))
        owner.kill()
    return int(pid), Path(place.strip())
