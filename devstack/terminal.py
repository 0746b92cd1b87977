"""How `up` and `demo` speak to people: the start and stop of a stack, its links, its failures."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devstack.stack import LocalStack


def interruptible() -> None:
    """Let SIGTERM end this process as Ctrl-C does: in order."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def told(console: Console, stack: LocalStack) -> Iterator[LocalStack]:
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
    """A file that a shell reads to use a stack; gone afterwards, as what it points at is.

    Args:
        folder: Of the stack.
        exports: Its environment.
    """
    variables = folder / "env"
    variables.touch(mode=0o600)
    variables.write_text(exports, encoding="utf-8")
    try:
        yield variables
    finally:
        variables.unlink(missing_ok=True)


def use(variables: Path) -> str:
    """What to type in another terminal before `reminders`, `temporal` and the like."""
    here = Path.cwd()
    short = variables.relative_to(here) if variables.is_relative_to(here) else variables
    return f". .venv/bin/activate && . {short}"


def failure(console: Console, error: Exception) -> None:
    """Say what went wrong; the message may hold the end of a log."""
    console.print(f"[bold red]✗[/] {escape(str(error))}", soft_wrap=True, highlight=False)
