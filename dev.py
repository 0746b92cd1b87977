#!/usr/bin/env python3
"""The one door: `python3 dev.py demo | test | up | check | ...`.

Needs Python 3.11 and nothing else: no package, no account, no container. uv makes the environment
in `.venv` from `uv.lock`: the uv on PATH, or one that pip brings into `.uv`. Then the programs of
the environment take over. What each verb runs is in `VERBS`; everything after the verb is passed
on. Commands run in the root of the checkout, wherever dev.py is called from.
"""

# An old Python must get as far as the sentence that refuses it. So: no `from __future__` import,
# no syntax newer than Python 3.6, and nothing but imports above that sentence.
import difflib
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "dev.py: Python 3.11 or later is needed, and {} is {}.{}. Install a newer one, or call it "
        "by name: python3.11 dev.py ...".format(sys.executable, *sys.version_info)
    )

ROOT = pathlib.Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STAMP = VENV / ".stamp"
OUR_UV = ROOT / ".uv"

UV = "uv==0.13.9"
"""What is installed into `.uv` where there is no uv; any version that reads our lock will do."""

OLDEST_UV = (0, 10)
"""The oldest uv on PATH that is used: older ones do not understand our settings for it."""

VERBS = {
    # verb: (help, *steps). The first word of a step is a program in .venv/bin, or another verb
    # after "@", or uv. ARGS stands for what the user wrote after the verb.
    "demo": (
        "play the main job end to end, in about a minute (--keep leaves it up)",
        "python -m devstack.demo ARGS",
    ),
    "test": ("all tests but the proofs; arguments go to pytest", "python -m pytest ARGS"),
    "prove": (
        "kills, schedules and interleavings, in short (--slow: in full, for hours)",
        "python -m pytest -n3 -m proof tests ARGS",  # they are about instants: no crowding
    ),
    "up": (
        "the whole local stack until Ctrl-C; data stays in .data/",
        "python -m devstack.up ARGS",
    ),
    "check": (
        "lint, types, test; arguments go to pytest",
        "@lint",
        "@types",
        "@test ARGS",
    ),
    "setup": ("only make the environment, in .venv",),
    "bench": ("benchmarks, all or by name; a table, then one JSON line", "python -m bench ARGS"),
    "simulate": (
        "thousands of schedules of the delivery, in virtual time (--seed N tells one)",
        "python -m tests.simulation ARGS",
    ),
    "lint": (
        "style, format and import contracts",
        "ruff check ARGS",
        "ruff format --check ARGS",
        "lint-imports",
    ),
    "fix": ("what `lint` finds and can repair", "ruff check --fix ARGS", "ruff format ARGS"),
    "types": ("types, strictly", "python -m mypy ARGS"),
    "histories": (
        "record the workflow histories the replay tests read",
        "python -m pytest -n0 tests/workflows/record_histories.py ARGS",
    ),
    "docs": (
        "write docs/configuration.md, docs/cli.md and .env.example anew from the source",
        "python -m docs.generate ARGS",
    ),
    "audit": ("what is known to be vulnerable of uv.lock; asks osv.dev", "uv audit --frozen ARGS"),
    "worker": ("a worker, configured by the environment only", "python worker.py ARGS"),
    "api": ("the HTTP API and admin pages", "reminders api ARGS"),
}


class SetupError(Exception):
    """The environment cannot be made or used; the message says the remedy."""


def main(arguments: list[str]) -> int:
    """Make the environment if need be, run the verb.

    Returns:
        The exit code: the program's, 2 for a verb there is not, 1 when there is no environment.
    """
    verb, *rest = arguments or [""]
    if verb in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0
    if verb not in VERBS:
        near = "".join(
            f"; did you mean {n!r}?" for n in difflib.get_close_matches(verb, VERBS, n=1)
        )
        sys.stderr.write(usage() + (f"\ndev.py: there is no {verb!r}{near}\n" if verb else ""))
        return 2
    try:
        make_environment()
        if verb != "setup":
            return run(commands(verb, rest))
        say(f"the environment is up to date: {VENV}")
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def say(text: str) -> None:
    """One line about ourselves; standard output belongs to what is run."""
    sys.stderr.write(f"dev.py: {text}\n")
    sys.stderr.flush()


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {help_and_steps[0]}" for verb, help_and_steps in VERBS.items()]
    return "\n".join(["usage: python3 dev.py VERB [ARGUMENTS]", "", *lines, ""])


# ---------------------------------------------------------------- running


def commands(verb: str, arguments: list[str]) -> list[list[str]]:
    """Programs with their arguments, in the order in which a verb runs them."""
    found: list[list[str]] = []
    for step in VERBS[verb][1:]:
        program, *rest = step.split()
        expanded = [word for part in rest for word in (arguments if part == "ARGS" else [part])]
        if program.startswith("@"):
            found += commands(program[1:], expanded)
        else:
            path = find_uv() if program == "uv" else str(VENV / "bin" / program)
            found.append([path, *expanded])
    return found


