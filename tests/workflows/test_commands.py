"""The order of commands in workflow code is frozen; a change is deliberate or refused.

A replay test needs a history that reaches the changed line. This one needs none: it compares the
calls that issue commands, in the order of the source, with `commands.json`.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FROZEN = Path(__file__).with_name("commands.json")
COMMANDS = {
    "continue_as_new",
    "deprecate_patch",
    "execute_activity",
    "execute_activity_method",
    "execute_child_workflow",
    "execute_local_activity",
    "patched",
    "sleep",
    "start_activity",
    "start_activity_method",
    "start_child_workflow",
    "upsert_search_attributes",
    "wait_condition",
}
LESSON = """\
The commands of {file} changed. Workflows sleep for weeks: on waking, they replay their history
through this code, and must issue the same commands in the same order, or they stop for ever.

1. Gate the change: `if workflow.patched("what-changed"): new ... else: old ...`.
2. Record histories of the new code: `python3 dev.py histories` (raise VERSION first).
3. Say it in the changelog under *Replay*.
4. Freeze the new order: `python -m tests.workflows.test_commands`; and the code: `python -m tests.upgrade.freeze`.
"""


def commands(file: Path) -> list[str]:
    """Function and command, in the order of the source."""
    found = [
        (node.lineno, f"{function.name}: {node.func.attr}")
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "workflow"
        and node.func.attr in COMMANDS
    ]
    return [name for _, name in sorted(found)]


def present() -> dict[str, list[str]]:
    """The commands of every workflow module that issues any."""
    every = {str(f.relative_to(ROOT)): commands(f) for f in sorted(ROOT.glob("workflows/*.py"))}
    return {name: found for name, found in every.items() if found}


@pytest.mark.parametrize("file", sorted(present()))
def test_commands_are_as_frozen(file: str) -> None:
    """Each workflow issues the commands it issued when this was last decided."""
    frozen = json.loads(FROZEN.read_text())
    assert frozen.get(file) == present()[file], LESSON.format(file=file)


if __name__ == "__main__":
    FROZEN.write_text(json.dumps(present(), indent=2) + "\n")
