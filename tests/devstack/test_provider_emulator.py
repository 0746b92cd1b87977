"""The stand-in against a second opinion."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.devstack.compare_emulator import DIFFERENCES, VERSION, compare

_PROGRAM = os.environ.get("EMULATE_BIN")


@pytest.mark.skipif(
    not _PROGRAM, reason=f"EMULATE_BIN does not name the program of npm's emulate@{VERSION}"
)
def test_a_public_emulator_agrees_but_where_it_is_known_not_to() -> None:
    """Every difference is one we know the reason of, and each of those is still one."""
    table = compare(Path(str(_PROGRAM)))
    differing = {question for question, (ours, theirs) in table.items() if ours != theirs}
    assert differing == DIFFERENCES.keys(), table
