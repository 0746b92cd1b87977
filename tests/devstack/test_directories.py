"""Directories with one owner at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devstack import directories, process


def test_a_directory_has_one_owner_at_a_time(tmp_path: Path) -> None:
    """A second claim is refused with the owner's pid, and succeeds after a release."""
    first = directories.ClaimedDirectory(tmp_path / "data", lock="a.lock")
    with pytest.raises(directories.DirectoryInUseError, match=f"in use by process {os.getpid()}"):
        directories.ClaimedDirectory(tmp_path / "data", lock="a.lock")
    directories.ClaimedDirectory(tmp_path / "data", lock="b.lock").release()
    first.release()
    directories.ClaimedDirectory(tmp_path / "data", lock="a.lock").release()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error names the directory and the remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(process.EmbeddedServerError, match=r"file/below .* choose another"):
        directories.ClaimedDirectory(tmp_path / "file" / "below", lock="a.lock")


def test_only_abandoned_directories_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the temporary directories, those without a living owner are handed over."""
    monkeypatch.setattr(directories, "_temporary_root", lambda: tmp_path)
    alive = directories.ClaimedDirectory.temporary("trial-", lock="a.lock")
    dead = directories.ClaimedDirectory.temporary("trial-", lock="a.lock")
    dead.release()
    (tmp_path / "trial-of-a-stranger").mkdir()

    found = list(directories.ClaimedDirectory.abandoned("trial-", lock="a.lock"))
    assert [claimed.path for claimed in found] == [dead.path]
    assert dead.path.stat().st_mode & 0o777 == 0o700
    found[0].release(remove=True)
    assert not dead.path.exists()
    alive.release(remove=True)
