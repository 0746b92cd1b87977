"""`python -m tests.mutation MODULE.py ... --tests "PATH ..."`: small faults, and which no test finds.

The latter are the same in other words, or a test is missing. `--tests` may be given again: these
are asked where the ones before found nothing. It works on a copy of the tree.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-n0", "-xq", "-p", "no:cacheprovider", "--timeout=60")
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


def changed(source: str, number: int, variant: int) -> str:
    """The module with one fault."""
    tree = ast.parse(source)
    old = next(n for i, n in enumerate(ast.walk(tree)) if i == number)
    new = variants(old)[variant]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]
    return ast.unparse(ast.fix_missing_locations(tree))


def is_found(copy: Path, tests: str) -> bool:
    """Whether the tests fail, or do not end."""
    try:
        subprocess.run(
            [*PYTEST, *tests.split()], cwd=copy, capture_output=True, check=True, timeout=120
        )
    except subprocess.SubprocessError:
        return True
    return False


def main() -> None:
    """Try some of all faults, drawn from a seed, and print those that nothing finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--tests", action="append", required=True)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sources = {name: ast.unparse(ast.parse((ROOT / name).read_text())) for name in asked.modules}
    there = [(name, *site) for name in sources for site in sites(ast.parse(sources[name]))]
    drawn = Random(asked.seed).sample(there, min(asked.faults, len(there)))
    missed = 0
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(ROOT, Path(folder, "tree"), ignore=shutil.ignore_patterns(".*"))
        if any(is_found(copy, tests) for tests in asked.tests):
            raise SystemExit("the tests fail without any fault")
        for name, number, variant in drawn:
            text = changed(sources[name], number, variant)
            (copy / name).write_text(text)
            if not any(is_found(copy, tests) for tests in asked.tests):
                missed += 1
                both = sources[name].splitlines(), text.splitlines()
                print(*difflib.unified_diff(*both, name, lineterm="", n=1), sep="\n", flush=True)
            (copy / name).write_text(sources[name])
    print(f"{len(drawn) - missed} of {len(drawn)} faults are found, of {len(there)} that there are")


if __name__ == "__main__":
    main()
