"""The shape of the project: who may import whom, what is shipped, and that the names are ours."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from devstack.temporal import SEARCH_ATTRIBUTES as REGISTERED_LOCALLY
from reminders.temporal import SEARCH_ATTRIBUTES
from workflows.session_reminder import SESSION_START

ROOT = Path(__file__).resolve().parents[1]
OURS = ["activities", "reminders", "starter", "worker", "workflows"]
NOT_SHIPPED = {"bench", "dev.py", "devstack", "docs", "tests"}
"""Tools: Python at the top that no installation has."""
IO = ["alembic", "asyncpg", "httpx", "jinja2", "pydantic_settings", "resend", "sqlalchemy"]
INDEX = {"https://pypi.org", "https://files.pythonhosted.org"}
MAY_IMPORT_THE_WORKER = {"starter/cli/installation.py"}
"""It is a composition root: only the command that runs it knows it, and tests."""


def project() -> Any:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def fresh(program: str, directory: Path) -> str:
    """What a program prints in a new interpreter, started elsewhere."""
    told = subprocess.run(
        [sys.executable, "-I", "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def modules() -> list[Path]:
    """Every module that is shipped."""
    folders = (path for name in OURS for path in (ROOT / name).rglob("*.py"))
    return sorted([*folders, ROOT / "worker.py"])


def test_every_room_is_on_the_map_once() -> None:
    """docs/architecture.md has a line for each package folder, and none for what does not exist."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("\n## The rooms\n")[1].split("\n## ")[0]
    named = re.findall(r"(?m)^\| `([\w/]+/)` \|", section)
    packages = {
        f"{file.parent.relative_to(ROOT)}/" for file in modules() if file.name == "__init__.py"
    }
    versions = {name for name in packages if name.endswith("/versions/")}
    assert sorted(set(named)) == sorted(named)
    assert packages - versions <= set(named)
    assert [] == [name for name in named if not (ROOT / name).is_dir()]


def test_the_import_contracts_are_kept() -> None:
    """Those of pyproject.toml, as `python3 dev.py lint` checks them."""
    told = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_a_workflow_brings_no_io_along(tmp_path: Path) -> None:
    """Importing one loads no library that talks to anything, by whatever way."""
    program = (
        "import json, sys, workflows.session_change, workflows.session_reminder\n"
        f"print(json.dumps(sorted(set({IO}) & set(sys.modules))))"
    )
    assert [] == json.loads(fresh(program, tmp_path))


def test_the_names_are_ours(tmp_path: Path) -> None:
    """From anywhere, each of the five top-level names, and devstack, is our file and nobody else's."""
    names = [*OURS, "devstack"]
    program = (
        "import importlib.util, json\n"
        f"found = {{n: importlib.util.find_spec(n).origin for n in {names}}}\n"
        "print(json.dumps(found))"
    )
    expected = {n: ROOT / n / "__init__.py" if n != "worker" else ROOT / "worker.py" for n in names}
    assert {n: str(p) for n, p in expected.items()} == json.loads(fresh(program, tmp_path))


def test_what_is_shipped_is_what_there_is() -> None:
    """Every folder and file with Python at the top is in the wheel by name, or known as a tool."""
    present = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and (path.suffix == ".py" or any(path.glob("**/*.py")))
    }
    shipped = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert sorted(present - NOT_SHIPPED) == shipped
    assert sorted(f"{n}.py" if n == "worker" else n for n in OURS) == shipped


def test_it_can_never_be_uploaded() -> None:
    """An index refuses a project with this classifier; the names are an application's."""
    assert "Private :: Do Not Upload" in project()["project"]["classifiers"]


def test_the_lock_names_only_the_public_index() -> None:
    """No mirror, no proxy, no machine-specific host."""
    lock = (ROOT / "uv.lock").read_text(encoding="utf-8")
    assert INDEX == set(re.findall(r"https?://[^/\"]+", lock))


@pytest.mark.parametrize(
    "file",
    [f for f in modules() if f.name == "__init__.py"],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_packages_do_nothing_when_they_are_imported(file: Path) -> None:
    """An `__init__.py` holds a docstring at the most."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    assert all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in body)


def importers(name: str) -> set[str]:
    """The files that are shipped and import this top-level name."""
    return {
        str(file.relative_to(ROOT))
        for file in modules()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == name for a in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == name)
    }


def test_nothing_knows_the_worker() -> None:
    """Nothing that is shipped imports the composition root but the command that runs it."""
    assert importers("worker") == MAY_IMPORT_THE_WORKER


def test_nothing_that_is_shipped_knows_a_developers_machine() -> None:
    """Not even worker.py, which no import contract covers, imports what is not shipped."""
    assert importers("devstack") == set()


def test_the_search_attributes_are_the_same_everywhere() -> None:
    """What the client sets, the worker registers, the workflow moves and the local server has."""
    kinds = {"KEYWORD": "Keyword", "DATETIME": "Datetime"}
    ours = {key.name: kinds[key.indexed_value_type.name] for key in SEARCH_ATTRIBUTES}
    assert ours == REGISTERED_LOCALLY
    assert SESSION_START in SEARCH_ATTRIBUTES
