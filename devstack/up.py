"""`python3 dev.py up`: the whole stack until Ctrl-C, with data that survives a restart."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from devstack import terminal
from devstack.process import EmbeddedServerError
from devstack.stack import LocalStack

LOOK_SECONDS = 0.5
"""How soon the death of a part is noticed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stack.

    Returns:
        Exit code: 0 after Ctrl-C, 1 when a part did not start or died.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    terminal.interruptible()
    stack = LocalStack(options.data, workers=options.workers, fixed_ports=True)
    try:
        with terminal.told(console, stack):
            _serve(console, stack)
    except EmbeddedServerError as error:
        terminal.failure(console, error)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped; whatever sleeps goes on sleeping, and the next `up` wakes it.")
    return 0


def _serve(console: Console, stack: LocalStack) -> None:
    """Say where everything is, and watch over it.

    Raises:
        EmbeddedServerError: If a part dies.
    """
    with terminal.exported(stack.folder, stack.exports()) as variables:
        table = terminal.links(stack)
        table.add_row("Logs", f"{_short(stack.folder)}/*.log", "of every part")
        console.print(Panel(table, title="session-reminders is up", expand=False))
        console.print(
            "\nIn another terminal, for `reminders`, `temporal` and the like:\n"
            f"  [bold]{terminal.use(variables)}[/]\n"
        )
        console.print(stack.exports(), markup=False, soft_wrap=True, style="dim")
        console.print("Ctrl-C stops everything.")
        while True:
            stack.check()
            time.sleep(LOOK_SECONDS)


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
        "--workers", type=int, default=1, metavar="N", help="how many workers (default: 1)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
