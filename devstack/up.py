"""`python3 dev.py up`: the whole stack until Ctrl-C, with data that survives a restart.

How `up` and the demo speak to people: the start and stop of a stack, its links, its failures.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from dotenv import dotenv_values
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from devstack.process import EmbeddedServerError
from devstack.program import configures
from devstack.stack import OWN, LocalStack
from reminders.settings import Settings

LOOK_SECONDS = 0.5
"""How soon the death of a part is noticed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stack.

    Returns:
        Exit code: 0 after Ctrl-C, 1 when a part did not start or died.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    interruptible()
    settings = {n: v for n, v in options.env.items() if _may_be_chosen(n)}
    name_ignored(console, options.env, settings)
    stack = LocalStack(options.data, workers=options.workers, fixed_ports=True, settings=settings)
    try:
        with running(console, stack):
            _serve(console, stack)
    except EmbeddedServerError as error:
        failure(console, error)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped; whatever sleeps goes on sleeping, and the next `up` wakes it.")
    return 0


def name_ignored(console: Console, asked: Iterable[str] = (), taken: Collection[str] = ()) -> None:
    """Say which settings have no effect here, so that nobody looks for it.

    Args:
        console: Where to say it.
        asked: What somebody wants to be settings, besides those of the environment and of `.env`.
        taken: Those that have one.
    """
    found = {name.upper() for name in (*os.environ, *dotenv_values(".env")) if configures(name)}
    if ignored := sorted(found.union(asked).difference(taken)):
        console.print(
            f"[yellow]Ignored, as this stack has its own:[/] {', '.join(ignored)}", soft_wrap=True
        )


def _may_be_chosen(name: str) -> bool:
    return name.lower() in Settings.model_fields and name not in OWN


def _settings_in(file: str) -> dict[str, str]:
    """Variables of a file as `.env` is.

    Raises:
        argparse.ArgumentTypeError: If there is no such file.
    """
    if not Path(file).is_file():
        message = f"there is no file {file}"
        raise argparse.ArgumentTypeError(message)
    return {name.upper(): value or "" for name, value in dotenv_values(file).items()}


def _serve(console: Console, stack: LocalStack) -> None:
    """Say where everything is, and watch over it."""
    with exported(stack.folder, stack.exports()) as variables:
        table = links(stack)
        table.add_row("Logs", f"{_short(stack.folder)}/*.log", "of every part")
        console.print(Panel(table, title="session-reminders is up", expand=False))
        console.print(
            "\nIn another terminal, for `reminders`, `temporal` and the like:\n"
            f"  [bold]{use(variables)}[/]\n"
        )
        console.print(stack.exports(), markup=False, soft_wrap=True, style="dim")
        console.print("Ctrl-C stops everything.")
        watch(stack)


def watch(stack: LocalStack) -> NoReturn:
    """Stay up until Ctrl-C.

    Raises:
        EmbeddedServerError: If a part dies.
    """
    while True:
        stack.check()
        time.sleep(LOOK_SECONDS)


def interruptible() -> None:
    """Let SIGTERM end this process as Ctrl-C does: in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def running(console: Console, stack: LocalStack) -> Iterator[LocalStack]:
    """Run a stack and say meanwhile what takes the time.

    Args:
        console: Where to say it; a terminal gets a spinner, anything else nothing.
        stack: Not started.
    """
    with console.status("Starting ...") as status:
        stack.progress = lambda step: status.update(f"Starting {step} ...")
        stack.start()
    try:
        yield stack
    finally:
        with console.status("Stopping ..."):
            stack.stop()


def links(stack: LocalStack) -> Table:
    """Where to look, one line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(style="dim")
    table.add_row("Inbox", stack.inbox_url, "every e-mail, as people get it")
    table.add_row("Temporal UI", stack.temporal.ui_url, "every sleeping reminder")
    if stack.api is not None:
        table.add_row("Admin", f"{stack.api_url}/admin", "what was sent, what will be, and why not")
        table.add_row("HTTP API", f"{stack.api_url}/docs", "what a platform calls")
    return table


@contextmanager
def exported(folder: Path, exports: str) -> Iterator[Path]:
    """A file in a stack's folder that a shell reads to use it; gone afterwards, as the stack is."""
    variables = folder / "env"
    variables.touch(mode=0o600)
    variables.write_text(exports, encoding="utf-8")
    try:
        yield variables
    finally:
        variables.unlink(missing_ok=True)


def use(variables: Path) -> str:
    """What to type in another terminal before `reminders`, `temporal` and the like."""
    return f". .venv/bin/activate && . {_short(variables)}"


def failure(console: Console, error: Exception) -> None:
    """Say what went wrong; the message may hold the end of a log."""
    console.print(f"[bold red]✗[/] {escape(str(error))}", soft_wrap=True, highlight=False)


def _short(path: Path) -> Path:
    """The path as one would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py up",
        description="PostgreSQL, Temporal, a stand-in for Resend, worker and API on this machine.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(".data"),
        metavar="FOLDER",
        help="where everything is kept (default: .data)",
    )
    parser.add_argument(
        "--env",
        type=_settings_in,
        default={},
        metavar="FILE",
        help="settings for worker and API, written as in .env; where the parts are stays as it is",
    )
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="how many workers (default: 1)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
