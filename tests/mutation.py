"""`python -m tests.mutation MODULE.py ... --tests PATH ...`: small faults, and which no test finds.

The latter are the same in other words, or a test is missing. Asked are only tests that come past
the place, quick ones first. It works on a copy of the tree.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from coverage import Coverage, CoverageData

ROOT = Path(__file__).parents[1]
PYTEST = ("-n0", "-xq", "-p", "no:cacheprovider", "--timeout=60", "-W", "ignore:Module already")
LIBRARIES = ("fastapi", "sqlalchemy.ext.asyncio", "temporalio.worker", "pydantic_settings")
"""What takes long to import: once, and every run of tests is a fork."""
OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip
NO_CODE = ("annotation", "returns", "decorator_list", "bases")


def sites(tree: ast.Module) -> list[tuple[int, int]]:
    """Where something can be changed: the number of a node, and of what becomes of it."""
    parts = [getattr(node, name, None) or [] for node in ast.walk(tree) for name in NO_CODE]
    flat = [n for part in parts for n in (part if isinstance(part, list) else [part])]
    skipped = {id(n) for whole in flat for n in ast.walk(whole)}
    nodes = [(i, node) for i, node in enumerate(ast.walk(tree)) if id(node) not in skipped]
    return [(i, k) for i, node in nodes for k in range(len(variants(node)))]


def variants(node: Any) -> list[ast.AST]:
    """What a node can be instead."""
    new = deepcopy(node)
    match node:
        case ast.Compare(ops=[op]) if type(op) in OPPOSITE:
            new.ops = [OPPOSITE[type(op)]()]
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in OPPOSITE:
            new.op = OPPOSITE[type(op)]()
        case ast.Constant(value=bool()):
            new.value = not node.value
        case ast.Constant(value=int() | float() as number):
            return [ast.Constant(number + 1), ast.Constant(number - 1)]
        case ast.UnaryOp(op=ast.Not()):
            return [node.operand]
        case ast.IfExp():
            new.body, new.orelse = node.orelse, node.body
        case ast.Return(value=ast.AST() as value) if getattr(value, "value", 0) is not None:
            new.value = ast.Constant(None)
        case ast.Expr(value=ast.Call() | ast.Await() as call) if "logger" not in ast.dump(call):
            return [ast.Pass()]
        case _:
            return []
    return [new]


def changed(source: str, number: int, variant: int) -> tuple[int, str]:
    """The line of a fault, and the module with it."""
    tree = ast.parse(source)
    old: Any = next(n for i, n in enumerate(ast.walk(tree)) if i == number)
    new = variants(old)[variant]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]
    return old.lineno, ast.unparse(ast.fix_missing_locations(tree))


class Reach:
    """A plugin of pytest: which tests come past which lines, and how many seconds each takes."""

    def __init__(self, copy: Path, modules: list[str]) -> None:
        """What is seen is written to `copy`."""
        include = [str(copy / name) for name in modules]
        options: Any = {"include": include, "concurrency": ["thread", "greenlet"]}
        self._coverage = Coverage(str(copy / "reach"), config_file=False, **options)
        self._file, self._seconds = copy / "seconds.json", dict[str, float]()
        self._coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """One test."""
        self._coverage.switch_context(item.nodeid)
        began = time.monotonic()
        done = yield
        self._seconds[item.nodeid] = time.monotonic() - began
        return done

    def pytest_sessionfinish(self) -> None:
        """All of them."""
        self._coverage.stop()
        self._coverage.save()
        self._file.write_text(json.dumps(self._seconds))


def _run(copy: Path, tests: list[str], reached: list[str]) -> None:
    """Be the process that runs the tests."""
    os.setsid()
    os.chdir(copy)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(p for p in sys.path if Path(p).resolve() != ROOT)]
    sys.dont_write_bytecode = not reached  # or one second's fault is taken for another's
    sys.exit(pytest.main([*PYTEST, *tests], [Reach(copy, reached)] if reached else []))


def is_found(copy: Path, tests: list[str], reached: list[str] | None = None) -> bool:
    """Whether the tests fail, or do not end."""
    process = get_context("fork").Process(target=_run, args=(copy, tests, reached or []))
    process.start()
    process.join(3600 if reached else 180)
    if process.exitcode is None and process.pid:
        os.killpg(process.pid, signal.SIGKILL)
    return process.exitcode != 0


def asked_for(copy: Path, name: str, line: int, seconds: float) -> list[str]:
    """Tests that come past a line, quick ones first, as many as take so long together."""
    took = json.loads((copy / "seconds.json").read_text())
    data = CoverageData(str(copy / "reach"))
    data.read()
    contexts = data.contexts_by_lineno(str(copy / name))
    tests = set(contexts.get(line, ()))
    if "" in tests:  # what is done while a module is imported
        tests = {test for past in contexts.values() for test in past}
    chosen = sorted(tests & set(took), key=took.__getitem__)
    return [t for i, t in enumerate(chosen) if sum(took[t] for t in chosen[: i + 1]) <= seconds]


def main() -> None:
    """Try some of all faults, drawn from a seed, and print those that nothing finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--tests", nargs="+", required=True)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="of tests for one fault")
    asked = parser.parse_args()
    sources = {name: ast.unparse(ast.parse((ROOT / name).read_text())) for name in asked.modules}
    there = [(name, *site) for name in sources for site in sites(ast.parse(sources[name]))]
    drawn = Random(asked.seed).sample(there, min(asked.faults, len(there)))
    missed = 0
    for library in LIBRARIES:
        importlib.import_module(library)
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(ROOT, Path(folder, "tree"), ignore=shutil.ignore_patterns(".*"))
        for name, source in sources.items():
            (copy / name).write_text(source)
        if is_found(copy, asked.tests, asked.modules):
            raise SystemExit("the tests fail without any fault")
        for name, number, variant in drawn:
            line, text = changed(sources[name], number, variant)
            tests = asked_for(copy, name, line, asked.seconds)
            (copy / name).write_text(text)
            if not tests or not is_found(copy, tests):
                missed += 1
                both = sources[name].splitlines(), text.splitlines()
                print(*difflib.unified_diff(*both, name, lineterm="", n=1), sep="\n")
                print(f"by {len(tests)} tests", flush=True)
            (copy / name).write_text(sources[name])
    print(f"{len(drawn) - missed} of {len(drawn)} faults are found, of {len(there)} that there are")


if __name__ == "__main__":
    main()