def run(steps: list[list[str]]) -> int:
    """Run commands in order, up to the first that fails.

    The only one, or the last one, takes this process over: signals, terminal and exit code are
    then its own without any help.

    Returns:
        The exit code of the one that failed, as a shell has it; after the last there is no return.
    """
    os.chdir(ROOT)
    for step in steps:
        if len(steps) > 1:
            say(f"running {pathlib.Path(step[0]).name} {' '.join(step[1:])}".rstrip())
        try:
            if step is steps[-1]:
                os.execve(step[0], step, activated())
            code = subprocess.call(step, env=activated())
        except OSError as error:
            message = f"cannot run {step[0]} ({error.strerror}): remove {VENV} to have it made anew"
            raise SetupError(message) from error
        if code != 0:
            return code if code > 0 else 128 - code
    return 0


def activated() -> dict[str, str]:
    """Our environment as if `.venv` were activated.

    Whoever wants no bytecode beside the sources gets it in `.venv`: without any, each program
    compiles all that it imports, and each new workflow its module once more, in the sandbox.
    """
    env = without("PYTHONHOME", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__")
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    if env.pop("PYTHONDONTWRITEBYTECODE", ""):
        env["PYTHONPYCACHEPREFIX"] = str(VENV / "bytecode")
    return env


def without(*names: str) -> dict[str, str]:
    """Our environment less these variables."""
    return {name: value for name, value in os.environ.items() if name not in names}


# ---------------------------------------------------------------- the environment


def make_environment() -> None:
    """Let uv make `.venv` from `uv.lock`, or bring it up to date, unless it is.

    Raises:
        SetupError: If it cannot be made.
    """
    wanted = stamp()
    made_of = STAMP.read_text(encoding="utf-8") if STAMP.exists() else ""
    if made_of == wanted and os.access(VENV / "bin" / "python", os.X_OK):
        return
    if sys.platform == "win32":
        raise SetupError("Temporal's server comes without a Windows build: use WSL")
    if not os.access(ROOT, os.W_OK | os.X_OK):
        raise SetupError(f"you may not write to {ROOT}: git clone it to a place of your own")
    say(f"making the environment from uv.lock with Python {wanted.split()[0]} (once): {VENV}")
    STAMP.unlink(missing_ok=True)
    uv, python = find_uv(), str(getattr(sys, "_base_executable", None) or sys.executable)
    if made_of and made_of.splitlines()[:-1] != wanted.splitlines()[:-1]:
        # Scripts name their interpreter by its path: one made at another place is of no use.
        call([uv, "venv", "--quiet", "--clear", "--python", python, str(VENV)])
    call([uv, "sync", "--frozen", "--python", python])
    STAMP.write_text(wanted, encoding="utf-8")


def stamp() -> str:
    """What the environment is to be made of: the Python, the place, and the wanted packages."""
    wanted = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        wanted.update((ROOT / name).read_bytes())
    version = "{}.{}".format(*sys.version_info)
    return "\n".join([version, str(ROOT), sysconfig.get_platform(), wanted.hexdigest()])


def find_uv() -> str:
    """A uv to work with: on PATH, else in `.uv`, where it is installed if need be.

    Raises:
        SetupError: If it can be neither found nor installed.
    """
    ours = str(OUR_UV / "bin" / "uv")
    for uv in (shutil.which("uv"), ours):
        if uv is not None and works(uv):
            return uv
    install = ["install", "--quiet", "--disable-pip-version-check", UV]
    # Distributions split Python up: where `ensurepip` is missing, the pip outside serves.
    if importlib.util.find_spec("ensurepip") is not None:
        call([sys.executable, "-m", "venv", "--clear", str(OUR_UV)])
        call([str(OUR_UV / "bin" / "python"), "-m", "pip", *install])
    elif importlib.util.find_spec("pip") is not None:
        call([sys.executable, "-m", "pip", *install, "--upgrade", "--target", str(OUR_UV)])
    else:
        message = (
            f"{sys.executable} has neither pip nor ensurepip. Install one of: your system's "
            "package (Debian, Ubuntu: apt install python3-venv), or uv (https://docs.astral.sh/uv)"
        )
        raise SetupError(message)
    return ours


def works(uv: str) -> bool:
    """Whether this is a uv, and new enough."""
    try:
        said = subprocess.run(
            [uv, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"uv (\d+)\.(\d+)", said.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST_UV


def call(command: list[str]) -> None:
    """Run one step of the set-up.

    Raises:
        SetupError: If it fails; it has said why.
    """
    # What an activated environment sets would make uv and pip look there.
    env = without("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_PYTHON")
    env["UV_PROJECT_ENVIRONMENT"] = str(VENV)
    env["UV_PYTHON_DOWNLOADS"] = "never"  # the Python that runs us is the one that is meant
    if not os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111 - there may be no home
        env["UV_NO_CACHE"] = "1"
    code = subprocess.call(command, cwd=ROOT, env=env)
    if code != 0:
        message = (
            f"the environment could not be made (exit code {code} of: {' '.join(command)}). The "
            "reason is above. The first time needs the package index; where a company's proxy "
            "looks into TLS, set UV_SYSTEM_CERTS=1"
        )
        raise SetupError(message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
