"""`--help`, `--version` and shell completion answer at once: they import nothing that only a command needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NEVER = {"asyncio", "fastapi", "jinja2", "pydantic", "rich", "sqlalchemy", "temporalio"}
"""What takes longer to import than typer and all of ours together."""
EVERY_HELP = """
import contextlib, io, json, sys
from typer.main import get_command
from starter.cli.main import app

def asked(command, words):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        app([*words, "--help"])
    texts[" ".join(words)] = out.getvalue()
    for name, inner in getattr(command, "commands", {}).items():
        asked(inner, [*words, name])

texts = {}
asked(get_command(app), [])
print(json.dumps({"texts": texts, "modules": sorted(sys.modules)}))
"""


def run(*arguments: str, **environment: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_no_help_imports_what_only_a_command_needs() -> None:
    """Neither that of the program, nor that of any group or command."""
    told = json.loads(run("-c", EVERY_HELP))
    assert {"", "session", "config set", "cutover"} <= told["texts"].keys()
    assert [] == [words for words, text in told["texts"].items() if "Usage: " not in text]
    assert set() == NEVER.intersection(told["modules"])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {
                "_REMINDERS_COMPLETE": "complete_bash",
                "COMP_WORDS": "reminders list --status ca",
                "COMP_CWORD": "3",
            },
            "cancelled",
        ),
        (
            {"_REMINDERS_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "reminders config d"},
            '"delete":"Delete a rule',
        ),
    ],
    ids=["bash", "zsh"],
)
def test_completion_imports_as_little(environment: dict[str, str], expected: str) -> None:
    """Of commands with their help, and of an option's values."""
    program = (
        "import atexit, sys; from starter.cli.main import app;"
        "atexit.register(lambda: print(*sys.modules, sep='\\n'));"
        "app(prog_name='reminders')"
    )
    told = run("-c", program, **environment)
    assert expected in told
    assert set() == NEVER.intersection(told.splitlines())


def test_version() -> None:
    """`--version` prints that of the installed release."""
    program = "from starter.cli.main import main; main()"
    assert f"{version('session-reminders')}\n" == run("-c", program, "--version")
