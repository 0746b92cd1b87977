"""Accounts that servers run under: PostgreSQL runs for root too, which it refuses by itself.

It does so in a user namespace in which root is called uid 1000 (no account is made and no
permission changed), or, where user namespaces are refused as in many containers, as the account
`nobody`.

Source:
    user_namespaces(7).
"""

from __future__ import annotations

import functools
import os
import pwd
import sys
from pathlib import Path

from devstack.process import LINUX, OURSELVES, EmbeddedServerError, RunAs, run


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


def share_with_owner(descriptor: int, folder: Path) -> None:
    """Make a file that root opened the folder's owner's, who would be locked out otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def give(path: Path, run_as: RunAs) -> None:
    """Make a file or tree the account's, if the account is another one than ours."""
    if run_as.uid is None or run_as.gid is None or path.stat().st_uid == run_as.uid:
        return
    for folder, _, files in os.walk(path):
        os.chown(folder, run_as.uid, run_as.gid)
        for name in files:
            os.chown(Path(folder, name), run_as.uid, run_as.gid, follow_symlinks=False)
