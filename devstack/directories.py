"""Directories that one live process owns at a time.

What a killed owner left behind in the temporary directory is found, to be removed.

Source:
    flock(2).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devstack.process import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_TEMPORARY_ROOT = 60
"""Bytes of a temporary directory's name that leave room for a socket in it (sun_path: 104-108)."""


class DirectoryInUseError(EmbeddedServerError):
    """Another live process uses this directory."""


class ClaimedDirectory:
    """A directory that exactly one live process uses.

    The claim is a lock that the kernel drops when its holder ends, however that was: a server
    found running under a directory we could claim is an orphan.
    """

    def __init__(self, path: Path, *, lock: str) -> None:
        """Make the directory if need be and claim it.

        Args:
            path: The directory.
            lock: Name of the lock file in it; two kinds of server may share a directory.

        Raises:
            DirectoryInUseError: If another claim is alive; the message names the process.
            EmbeddedServerError: If the directory cannot be made or written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.path = path.resolve()
            self._descriptor = os.open(self.path / lock, os.O_RDWR | os.O_CREAT, 0o600)
            share_with_owner(self._descriptor, self.path)
        except OSError as error:
            message = f"{path} cannot be used ({error.strerror}); choose another directory"
            raise EmbeddedServerError(message) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode(errors="replace").strip()
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            message = (
                f"{self.path} is in use by process {holder or '(unknown)'}; "
                "stop that one first, or choose another directory"
            )
            raise DirectoryInUseError(message) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)

    @classmethod
    def temporary(cls, prefix: str, *, lock: str) -> Self:
        """Make and claim a new directory, 0700, with a short name.

        It gets its lasting name only once it is claimed, so that nobody who sweeps
        (`abandoned`) can mistake it for left-overs.
        """
        root = _temporary_root()
        claimed = cls(Path(tempfile.mkdtemp(prefix="reminders-new-", dir=root)), lock=lock)
        name = claimed.path.name.removeprefix("reminders-new-")
        claimed.path = claimed.path.rename(claimed.path.with_name(f"{prefix}{name}"))
        return claimed

    @classmethod
    def abandoned(cls, prefix: str, *, lock: str) -> Iterator[Self]:
        """Claim, one after the other, the temporary directories whose owners were killed."""
        for path in sorted(_temporary_root().glob(f"{prefix}*")):
            with contextlib.suppress(EmbeddedServerError, OSError):
                # Only what is ours, and only what was claimed once: never a stranger's directory.
                if path.lstat().st_uid == os.geteuid() and (path / lock).is_file():
                    yield cls(path, lock=lock)

    def release(self, *, remove: bool = False) -> None:
        """Give the claim up; with `remove`, delete the directory and all in it first."""
        if remove:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def _temporary_root() -> Path:
    """The temporary directory, or /tmp when its name leaves no room for a socket in it."""
    root = Path(tempfile.gettempdir()).resolve()
    return root if len(os.fsencode(root)) <= LONGEST_TEMPORARY_ROOT else Path("/tmp")


def share_with_owner(descriptor: int, folder: Path) -> None:
    """Make a file that root opened the folder's owner's, who would be locked out otherwise."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
