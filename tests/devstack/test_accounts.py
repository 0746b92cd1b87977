"""The account that a server runs under when root starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from devstack import postgres_files as accounts
from devstack import process

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes accounts")


@root_only
@pytest.mark.skipif(
    os.geteuid() == 0 and not accounts.user_namespaces_allowed(), reason="refused here"
)
def test_root_is_somebody_else_in_the_namespace(tmp_path: Path) -> None:
    """The child sees uid 1000, reads root's 0700 directory, and writes files that are root's."""
    tmp_path.chmod(0o700)
    program = "import os, sys; print(os.getuid(), os.getgid()); open(sys.argv[1], 'x')"
    command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "made")]
    assert process.run(command, run_as=process.RunAs(user_namespace=True)) == "1000 1000"
    assert (tmp_path / "made").stat().st_uid == 0


@root_only
def test_root_becomes_nobody_where_namespaces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without user namespaces the account is `nobody`, and in no other group."""
    monkeypatch.setattr(accounts, "user_namespaces_allowed", lambda: False)
    account = accounts.unprivileged_account()
    assert process.run(["/usr/bin/id", "-un"], run_as=account) == "nobody"
    assert process.run(["/usr/bin/id", "-G"], run_as=account) == str(account.gid)


@root_only
def test_data_stays_its_owners(tmp_path: Path) -> None:
    """Data of an ordinary user is served under that user's account, also when root asks."""
    os.chown(tmp_path, 4711, 4712)
    assert accounts.unprivileged_account(tmp_path) == process.RunAs(uid=4711, gid=4712)
