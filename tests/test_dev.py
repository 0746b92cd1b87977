"""The one door: what its verbs run, when it makes the environment, and what it refuses."""

from __future__ import annotations

import ast
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEV = Path(__file__).resolve().parents[1] / "dev.py"


def run_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dev.py from another directory, with nothing imported from ours."""
    command = [sys.executable, "-I", "-S", str(DEV), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def load() -> ModuleType:
    """A module object of its own, which a test may change as it likes."""
    spec = importlib.util.spec_from_file_location("dev_under_test", DEV)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dev(tmp_path: Path) -> ModuleType:
    """dev.py as if it lay in an empty checkout, without an environment."""
    module = load()
    place(module, tmp_path / "checkout")
    return module


def place(module: Any, root: Path) -> None:
    """Move dev.py to a checkout, made if need be."""
    root.mkdir(exist_ok=True)
    (root / "uv.lock").touch()
    (root / "pyproject.toml").touch()
    module.ROOT, module.VENV, module.OUR_UV = root, root / ".venv", root / ".uv"
    module.STAMP = module.VENV / ".stamp"


@pytest.fixture
def calls(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The set-up's commands, recorded; `sync` makes what it would make."""
    recorded: list[list[str]] = []

    def call(command: list[str]) -> None:
        recorded.append(command)
        if "sync" in command:
            python = dev.VENV / "bin" / "python"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.unlink(missing_ok=True)
            python.symlink_to(sys.executable)

    monkeypatch.setattr(dev, "call", call)
    monkeypatch.setattr(dev, "works", lambda uv: uv == "/elsewhere/uv")
    monkeypatch.setattr(dev.shutil, "which", lambda _name: "/elsewhere/uv")
    return recorded


# ---------------------------------------------------------------- the command line


def test_help_names_every_verb() -> None:
    """`--help` prints each verb with its sentence on standard output and exits 0."""
    told = run_dev("--help")
    assert told.returncode == 0
    assert told.stderr == ""
    for verb, (sentence, *_) in load().VERBS.items():
        assert f"  {verb} " in told.stdout
        assert sentence in told.stdout


def test_no_verb_prints_help_and_exits_2() -> None:
    """Without a verb the help goes to standard error."""
    told = run_dev()
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("usage: python3 dev.py VERB")


def test_an_unknown_verb_prints_help_and_exits_2() -> None:
    """An unknown verb is answered with the help and the nearest verb."""
    told = run_dev("tset", "--help")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("usage: python3 dev.py VERB")
    assert told.stderr.endswith("dev.py: there is no 'tset'; did you mean 'test'?\n")


def test_an_old_python_is_refused_in_a_sentence() -> None:
    """Python 3.6 can read the file, and is told what is needed."""
    ast.parse(DEV.read_text(encoding="utf-8"), feature_version=(3, 6))
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 1)\n"
        f"runpy.run_path({str(DEV)!r}, run_name='__main__')"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: PLW1510
    assert told.returncode == 1
    assert told.stderr.startswith("dev.py: Python 3.11 or later is needed, and ")
    assert "is 3.10." in told.stderr
    assert "Traceback" not in told.stderr


def test_arguments_are_passed_on(dev: ModuleType) -> None:
    """What follows the verb reaches the program as it is, spaces and options included."""
    assert dev.commands("test", ["-k", "a or b", "--help"]) == [
        [f"{dev.VENV}/bin/python", "-m", "pytest", "-k", "a or b", "--help"]
    ]


def test_check_runs_lint_types_and_tests_in_this_order(dev: ModuleType) -> None:
    """`check` is made of the other verbs; its arguments are pytest's."""
    steps = dev.commands("check", ["-x"])
    assert steps == [
        *dev.commands("lint", []),
        *dev.commands("types", []),
        *dev.commands("test", ["-x"]),
    ]
    assert [f"{dev.VENV}/bin/lint-imports"] in steps


