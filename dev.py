#!/usr/bin/env python3
"""The one door: `python3 dev.py demo | test | up | check | ...`.

Needs Python 3.11 and nothing else: no package, no account, no container. It makes the environment
in `.venv` from `uv.lock`, once, and hands over to the programs in it. What each verb runs is in
`VERBS`; everything after the verb is passed on. Commands run in the root of the checkout, wherever
dev.py is called from.

An activated environment lends its interpreter and is otherwise left alone.
"""

# An old Python must get as far as the sentence that refuses it. So: no `from __future__` import,
# no syntax newer than Python 3.6, and nothing but imports above that sentence.
import contextlib
import difflib
import hashlib
import importlib.util
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import types
import typing

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "dev.py: Python 3.11 or later is needed, and {} is {}.{}. Install a newer one, or call it "
        "by name: python3.11 dev.py ...".format(sys.executable, *sys.version_info)
    )

ROOT = pathlib.Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / ".stamp"

UV = "uv==0.13.9"
"""What is installed into `.venv` where there is no uv; any version that reads our lock will do."""

OLDEST_UV = (0, 10)
"""The oldest uv on PATH that we use: older ones do not understand our settings for it."""

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

VERBS = {
    # verb: (help, *steps). The first word of a step is a program in .venv/bin, or another verb
    # after "@", or uv. ARGS stands for what the user wrote after the verb.
    "demo": (
        "play the main job end to end, in about a minute (--keep leaves it up)",
        "python -m devstack.demo ARGS",
    ),
    "test": ("all tests; arguments go to pytest", "python -m pytest ARGS"),
    "up": (
        "the whole local stack until Ctrl-C; data stays in .data/",
        "python -m devstack.up ARGS",
    ),
    "check": (
        "what CI runs: lint, types, test; arguments go to pytest",
        "@lint",
        "@types",
        "@test ARGS",
    ),
    "setup": ("only make the environment, in .venv",),
    "bench": (
        "benchmarks, all or by name; a table, then one JSON line",
        "python -m bench ARGS",
    ),
    "lint": (
        "style, format and import contracts",
        "ruff check ARGS",
        "ruff format --check ARGS",
        "lint-imports",
    ),
    "fix": ("what `lint` finds and can mend", "ruff check --fix ARGS", "ruff format ARGS"),
    "types": ("types, strictly", "python -m mypy ARGS"),
    "histories": (
        "record the workflow histories the replay tests read",
        "python -m pytest -n0 tests/workflows/record_histories.py ARGS",
    ),
    "docs": (
        "write docs/configuration.md and .env.example anew from the settings",
        "python -m docs.generate ARGS",
    ),
    "audit": (
        "what is known to be vulnerable of uv.lock; asks osv.dev",
        "uv audit --frozen ARGS",
    ),
    "worker": (
        "a worker, configured by the environment only",
        "python worker.py ARGS",
    ),
    "api": ("the HTTP API and admin pages", "reminders api ARGS"),
}

USAGE_ERROR = 2
SIGNALLED = 128
"""A shell's exit code of a program ended by signal N is 128 + N."""


class SetupError(Exception):
    """The environment cannot be made; the message says the remedy."""


def main(arguments: list[str]) -> int:
    """Make the environment if need be, run the verb.

    Args:
        arguments: The verb and what is passed on.

    Returns:
        The exit code: the child's, 2 for a verb there is not, 1 when there is no environment.
    """
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        sys.stdout.write(usage())
        return 0
    if not arguments or arguments[0] not in VERBS:
        sys.stderr.write(usage() + "".join(f"\n{unknown(verb)}\n" for verb in arguments[:1]))
        return USAGE_ERROR
    try:
        made = make_environment()
        if arguments[0] != "setup":
            return run_all(commands(arguments[0], arguments[1:]))
        say(f"the environment is {'made' if made else 'up to date'}: {VENV}")
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return SIGNALLED + signal.SIGINT
    return 0