def test_every_step_is_a_program_or_a_verb(dev: ModuleType) -> None:
    """No verb refers to another that does not exist; uv is wherever it is found."""
    dev.find_uv = lambda: str(dev.VENV / "bin" / "uv")  # type: ignore[attr-defined]
    for verb in dev.VERBS:
        for program, *_ in dev.commands(verb, []):
            assert Path(program).parent == dev.VENV / "bin"


# ---------------------------------------------------------------- running


@pytest.fixture
def taken(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What took this process over, which it did not; and nothing leaves its directory."""
    calls: list[tuple[Any, ...]] = []

    def execve(*call: Any) -> None:
        calls.append(call)
        raise SystemExit

    monkeypatch.setattr(dev.os, "execve", execve)
    monkeypatch.setattr(dev.os, "chdir", lambda _folder: None)
    return calls


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(5)", 5), ("import os; os.kill(os.getpid(), 15)", 128 + signal.SIGTERM)],
)
def test_steps_stop_at_the_first_failure(
    dev: ModuleType,
    taken: list[tuple[Any, ...]],
    capfd: pytest.CaptureFixture[str],
    program: str,
    code: int,
) -> None:
    """The exit code is the failing step's; what runs is said; later steps do not run."""
    python = sys.executable
    assert code == dev.run([[python, "-c", "print('one')"], [python, "-c", program], [python]])
    said = capfd.readouterr()
    assert said.out == "one\n"
    assert said.err.count("dev.py: running ") == 2
    assert not taken


def test_the_only_step_takes_over(
    dev: ModuleType, taken: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb of one step becomes its program, as if `.venv` were activated."""
    monkeypatch.setenv("VIRTUAL_ENV", "/another")
    monkeypatch.setenv("PYTHONHOME", "/another")
    with pytest.raises(SystemExit):
        dev.run([["/venv/bin/x", "--y"]])
    ((program, command, environment),) = taken
    assert (program, command) == ("/venv/bin/x", ["/venv/bin/x", "--y"])
    assert environment["VIRTUAL_ENV"] == str(dev.VENV)
    assert environment["PATH"].startswith(f"{dev.VENV}/bin{os.pathsep}")
    assert "PYTHONHOME" not in environment


def test_who_wants_no_bytecode_gets_none_beside_the_sources(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is kept in `.venv`, where a program finds what an earlier one compiled."""
    (tmp_path / "compiled.py").write_text("")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    subprocess.run(
        [sys.executable, "-c", "import compiled"],
        cwd=tmp_path,
        env=dev.activated(),
        check=True,
    )
    assert not (tmp_path / "__pycache__").exists()
    assert [] != list((dev.VENV / "bytecode").rglob("compiled.*.pyc"))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert os.environ.get("PYTHONPYCACHEPREFIX") == dev.activated().get("PYTHONPYCACHEPREFIX")


def test_a_missing_program_is_a_sentence(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken environment is named with its remedy, whether first or last in line."""
    monkeypatch.setattr(dev.os, "chdir", lambda _folder: None)
    nothing = [f"{dev.VENV}/bin/nothing"]
    for steps in ([nothing], [nothing, nothing]):
        with pytest.raises(dev.SetupError, match=r"remove .*\.venv to have it made anew"):
            dev.run(steps)


# ---------------------------------------------------------------- the environment


def test_the_environment_is_made_once(dev: ModuleType, calls: list[list[str]]) -> None:
    """The first call makes it with the uv on PATH, the second does nothing."""
    dev.make_environment()
    assert [command[:3] for command in calls] == [["/elsewhere/uv", "sync", "--frozen"]]
    dev.make_environment()
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_a_changed_lock_is_synchronised(dev: ModuleType, calls: list[list[str]], name: str) -> None:
    """After a change of what is wanted the same environment is brought up to date."""
    dev.make_environment()
    calls.clear()
    (dev.ROOT / name).write_text("changed", encoding="utf-8")
    dev.make_environment()
    assert [command[1] for command in calls] == ["sync"]


def test_an_interrupted_set_up_is_repeated(
    dev: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No stamp is left by a set-up that failed, not even the one from before."""
    dev.make_environment()
    (dev.ROOT / "uv.lock").write_text("changed", encoding="utf-8")
    record = dev.call

    def fail(command: list[str]) -> None:
        raise dev.SetupError(command)

    monkeypatch.setattr(dev, "call", fail)
    with pytest.raises(dev.SetupError):
        dev.make_environment()
    (dev.ROOT / "uv.lock").write_text("", encoding="utf-8")
    monkeypatch.setattr(dev, "call", record)
    dev.make_environment()


def test_a_moved_checkout_gets_a_new_environment(dev: ModuleType, calls: list[list[str]]) -> None:
    """Scripts name their interpreter by its path: an environment of another place is of no use."""
    dev.make_environment()
    calls.clear()
    place(dev, dev.ROOT.rename(dev.ROOT.with_name("moved")))
    dev.make_environment()
    assert [command[1] for command in calls] == ["venv", "sync"]


def test_another_python_gets_a_new_environment(
    dev: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is of the Python that runs dev.py."""
    dev.make_environment()
    calls.clear()
    monkeypatch.setattr(sys, "version_info", (3, 99, 0, "final", 0))
    dev.make_environment()
    assert [command[1] for command in calls] == ["venv", "sync"]


def test_a_vanished_python_gets_a_new_environment(dev: ModuleType, calls: list[list[str]]) -> None:
    """An environment without its interpreter is repaired by uv, though its stamp is right."""
    dev.make_environment()
    calls.clear()
    (dev.VENV / "bin" / "python").unlink()
    (dev.VENV / "bin" / "python").symlink_to("/nowhere/python")
    dev.make_environment()
    assert [command[1] for command in calls] == ["sync"]


def test_a_checkout_that_may_not_be_written_is_a_sentence(
    dev: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment cannot be made, the error says so before anything is tried."""
    monkeypatch.setattr(dev.os, "access", lambda *_: False)
    with pytest.raises(dev.SetupError, match=r"may not write to .*git clone"):
        dev.make_environment()
    assert not calls


def test_without_uv_it_is_installed_beside_the_environment(
    dev: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without uv, `venv` and pip bring one into `.uv`, which then makes the environment."""
    monkeypatch.setattr(dev, "works", lambda _uv: False)
    dev.make_environment()
    venv, install, sync = calls
    assert venv[1:] == ["-m", "venv", "--clear", str(dev.OUR_UV)]
    assert (install[0], install[-1]) == (f"{dev.OUR_UV}/bin/python", dev.UV)
    assert sync[:2] == [f"{dev.OUR_UV}/bin/uv", "sync"]


@pytest.mark.parametrize("has_pip", [True, False])
def test_without_ensurepip_the_pip_outside_serves(
    dev: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, *, has_pip: bool
) -> None:
    """Without ensurepip it is the pip outside; without that too, a sentence with a remedy."""
    monkeypatch.setattr(dev, "works", lambda _uv: False)
    monkeypatch.setattr(
        dev.importlib.util, "find_spec", lambda name: True if name == "pip" and has_pip else None
    )
    if has_pip:
        dev.make_environment()
        assert calls[0][:4] == [sys.executable, "-m", "pip", "install"]
        assert calls[0][-2:] == ["--target", str(dev.OUR_UV)]
    else:
        with pytest.raises(dev.SetupError, match="neither pip nor ensurepip"):
            dev.make_environment()


@pytest.mark.parametrize(
    ("version", "works"),
    [("uv 0.13.9 (abc 2026)", True), ("uv 0.4.0", False), ("pyenv: no", False)],
)
def test_an_old_or_broken_uv_is_not_used(
    dev: ModuleType, tmp_path: Path, version: str, *, works: bool
) -> None:
    """A uv on PATH must say that it is one, and new enough."""
    program = tmp_path / "uv"
    program.write_text(f"#!/bin/sh\necho '{version}'\n", encoding="utf-8")
    program.chmod(0o755)
    assert dev.works(str(program)) is works
    assert dev.works(str(tmp_path / "none")) is False