def say(text: str) -> None:
    """One line about ourselves; standard output belongs to the child."""
    sys.stderr.write(f"dev.py: {text}\n")
    sys.stderr.flush()


def usage() -> str:
    """The help text."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {help_and_steps[0]}" for verb, help_and_steps in VERBS.items()]
    return "\n".join(["usage: python3 dev.py VERB [ARGUMENTS]", "", *lines, ""])


def unknown(verb: str) -> str:
    """What to say about a verb there is not."""
    near = difflib.get_close_matches(verb, VERBS, n=1)
    return f"dev.py: there is no {verb!r}" + (f"; did you mean {near[0]!r}?" if near else "")


# ---------------------------------------------------------------- running


def commands(verb: str, arguments: list[str]) -> list[list[str]]:
    """What a verb runs.

    Args:
        verb: A key of `VERBS`.
        arguments: What stands for ARGS.

    Returns:
        Programs with their arguments, in order; programs by absolute path.
    """
    found: list[list[str]] = []
    for step in VERBS[verb][1:]:
        program, *rest = step.split()
        expanded = [word for part in rest for word in (arguments if part == "ARGS" else [part])]
        if program.startswith("@"):
            found += commands(program[1:], expanded)
        elif program == "uv":  # the one on PATH will do
            found.append([find_uv()[0], *expanded])
        else:
            found.append([str(BIN / program), *expanded])
    return found


def run_all(steps: list[list[str]]) -> int:
    """Run commands in order, up to the first that fails.

    The only one, or the last one, takes this process over: signals, terminal and exit code are
    then the child's without any help.

    Args:
        steps: At least one.

    Returns:
        The exit code of the one that failed; after the last there is no return.
    """
    code = 0
    for step in steps:
        if len(steps) > 1:
            say(f"running {pathlib.Path(step[0]).name} {' '.join(step[1:])}".rstrip())
        if step is steps[-1]:
            become(step)
        code = run(step)
        if code != 0:
            break
    return code


def become(command: list[str]) -> typing.NoReturn:
    """Replace this process by the command.

    Raises:
        SetupError: If there is no such program in the environment.
    """
    os.chdir(ROOT)
    try:
        os.execve(command[0], command, child_environment())
    except OSError as error:
        raise SetupError(cannot_run(command, error)) from error


def cannot_run(command: list[str], error: OSError) -> str:
    """What to say when a program of the environment is missing or broken."""
    return f"cannot run {command[0]} ({error.strerror}): remove {VENV} to have it made anew"


def run(command: list[str]) -> int:
    """Run a command to its end and pass signals on to it.

    Returns:
        Its exit code; 128 + N when signal N ended it, or when we were interrupted.

    Raises:
        SetupError: If there is no such program in the environment.
    """
    interrupted: list[int] = []
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, _frame: types.FrameType | None) -> None:
        interrupted.append(number)
        for child in children:
            # A terminal sends its Ctrl-C to the child by itself; twice would mean "at once".
            if number != signal.SIGINT:
                child.send_signal(number)

    # Handlers, and not SIG_IGN, which the child would inherit.
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, pass_on) for number in watched}
    try:
        children.append(subprocess.Popen(command, cwd=ROOT, env=child_environment()))
        for number in tuple(interrupted):  # while there was no child yet
            pass_on(number, None)
        code = children[0].wait()
    except OSError as error:
        raise SetupError(cannot_run(command, error)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code == 0 and interrupted:
        return SIGNALLED + interrupted[0]
    return code if code >= 0 else SIGNALLED - code


def child_environment() -> dict[str, str]:
    """Our environment as if `.venv` were activated.

    Whoever wants no bytecode beside the sources gets it in `.venv`: without any, each program
    compiles all that it imports, and each new workflow its module once more, in the sandbox.
    """
    unwanted = ["PYTHONHOME", "VIRTUAL_ENV_PROMPT", "__PYVENV_LAUNCHER__", NO_BYTECODE]
    made = {
        "VIRTUAL_ENV": str(VENV),
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
    }
    if os.environ.get(NO_BYTECODE):
        made["PYTHONPYCACHEPREFIX"] = str(VENV / "bytecode")
    return {**without(os.environ, *unwanted), **made}


def without(environment: typing.Mapping[str, str], *names: str) -> dict[str, str]:
    """The environment less these variables."""
    return {name: value for name, value in environment.items() if name not in names}


# ---------------------------------------------------------------- the environment


def make_environment() -> bool:
    """Make `.venv` from `uv.lock` unless it is up to date.

    Returns:
        Whether there was anything to do.

    Raises:
        SetupError: If it cannot be made.
    """
    if is_current():
        return False
    if sys.platform == "win32":
        raise SetupError("Temporal's server comes without a Windows build: use WSL")
    refuse_what_we_may_not_write()
    with one_at_a_time():
        if is_current():  # the one we waited for made it
            return False
        made_of = stamp()  # before, lest a change meanwhile goes unnoticed
        version = "{}.{}.{}".format(*sys.version_info)
        say(f"making the environment from uv.lock with Python {version} (once): {VENV}")
        if not is_usable():
            clear_environment()
        STAMP.unlink(missing_ok=True)
        uv, is_ours = find_uv()
        if not is_environment():
            call([uv, "venv", "--quiet", "--python", base_python(), str(VENV)])
        sync = [uv, "sync", "--frozen", "--python", str(BIN / "python")]
        # Our own uv is not in the lock, and would remove itself.
        call([*sync, "--inexact"] if is_ours else sync)
        STAMP.write_text(made_of, encoding="utf-8")
    return True


def stamp() -> str:
    """What the environment was made of: the place, the Python, and the wanted packages.

    An environment is tied to its place (scripts name their interpreter by its path) and to the
    minor version; the last line changes with the lock.
    """
    wanted = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml"):
        wanted.update((ROOT / name).read_bytes())
    version = "{}.{}".format(*sys.version_info)
    return "\n".join([str(ROOT), sysconfig.get_platform(), version, wanted.hexdigest(), ""])


def is_current() -> bool:
    """Whether `.venv` is what we would make."""
    return read_stamp() == stamp() and os.access(BIN / "python", os.X_OK)


def is_usable() -> bool:
    """Whether `.venv` can be brought up to date, and need not be made anew."""
    library = "python{}.{}".format(*sys.version_info)
    made_here = read_stamp().splitlines()[:2] in ([], stamp().splitlines()[:2])
    return (
        made_here
        and os.access(BIN / "python", os.X_OK)
        and (VENV / "lib" / library / "site-packages").is_dir()
    )


def read_stamp() -> str:
    """The stamp in `.venv`; empty when there is none."""
    try:
        return STAMP.read_text(encoding="utf-8")
    except OSError:
        return ""


def refuse_what_we_may_not_write() -> None:
    """Say so now, and not half-way.

    Raises:
        SetupError: If the environment must be made and may not be.
    """
    place = VENV if VENV.is_dir() else ROOT
    if not os.access(place, os.W_OK | os.X_OK):
        message = (
            f"you may not write to {place}, and the environment must be "
            f"{'brought up to date' if VENV.is_dir() else 'made'} there. Work in a copy of your "
            f"own (git clone {ROOT}), or let its owner run: python3 dev.py setup"
        )
        raise SetupError(message)


def clear_environment() -> None:
    """Empty a `.venv` of another Python or place, or a broken one; nothing else by that name.

    The folder itself stays: it may be a link, or a volume mounted into a container.

    Raises:
        SetupError: If it does not look like an environment.
    """
    try:
        inside = list(VENV.iterdir())
    except FileNotFoundError:
        return
    except NotADirectoryError:
        inside = [VENV]
    if not inside:
        return
    if not is_environment():
        message = f"{VENV} is in the way and no environment of ours: move it away"
        raise SetupError(message)
    say("the one there is of another Python or place: making it anew")
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def is_environment() -> bool:
    """Whether `.venv` was once made as one."""
    return (VENV / "pyvenv.cfg").is_file()


def find_uv() -> tuple[str, bool]:
    """A uv to work with: on PATH, else in `.venv`, where it is installed if need be.

    Returns:
        Its path, and whether it is the one in `.venv`.

    Raises:
        SetupError: If it can be neither found nor installed.
    """
    ours = BIN / "uv"
    on_path = shutil.which("uv")
    if on_path is not None and not pathlib.Path(on_path).is_relative_to(VENV) and works(on_path):
        return on_path, False
    if not works(str(ours)):
        install_uv()
    return str(ours), True


def works(uv: str) -> bool:
    """Whether this is a uv, and new enough."""
    try:
        told = subprocess.run(
            [uv, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.match(r"uv (\d+)\.(\d+)", told.stdout)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST_UV


def install_uv() -> None:
    """Make `.venv` with the standard library, and let pip put uv into it.

    Distributions split Python up: where `ensurepip` is missing, the pip outside serves, and where
    that is missing too, only the user can help.

    Raises:
        SetupError: If there is no pip, or no uv to be had.
    """
    install = ["install", "--quiet", "--disable-pip-version-check", UV]
    has_pip = (VENV / "bin" / "pip").exists()
    if has_pip or importlib.util.find_spec("ensurepip") is not None:
        if not has_pip:
            call([base_python(), "-m", "venv", str(VENV.resolve())])
        call([str(BIN / "python"), "-m", "pip", *install])
    elif importlib.util.find_spec("pip") is not None:
        if not is_environment():
            call([base_python(), "-m", "venv", "--without-pip", str(VENV.resolve())])
        call([sys.executable, "-m", "pip", "--python", str(BIN / "python"), *install])
    else:
        message = (
            f"{sys.executable} has neither pip nor ensurepip. Install one of: your system's "
            "package (Debian, Ubuntu: apt install python3-venv), or uv (https://docs.astral.sh/uv)"
        )
        raise SetupError(message)


def base_python() -> str:
    """The interpreter behind the running one, which may itself be in an environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def call(command: list[str]) -> None:
    """Run one step of the set-up.

    Raises:
        SetupError: If it fails; it has told the user why.
    """
    ours = {
        "UV_PROJECT_ENVIRONMENT": str(VENV),
        "UV_PYTHON_DOWNLOADS": "never",  # the Python that runs us is the one that is meant
    }
    if not has_cache():
        ours["UV_NO_CACHE"] = "1"
    # What an activated environment sets would make uv and pip look there.
    theirs = without(os.environ, "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "UV_PYTHON")
    code = subprocess.call(command, cwd=ROOT, env={**theirs, **ours})
    if code != 0:
        message = (
            f"the environment could not be made (exit code {code} of: {' '.join(command)}). The "
            "reason is above. The first time needs the package index; where a company's proxy "
            "looks into TLS, set UV_SYSTEM_CERTS=1"
        )
        raise SetupError(message)


def has_cache() -> bool:
    """Whether uv can keep a cache; without one it must be told: accounts without a home exist."""
    wanted = os.environ.get("UV_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        place = pathlib.Path(wanted).expanduser()
    except RuntimeError:  # a uid that the system knows nothing about
        return False
    while not place.exists():
        place = place.parent
    return os.access(place, os.W_OK | os.X_OK)


@contextlib.contextmanager
def one_at_a_time() -> typing.Iterator[None]:
    """Let no other dev.py make the environment meanwhile; leaves no file behind."""
    import fcntl  # noqa: PLC0415 - Windows has none, and must get as far as being refused

    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another dev.py, which is making the environment")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
